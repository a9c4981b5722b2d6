"""`mmr soundtrack` and `mmr report`: music for a book, kept as it was corrected."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from mmr_runtime.cli import soundtrack as module
from mmr_runtime.cli.report import report
from mmr_runtime.cli.soundtrack import soundtrack
from mmr_runtime.soundtrack import FORMS, from_json
from tests.cli.conftest import CommandEngine, Invoke


@pytest.fixture
def book(home: Path) -> Path:
    """A folder of twelve pages, each of its own noise; the third is broken."""
    (home / "vol <1>").mkdir()
    for number in range(1, 13):
        Image.effect_noise((32, 48), 5 * number).save(home / "vol <1>" / f"p{number}.png")
    (home / "vol <1>" / "p3.png").write_bytes(b"no image")
    (home / "vol <1>" / "text.json").write_text(json.dumps({"p2": {"en": ["<b>Run!</b>"]}}), encoding="utf-8")
    return home / "vol <1>"


ARGUMENTS = ("--library", "songs", "--change", "0.9", "--min-seconds", "16", "--pace", "8")


def parts(text: str) -> list[tuple[int, int, str]]:
    return [(part.first, part.last, Path(part.song.path).name) for part in from_json(text).parts]


def test_every_page_has_a_song_and_the_table_says_which(
    engine: CommandEngine, run: Invoke, songs: Path, book: Path
) -> None:
    result = run(soundtrack, book, *ARGUMENTS)
    assert result.exit_code == 0, result.output
    head, *rows = result.stdout.splitlines()
    assert head.split()[:3] == ["pages", "mood", "title"]
    pages = [int(n) for row in rows for n in re.findall(r"\d+", row.split()[0])]
    assert pages[0] == 1
    assert pages[-1] == 12
    assert "left out: 1 thing of the book (-v says more)" in result.stderr
    named = run(soundtrack, book, *ARGUMENTS, "-v").stderr
    assert "page 3, p3.png, the image is no image that mmr reads" in named


def test_equal_runs_are_equal_and_embed_no_page_again(
    engine: CommandEngine, run: Invoke, songs: Path, book: Path
) -> None:
    first = run(soundtrack, book, *ARGUMENTS, "--json").stdout
    engine.embedded.clear()
    assert run(soundtrack, book, *ARGUMENTS, "--json").stdout == first
    assert engine.embedded == []


def test_what_is_set_by_hand_is_kept_until_it_is_forgotten(
    engine: CommandEngine, run: Invoke, songs: Path, book: Path
) -> None:
    before = run(soundtrack, book, *ARGUMENTS, "--json").stdout
    other = next(name for name in ("low.wav", "high.wav") if name != parts(before)[0][2])
    pinned = parts(run(soundtrack, book, *ARGUMENTS, "--json", "--pin", f"1-2={other}").stdout)
    assert pinned[0][2] == other
    assert parts(run(soundtrack, book, *ARGUMENTS, "--json").stdout) == pinned
    banned = parts(run(soundtrack, book, *ARGUMENTS, "--json", "--ban", other).stdout)
    assert other not in {name for _, _, name in banned}
    assert run(soundtrack, book, *ARGUMENTS, "--json", "--fresh").stdout == before


def test_a_book_that_was_moved_keeps_its_corrections(
    engine: CommandEngine, run: Invoke, songs: Path, book: Path
) -> None:
    pinned = parts(run(soundtrack, book, *ARGUMENTS, "--json", "--pin", "12=high.wav").stdout)
    (book.parent / "shelf").mkdir()
    moved = book.rename(book.parent / "shelf" / book.name)
    assert parts(run(soundtrack, moved, *ARGUMENTS, "--json").stdout) == pinned


def test_pins_stand_whatever_else_is_allowed_and_wait_for_songs_that_are_away(
    engine: CommandEngine, run: Invoke, songs: Path, book: Path
) -> None:
    run(soundtrack, book, *ARGUMENTS, "--json", "--pin", "1-12=high.wav")
    assert parts(run(soundtrack, book, *ARGUMENTS, "--json", "--max-length", "0.5").stdout) == [(0, 11, "high.wav")]
    away = (songs / "high.wav").rename(songs.parent / "high.wav")
    result = run(soundtrack, book, *ARGUMENTS, "--json", "-v")
    assert "high.wav is pinned and not in the library now" in result.stderr
    assert "high.wav" not in {name for _, _, name in parts(result.stdout)}
    away.rename(songs / "high.wav")
    assert parts(run(soundtrack, book, *ARGUMENTS, "--json").stdout) == [(0, 11, "high.wav")]


def test_filters_leave_only_what_is_allowed(engine: CommandEngine, run: Invoke, songs: Path, book: Path) -> None:
    Path("p.m3u8").write_text("songs/low.wav\n", encoding="utf-8")
    assert parts(run(soundtrack, book, *ARGUMENTS, "--json", "--playlist", "p.m3u8").stdout) == [(0, 11, "low.wav")]
    assert run(soundtrack, book, *ARGUMENTS, "--min-length", "99").exit_code == 1


def test_an_edited_export_comes_back(engine: CommandEngine, run: Invoke, songs: Path, book: Path) -> None:
    result = run(soundtrack, book, *ARGUMENTS, "-o", "plan.txt")
    assert "wrote plan.txt (text)" in result.stdout
    text = Path("plan.txt").read_text(encoding="utf-8")
    assert run(soundtrack, book, *ARGUMENTS, "--edit", "plan.txt", "--json").stdout.count('"pinned": true') == 0
    lines = [line for line in text.splitlines() if not re.match(r"\d", line)]
    Path("plan.txt").write_text("\n".join([*lines, "1-12 夜に駆ける.wav"]), encoding="utf-8")
    edited = run(soundtrack, book, *ARGUMENTS, "--edit", "plan.txt", "--json").stdout
    assert parts(edited) == [(0, 11, "夜に駆ける.wav")]
    assert parts(run(soundtrack, book, *ARGUMENTS, "--json").stdout) == parts(edited)


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.txt", "text"), ("a.json", "json"), ("music.json", "opencomic"), ("a.m3u8", "m3u8"), ("a.jspf", "jspf")],
)
def test_the_name_of_the_output_tells_its_form(
    name: str, form: str, engine: CommandEngine, run: Invoke, songs: Path, book: Path
) -> None:
    result = run(soundtrack, book, *ARGUMENTS, "-o", name)
    assert f"wrote {name} ({form})" in result.stdout
    printed = run(soundtrack, book, *ARGUMENTS, "--form", form).stdout
    assert Path(name).read_text(encoding="utf-8") == printed


def test_one_song_for_all(engine: CommandEngine, run: Invoke, songs: Path, book: Path) -> None:
    assert len(parts(run(soundtrack, book, *ARGUMENTS, "--one-song", "--json").stdout)) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--pin", "low.wav"), 2, "says nothing"),
        (("--pin", "13=low.wav"), 2, "pages 1 to 12"),
        (("--pin", "1=polka.wav"), 3, "no song of the library is called polka.wav"),
        (("--pin", "1=low.wav", "--ban", "low.wav"), 3, "pinned and banned at once"),
        (("-o", "plan.xyz"), 2, "tells no form"),
        (("-o", "none/plan.txt"), 2, "cannot be written"),
        (("--edit", "gone.txt"), 3, "cannot be read"),
        (("--edit", "gone.txt", "--fresh"), 3, "cannot be read"),
        (("--change", "2"), 2, "--change"),
    ],
)
def test_wrong_wishes_are_named_and_nothing_is_lost(
    words: tuple[str, ...], code: int, message: str, engine: CommandEngine, run: Invoke, songs: Path, book: Path
) -> None:
    before = run(soundtrack, book, *ARGUMENTS, "--json", "--pin", "5=high.wav").stdout
    result = run(soundtrack, book, *ARGUMENTS, *words)
    assert result.exit_code == code
    assert message in result.stderr
    assert "hint: " in result.stderr
    assert run(soundtrack, book, *ARGUMENTS, "--json").stdout == before


def test_without_songs_or_book_it_says_so(engine: CommandEngine, run: Invoke, book: Path) -> None:
    Path("empty").mkdir()
    for command in (soundtrack, report):
        assert run(command, book, "--library", "empty").exit_code == 1
        assert run(command, "gone.cbz", "--library", "empty").exit_code == 3
        assert run(command, book).exit_code == 2


def test_the_forms_of_the_command_are_those_of_the_library() -> None:
    assert set(module._FORMS) == set(FORMS)


# -- the report -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a document holds: tags with their attributes, and whether they are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_shows_pages_songs_and_needs_nothing_beside_it(
    engine: CommandEngine, run: Invoke, songs: Path, book: Path
) -> None:
    result = run(report, book, *ARGUMENTS, "-o", "a.html", "--pin", "1=夜に駆ける.wav")
    assert (result.exit_code, result.stdout) == (0, "wrote a.html\n")
    page = Page()
    page.feed(Path("a.html").read_text(encoding="utf-8"))
    assert page.open == []
    plan = from_json(run(soundtrack, book, *ARGUMENTS, "--json").stdout)
    players = [attributes for tag, attributes in page.tags if tag == "audio"]
    assert [player["src"] for player in players] == [Path(part.song.path).as_uri() for part in plan.parts]
    pictures = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 11  # one page is broken
    assert all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    assert "vol <1>" in page.text
    assert "page 3, p3.png" in page.text
    links = [a["href"] for tag, a in page.tags if tag == "a"]
    ids = {f"#{a['id']}" for tag, a in page.tags if tag == "article"}
    assert set(links) == ids
    tips = [a["title"] or "" for tag, a in page.tags if tag == "a" and a["class"] == "page"]
    assert "<b>Run!</b>" in tips[1]
    assert "polygon" in [tag for tag, _ in page.tags]


def test_equal_reports_have_equal_bytes(engine: CommandEngine, run: Invoke, songs: Path, book: Path) -> None:
    for name in ("a.html", "b.html"):
        run(report, book, *ARGUMENTS, "-o", name)
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()


def test_a_model_is_sent_to_the_command_that_knows_it(engine: CommandEngine, run: Invoke, home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "manifest.json").touch()
    result = run(report, "mine", "--library", "songs")
    assert result.exit_code == 2
    assert "mmr quality" in result.stderr
