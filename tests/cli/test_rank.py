"""`mmr-infer`: one question, one table or JSON object on stdout; all else on stderr."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmr_runtime.bundle import default_folder
from mmr_runtime.cli.display import width
from mmr_runtime.cli.rank import rank
from mmr_runtime.moods import MOODS
from tests.cli.conftest import CommandEngine, Invoke
from tests.runtime.fake_engine import write_song

ROOT = Path(__file__).resolve().parents[2]
HEAD = ["rank", "score", "mood", "start", "title", "path"]


def names(result: Result) -> list[str]:
    return [Path(match["path"]).name for match in json.loads(result.stdout)["matches"]]


# -- the table --------------------------------------------------------------------------------------------------------


def test_a_page_gets_a_table_of_songs(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    result = run(rank, page, "--library", songs)
    head, *rows = result.stdout.splitlines()
    assert result.exit_code == 0
    assert head.split() == HEAD
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert {row.split()[-1] for row in rows} == {"songs/low.wav", "songs/high.wav", "songs/夜に駆ける.wav"}
    assert all(re.search(r" (?:" + "|".join(MOODS) + r") \d+% +0:0\d ", row) for row in rows)


def test_wide_titles_do_not_push_the_paths_out_of_line(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path
) -> None:
    lines = run(rank, page, "--library", songs).stdout.splitlines()
    starts = {width(line[: line.index("songs/")]) for line in lines[1:]}
    assert starts == {width(lines[0][: lines[0].index("path")])}


def test_the_best_ones_only(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    everything = run(rank, page, "--library", songs, "--json")
    assert names(run(rank, page, "--library", songs, "--json", "--top", "2")) == names(everything)[:2]


def test_nothing_but_the_table_is_on_stdout_and_no_colour_in_a_pipe(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path
) -> None:
    result = run(rank, page, "--library", songs)
    assert len(result.stdout.splitlines()) == 4
    assert "\x1b" not in result.output
    assert result.stderr.splitlines() == [
        "indexing 4 songs",
        "indexed: 3 added, 0 kept, 1 skipped",
        "skipped: 1 file (-v names them)",
    ]


def test_the_second_run_listens_to_nothing(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    first = run(rank, page, "--library", songs)
    engine.embedded.clear()
    second = run(rank, page, "--library", songs)
    assert engine.embedded == ["page.png"]
    assert second.stdout == first.stdout
    assert second.stderr == "skipped: 1 file (-v names them)\n"


def test_skipped_files_are_named_when_asked(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    last = run(rank, page, "--library", songs, "-v").stderr.splitlines()[-1]
    assert last.startswith(f"  {songs / 'broken.mp3'}: ")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names must be valid text here")
def test_a_name_that_is_no_text_comes_out_as_it_is(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    raw = b"caf\xe9 \xff.wav"
    shutil.copy(songs / "low.wav", os.fsencode(songs) + b"/" + raw)
    (songs / "low.wav").unlink()
    assert raw in run(rank, page, "--library", songs).stdout_bytes
    found = json.loads(run(rank, page, "--library", songs, "--json").stdout_bytes.decode("utf-8"))
    assert raw in {os.fsencode(Path(match["path"]).name) for match in found["matches"]}


def test_an_escape_sequence_in_a_name_does_not_reach_the_terminal(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path
) -> None:
    write_song(songs / "\x1b[2Jboo\n.wav", 1500)
    stdout = run(rank, page, "--library", songs).stdout
    assert "?[2Jboo?" in stdout
    assert len(stdout.splitlines()) == 5


# -- the question -----------------------------------------------------------------------------------------------------


def test_several_pages_are_one_question(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    shutil.copy(page, page.with_name("next.png"))
    result = run(rank, page, "next.png", "--library", songs, "--json")
    assert json.loads(result.stdout)["query"]["pages"] == [str(page), "next.png"]
    assert len(names(result)) == 3


def test_a_text_alone_is_a_question_and_dialogue_changes_the_answer_of_a_page(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path
) -> None:
    def scores(*words: str | Path) -> list[float]:
        result = run(rank, *words, "--library", songs, "--json")
        return [match["score"] for match in json.loads(result.stdout)["matches"]]

    alone, fused, page_only = scores("--text", "Run!"), scores(page, "--text", "Run!"), scores(page)
    assert len(alone) == len(fused) == 3
    assert len({tuple(alone), tuple(fused), tuple(page_only)}) == 3


def test_a_song_asks_for_pages(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    shutil.copy(page, page.with_name("other.png"))
    page.with_name("other.png").write_bytes(page.read_bytes() + b"\0")
    result = run(rank, "--song", songs / "low.wav", "--library", page.parent)
    head, *rows = result.stdout.splitlines()
    assert head.split() == HEAD
    assert {row.split()[-1] for row in rows} == {"page.png", "other.png"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--library", "songs"), "nothing to search for"),
        (("page.png",), "nothing to search in"),
        (("page.png", "--song", "songs/low.wav", "--library", "songs"), "--song is a question by itself"),
        (("--text", " ", "--library", "songs"), "--text is empty"),
        (("page.png", "--library", "songs", "--top", "0"), "--top"),
        (("page.png", "--library", "songs", "--nonsense"), "--nonsense"),
    ],
)
def test_wrong_use_is_told_in_two_lines(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path, words: tuple[str, ...], problem: str
) -> None:
    result = run(rank, *words)
    error, hint = result.stderr.splitlines()
    assert result.exit_code == 2
    assert error.startswith("error: ")
    assert problem in error
    assert hint.startswith("hint: ")
    assert result.stdout == ""


def test_a_page_that_is_none_is_bad_input_and_is_seen_before_any_song_is_heard(
    engine: CommandEngine, run: Invoke, songs: Path, home: Path
) -> None:
    (home / "page.png").write_bytes(b"not an image")
    result = run(rank, "page.png", "--library", songs)
    assert result.exit_code == 3
    assert result.stderr.startswith("error: page.png is not an image\nhint: ")
    assert engine.embedded == ["page.png"]


def test_options_reach_the_engine(engine: CommandEngine, run: Invoke, page: Path) -> None:
    words = ("--model", "mine", "--device", "cpu", "--threads", "2", "--precision", "int8")
    assert run(rank, page, "--moods", *words).exit_code == 0
    choice = engine.choice
    assert choice is not None
    assert (choice.model, choice.device, choice.threads, choice.precision) == ("mine", "cpu", 2, "int8")


# -- moods ------------------------------------------------------------------------------------------------------------


def test_moods_of_a_page_need_no_library(engine: CommandEngine, run: Invoke, page: Path) -> None:
    result = run(rank, page, "--moods")
    rows = [line.split() for line in result.stdout.splitlines()]
    shares = [int(row[1].rstrip("%")) for row in rows]
    assert result.exit_code == 0
    assert {row[0] for row in rows} == set(MOODS)
    assert shares == sorted(shares, reverse=True)
    assert set(rows[0][2]) == {"█"}


def test_moods_stand_before_the_table(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    moods, table = run(rank, page, "--moods", "--library", songs).stdout.split("\n\n")
    assert len(moods.splitlines()) == 7
    assert table.split()[:6] == HEAD


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_json_is_one_object_that_says_everything(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    result = run(rank, page, "--library", songs, "--json", "--moods")
    answer = json.loads(result.stdout)
    assert list(answer) == ["schema", "query", "model", "matches", "indexed"]
    assert (answer["schema"], answer["model"]) == (1, "fake")
    assert list(answer["query"]) == ["pages", "text", "song", "moods"]
    assert sum(answer["query"]["moods"].values()) == pytest.approx(1, abs=1e-5)
    best = answer["matches"][0]
    assert list(best) == ["rank", "score", "path", "title", "start_s", "gain_db", "moods", "reasons"]
    assert Path(best["path"]).is_absolute()
    assert list(best["moods"]) == list(MOODS)
    indexed = answer["indexed"]
    assert [indexed[name] for name in ("added", "kept", "moved", "removed")] == [3, 0, 0, 0]
    assert [Path(skipped["path"]).name for skipped in indexed["skipped"]] == ["broken.mp3"]
    assert indexed["skipped"][0]["reason"]


def test_json_of_a_model_without_moods(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    engine.has_moods = False
    engine.bundle.manifest.labels = {}
    answer = json.loads(run(rank, page, "--library", songs, "--json").stdout)
    assert answer["query"]["moods"] is None
    assert answer["matches"][0]["moods"] == {}
    assert " -  " in run(rank, page, "--library", songs).stdout


# -- the index --------------------------------------------------------------------------------------------------------


def test_the_index_as_it_is(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    run(rank, page, "--library", songs)
    write_song(songs / "new.wav", 1200)
    result = run(rank, page, "--library", songs, "--no-update", "--json")
    assert "new.wav" not in names(result)
    assert json.loads(result.stdout)["indexed"] is None
    assert result.stderr == ""


def test_an_index_where_the_user_wants_it(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    run(rank, page, "--library", songs, "--index", "kept")
    assert Path("kept", "index.db").is_file()
    assert not Path(".data").exists()


def test_an_empty_folder_finds_nothing(engine: CommandEngine, run: Invoke, home: Path, page: Path) -> None:
    (home / "empty").mkdir()
    result = run(rank, page, "--library", "empty")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "nothing found: no usable songs in empty\n"
    as_json = run(rank, page, "--library", "empty", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["matches"]) == (1, [])


def test_an_index_that_was_never_made_finds_nothing(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path
) -> None:
    result = run(rank, page, "--library", songs, "--no-update")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1] == "hint: run it without --no-update"


def test_a_folder_that_is_not_there_is_bad_input(engine: CommandEngine, run: Invoke, page: Path) -> None:
    result = run(rank, page, "--library", "nowhere")
    assert result.exit_code == 3
    assert "nowhere" in result.stderr


def test_a_damaged_index_is_an_index_error(engine: CommandEngine, run: Invoke, songs: Path, page: Path) -> None:
    Path("kept").mkdir()
    Path("kept", "index.db").write_bytes(b"not a database, " * 100)
    result = run(rank, page, "--library", songs, "--index", "kept")
    assert result.exit_code == 6
    assert len(result.stderr.splitlines()) == 2


def test_a_missing_bundle_is_a_bad_model(run: Invoke, songs: Path, page: Path) -> None:
    result = run(rank, page, "--library", songs, "--model", "nowhere")
    assert result.exit_code == 4
    assert result.stderr.startswith("error: nowhere is not a folder\nhint: ")


def test_an_interrupt_keeps_what_is_indexed(
    engine: CommandEngine, run: Invoke, songs: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear = engine.embed_audio

    def interrupted(song: str | Path, **options: int) -> object:
        if Path(song).name == "low.wav":
            raise KeyboardInterrupt
        return hear(song, **options)

    monkeypatch.setattr(engine, "embed_audio", interrupted)
    result = run(rank, page, "--library", songs)
    assert result.exit_code == 130
    assert "error: interrupted after 2 of 4 files\nhint: what is indexed is kept" in result.stderr
    monkeypatch.setattr(engine, "embed_audio", hear)
    engine.embedded.clear()
    assert run(rank, page, "--library", songs).exit_code == 0
    assert engine.embedded == ["page.png", "low.wav", "夜に駆ける.wav"]


# -- the real thing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def model() -> Path:
    """The bundle that comes with mmr."""
    if not (default_folder() / "manifest.json").is_file():
        pytest.skip("no default bundle in this checkout yet")
    return default_folder()


def test_the_shipped_model_answers_and_a_warm_query_loads_no_more_than_it_needs(
    model: Path, songs: Path, page: Path
) -> None:
    code = (
        "import sys\n"
        "from mmr_runtime.cli import infer_main\n"
        "try:\n"
        "    infer_main()\n"
        "finally:\n"
        "    heavy = {'scipy.signal', 'soundfile', 'torch', 'onnx', 'av'} & set(sys.modules)\n"
        "    print(sorted(heavy), file=sys.stderr)\n"
    )
    words = [page, "--library", songs, "--model", model, "--json", "--moods"]
    command = [sys.executable, "-c", code, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    cold = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    warm = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    first, second = json.loads(cold.stdout), json.loads(warm.stdout)
    assert len(first["matches"]) == 3
    assert set(first["query"]["moods"]) == set(MOODS)
    assert (first["indexed"]["added"], second["indexed"]["added"], second["indexed"]["kept"]) == (3, 0, 3)
    assert first["matches"] == second["matches"]
    assert warm.stderr.splitlines()[-1] == "[]"


def test_the_last_words_in_a_closed_pipe_are_no_error(home: Path) -> None:
    code = (
        "import click, os\n"
        "from mmr_runtime.cli.display import write\n"
        "from mmr_runtime.cli.errors import Command\n"
        "@click.command(cls=Command)\n"
        "def talk():\n"
        "    for i in range(10000):\n"
        "        write('line ' * 20)\n"
        "talk.main(prog_name='talk', args=[])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_help_starts_with_an_example() -> None:
    usage, _, example, *_ = CliRunner().invoke(rank, ["--help"], prog_name="mmr-infer").stdout.splitlines()
    assert usage.startswith("Usage: mmr-infer")
    assert example.strip() == "Example: mmr-infer page.png --library ~/Music"
