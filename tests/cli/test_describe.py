"""`mmr describe`: words for pages and songs; bad files among good ones are skipped, counted and named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmr_runtime.bundle import default_folder
from mmr_runtime.cli.describe import describe
from mmr_runtime.moods import MOODS
from tests.cli.conftest import CommandEngine, Invoke

ROOT = Path(__file__).resolve().parents[2]


def test_a_page_gets_a_caption_and_a_table_of_keywords(engine: CommandEngine, run: Invoke, page: Path) -> None:
    result = run(describe, page)
    name, caption, blank, head, *rows, gap, note = result.stdout.splitlines()
    assert result.exit_code == 0
    assert result.stderr == ""
    assert (name, blank, gap) == (str(page), "", "")
    assert caption.endswith('"')
    assert head.split() == ["score", "group", "keyword"]
    assert len(rows) == 8
    scores = [float(row.split()[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert note == "scores: times an equal share of the group"


def test_pages_and_songs_together(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    result = run(describe, page, songs / "low.wav", "--top", "1")
    assert [line for line in result.stdout.splitlines() if line.endswith((".png", ".wav"))] == [
        str(page),
        str(songs / "low.wav"),
    ]
    assert result.stdout.count("scores: ") == 1


def test_json_says_the_same_and_more(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    found = json.loads(run(describe, page, songs / "low.wav", "--json", "--top", "3").stdout)
    assert found["schema"] == 1
    assert found["model"] == "fake"
    assert found["skipped"] == []
    first, second = found["descriptions"]
    assert (first["path"], first["modality"], first["measure"]) == (str(page), "image", "ratio")
    assert (second["path"], second["modality"]) == (str(songs / "low.wav"), "audio")
    assert [set(keyword) for keyword in first["keywords"]] == [{"text", "score", "group"}] * 3
    assert [set(text) for text in first["nearest"]] == [{"text", "score"}] * 3
    assert tuple(first["moods"]) == MOODS
    assert sum(first["moods"].values()) == pytest.approx(1, abs=1e-4)


def test_keywords_come_from_an_own_vocabulary(engine: CommandEngine, run: Invoke, home: Path, page: Path) -> None:
    (home / "words.tsv").write_text("weather\train\nweather\tsnow\nquiet\n", encoding="utf-8")
    found = json.loads(run(describe, page, "--vocabulary", "words.tsv", "--json").stdout)["descriptions"][0]
    assert {(k["group"], k["text"]) for k in found["keywords"]} == {
        ("weather", "rain"),
        ("weather", "snow"),
        ("", "quiet"),
    }
    assert run(describe, page, "--vocabulary", "words.tsv").stdout.count("  -  ") == 1


def test_a_vocabulary_that_cannot_be_read_is_told_before_any_work(
    engine: CommandEngine, run: Invoke, home: Path, page: Path
) -> None:
    (home / "words.txt").write_text("")
    result = run(describe, page, "--vocabulary", "words.txt")
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        "error: the vocabulary words.txt is empty",
        "hint: write one word or short phrase a line",
    ]
    assert engine.embedded == []


def test_bad_files_among_good_ones_are_skipped_counted_and_named(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path
) -> None:
    words = (songs / "broken.mp3", page, "notes.txt", "--json")
    result = run(describe, *words)
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [d["path"] for d in found["descriptions"]] == [str(page)]
    assert [s["path"] for s in found["skipped"]] == [str(songs / "broken.mp3"), "notes.txt"]
    first, *named = result.stderr.splitlines()
    assert first == "skipped: 2 of 3 files"
    assert [line.split(": ")[0].strip() for line in named] == [str(songs / "broken.mp3"), "notes.txt"]


def test_nothing_that_can_be_described_is_an_error(engine: CommandEngine, run: Invoke, songs: Path) -> None:
    one = run(describe, songs / "broken.mp3")
    assert one.exit_code == 3
    assert "broken.mp3" in one.stderr.splitlines()[0]
    both = run(describe, songs / "broken.mp3", "notes.txt")
    assert both.exit_code == 3
    assert both.stdout == ""
    assert both.stderr.splitlines()[0] == "error: none of 2 files can be described"
    assert f"{songs / 'broken.mp3'}: " in both.stderr.splitlines()[1]


@pytest.mark.parametrize("words", [[], ["page.png", "--top", "0"]])
def test_wrong_use(engine: CommandEngine, run: Invoke, page: Path, words: list[str]) -> None:
    assert run(describe, *words).exit_code == 2


def test_the_engine_is_the_one_that_was_asked_for(engine: CommandEngine, run: Invoke, page: Path) -> None:
    run(describe, page, "--model", "other", "--threads", "2")
    assert engine.choice
    assert (engine.choice.model, engine.choice.threads) == ("other", 2)


def test_an_escape_sequence_in_a_vocabulary_does_not_reach_the_terminal(
    engine: CommandEngine, run: Invoke, home: Path, page: Path
) -> None:
    (home / "words.txt").write_text("\x1b[2Jboo\n", encoding="utf-8")
    stdout = run(describe, page, "--vocabulary", "words.txt").stdout
    assert "?[2Jboo" in stdout
    assert "\x1b" not in stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mmr_runtime.cli.describe import describe; "
        "describe.main(['--help'], standalone_mode=False); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'scipy', 'PIL', 'onnxruntime', 'sqlite3'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "Example: mmr describe page.png song.mp3" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(not (default_folder() / "manifest.json").exists(), reason="no default model")
def test_the_second_run_reads_no_text_again(run: Invoke, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmr_runtime.engine import Engine

    first = run(describe, page, "--device", "cpu")
    assert first.exit_code == 0
    assert "standard deviations" in first.stdout.splitlines()[-1]
    monkeypatch.setattr(Engine, "embed_texts", lambda *_: pytest.fail("texts were embedded again"))
    assert run(describe, page, "--device", "cpu").stdout == first.stdout
