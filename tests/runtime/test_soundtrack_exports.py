"""A soundtrack as files: read back as it was, edited by hand, and as other programs want it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr_runtime.errors import InputError, UsageError
from mmr_runtime.soundtrack import (
    Corrections,
    Options,
    Part,
    Song,
    Soundtrack,
    from_json,
    render,
    revise,
    to_json,
    write,
)
from mmr_runtime.soundtrack.formats import JSPF_EXTENSION

CALM, STORM = "/music/calm.ogg", "/music/wild/storm.mp3"
PATHS = [CALM, STORM, "/music/other/calm.flac"]


def soundtrack(**changes: object) -> Soundtrack:
    """Five pages: calm on three, storm on two."""
    calm = Song(CALM, "Calm", "Somebody", 61.4, 5.0, -3.0, (1.0, 0, 0, 0, 0, 0, 0))
    parts = (
        Part(0, 2, calm, 1.5, 0.25, ((STORM, 1.25),)),
        Part(3, 4, Song(STORM), 2.0, pinned=True),
    )
    corrections = Corrections(((3, STORM), (4, STORM)), ())
    values = {"title": "Book", "pages": tuple(f"{i}.png" for i in range(5)), "parts": parts, "corrections": corrections}
    return Soundtrack(**{**values, **changes})  # type: ignore[arg-type]


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_json_gives_back_what_was_written() -> None:
    assert from_json(to_json(soundtrack())) == soundtrack()
    taste = soundtrack(options=Options(change=0.7, min_pages=2, one_song=True))
    assert from_json(to_json(taste)) == taste


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6), st.floats(-9, 9))
def test_json_holds_any_name(names: list[str], score: float) -> None:
    parts = tuple(Part(i, i, Song(name, title=name), score) for i, name in enumerate(names))
    made = Soundtrack("\udcff", tuple(names), parts, corrections=Corrections(((0, names[0]),), ("gone",)))
    assert from_json(to_json(made)) == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "playlist"}, "kind is not"),
        ({"schema": 2}, "schema 2"),
        ({"schema": "1"}, "schema must be"),
        ({"title": 3}, "title must be a text"),
        ({"options": {"change": 2}}, "options.* is missing|change must be"),
        ({"pages": ["a"]}, "segments end with page 5"),
    ],
)
def test_what_is_no_soundtrack_is_refused_by_place(change: dict[str, object], message: str) -> None:
    content = json.loads(to_json(soundtrack())) | change
    with pytest.raises(InputError, match=message):
        from_json(json.dumps(content))


def test_segments_must_follow_each_other() -> None:
    content = json.loads(to_json(soundtrack()))
    content["segments"][1]["pages"] = [5, 5]
    with pytest.raises(InputError, match="page 4 comes next"):
        from_json(json.dumps(content))
    with pytest.raises(InputError, match="not JSON"):
        from_json(b"\xff")


# -- for other programs -----------------------------------------------------------------------------------------------


def test_m3u8_has_relative_paths_and_the_pages() -> None:
    lines = render(soundtrack(), "m3u8", "/music").decode().splitlines()
    assert lines[0] == "#EXTM3U"
    assert lines[2:5] == ["# pages 1-3", "#EXTINF:61,Somebody - Calm", "calm.ogg"]
    assert lines[5:] == ["# pages 4-5", "#EXTINF:-1,storm", "wild/storm.mp3"]


def test_m3u8_takes_no_name_for_a_remark() -> None:
    parts = (Part(0, 4, Song("/music/#1.ogg"), 0.0),)
    assert render(soundtrack(parts=parts), "m3u8", "/music").decode().splitlines()[-1] == "./#1.ogg"
    parts = (Part(0, 4, Song("/music/a\nb.ogg"), 0.0),)
    with pytest.raises(InputError, match="M3U8 cannot hold"):
        render(soundtrack(parts=parts), "m3u8", "/music")


def test_jspf_has_page_ranges() -> None:
    first, second = json.loads(render(soundtrack(), "jspf", "/"))["playlist"]["track"]
    assert first["location"] == ["file:///music/calm.ogg"]
    assert (first["title"], first["creator"], first["duration"]) == ("Calm", "Somebody", 61400)
    facts = {"firstPage": 1, "lastPage": 3, "startSeconds": 5.0, "gainDb": -3.0}
    assert first["extension"] == {JSPF_EXTENSION: [facts]}
    assert second["extension"] == {JSPF_EXTENSION: [{"firstPage": 4, "lastPage": 5}]}


def test_opencomic_plays_each_page_as_planned() -> None:
    """It plays the first entry whose pages, counted from 1, hold the page."""
    entries = json.loads(render(soundtrack(), "opencomic", "/"))["bgm"]

    def plays(page: int) -> str:
        return str(next(e["path"] for e in entries if e["startPage"] <= page <= e["endPage"]))

    assert [plays(page + 1) for page in range(5)] == soundtrack().paths()
    assert all(Path(e["path"]).is_absolute() for e in entries)
    with pytest.raises(InputError, match="does not play"):
        render(soundtrack(parts=(Part(0, 4, Song("/music/a.aiff"), 0.0),)), "opencomic", "/")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write(soundtrack(), tmp_path / "a.json", "json")
    assert from_json((tmp_path / "a.json").read_bytes()) == soundtrack()
    with pytest.raises(UsageError, match="cannot be written"):
        write(soundtrack(), tmp_path / "none" / "a.json", "json")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


# -- edited by hand ---------------------------------------------------------------------------------------------------


def edited(old: str = "", new: str = "") -> str:
    text = render(soundtrack(), "text", "/").decode()
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_untouched_file_changes_nothing(form: str) -> None:
    assert revise(soundtrack(), render(soundtrack(), form, "/"), PATHS) == soundtrack().corrections  # type: ignore[arg-type]


def test_a_changed_song_is_pinned() -> None:
    corrections = revise(soundtrack(), edited(f"1-3 {CALM}", f"1-2 {CALM}\n3 storm.mp3"), PATHS)
    assert corrections.pins == ((2, STORM), (3, STORM), (4, STORM))


def test_keep_and_never() -> None:
    corrections = revise(soundtrack(), edited(f"keep 4-5 {STORM}", "never other/calm.flac"), PATHS)
    assert corrections == Corrections((), ("/music/other/calm.flac",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("play 3", "says nothing that mmr knows"),
        ("3-1 storm.mp3", "pages 3-1 are none"),
        ("0 storm.mp3", "pages 0-0 are none"),
        ("6 storm.mp3", "the book has 5 pages"),
        ("1 storm.mp3", "page 1 has a song already"),
        ("never nothing.ogg", "no song of the library"),
        ("never calm", "no song of the library"),
        (f"never {STORM}", "says that it never plays"),
        ('never "open', "not a quoted path"),
    ],
)
def test_a_line_that_cannot_be_is_named(line: str, message: str) -> None:
    with pytest.raises(InputError, match=r"line \d+: .*" + message):
        revise(soundtrack(), edited() + line + "\n", PATHS)


def test_the_end_of_a_path_must_be_of_one_song() -> None:
    twice = [*PATHS, "/old/storm.mp3"]
    with pytest.raises(InputError, match=r"2 songs are called storm\.mp3"):
        revise(soundtrack(), edited(f"1-3 {CALM}", "1-3 storm.mp3"), twice)


def test_an_edited_file_must_be_text() -> None:
    with pytest.raises(InputError, match="line 2 is not UTF-8"):
        revise(soundtrack(), b"# x\n\xff\n", PATHS)


def test_corrections_as_numbers() -> None:
    assert Corrections(((1, STORM),), (CALM, "/gone")).numbers(PATHS) == ({1: 1}, [0])
    with pytest.raises(InputError, match="page 2 is pinned to /gone"):
        Corrections(((1, "/gone"),)).numbers(PATHS)
