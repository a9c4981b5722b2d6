"""`mmr index` brings an index up to date and says what it did."""

from __future__ import annotations

import json
from pathlib import Path

from mmr_runtime.cli.index import index
from mmr_runtime.cli.rank import rank
from tests.cli.conftest import CommandEngine, Invoke


def test_it_reports_in_words(engine: CommandEngine, run: Invoke, songs: Path) -> None:
    result = run(index, songs, "--index", "kept")
    counts, place = result.stdout.splitlines()
    assert result.exit_code == 0
    assert counts == "indexed: 3 added, 0 kept, 1 skipped"
    assert place == f"3 songs in {Path('kept')}"


def test_it_reports_in_json(engine: CommandEngine, run: Invoke, songs: Path) -> None:
    run(index, songs)
    (songs / "low.wav").rename(songs / "deep.wav")
    (songs / "high.wav").unlink()
    report = json.loads(run(index, songs, "--json").stdout)
    assert (report["schema"], report["model"], report["songs"]) == (1, "fake", 2)
    indexed = report["indexed"]
    assert [indexed[name] for name in ("added", "kept", "moved", "removed")] == [0, 1, 1, 1]
    assert [Path(skipped["path"]).name for skipped in indexed["skipped"]] == ["broken.mp3"]
    assert Path(report["index"], "index.db").is_file()


def test_what_it_indexed_is_what_mmr_infer_searches(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path
) -> None:
    run(index, songs)
    engine.embedded.clear()
    assert run(rank, page, "--library", songs, "--no-update").exit_code == 0
    assert engine.embedded == ["page.png"]


def test_pages_too(engine: CommandEngine, run: Invoke, page: Path) -> None:
    assert json.loads(run(index, page.parent, "--kind", "pages", "--json").stdout)["pages"] == 1


def test_a_folder_without_songs_finds_nothing(engine: CommandEngine, run: Invoke, home: Path) -> None:
    (home / "empty").mkdir()
    result = run(index, "empty")
    assert result.exit_code == 1
    assert result.stderr == "nothing found: no usable songs in empty\n"


def test_a_folder_is_needed(run: Invoke) -> None:
    assert run(index).exit_code == 2
