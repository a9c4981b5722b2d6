"""`mmr`: light to start, and no command can hurt another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from mmr_runtime import __version__
from mmr_runtime.cli import group, options
from mmr_runtime.cli.about import version_text
from mmr_runtime.cli.rank import rank
from mmr_runtime.errors import BundleError, InputError
from mmr_runtime.sessions import DEVICES
from tests.cli.conftest import Invoke

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"numpy", "scipy", "PIL", "onnxruntime", "soundfile", "sqlite3", "av"}


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three commands of another package: one works, one cannot be imported, one is no command."""
    entries = [
        metadata.EntryPoint(name, f"plugin_for_test:{name}", group.PLUGINS) for name in ("good", "gone", "odd", "rank")
    ]

    @click.command(short_help="Works.")
    @click.argument("word")
    def good(word: str) -> None:
        if word == "fail":
            raise InputError("it broke", "mend it")
        click.echo(word)

    monkeypatch.setitem(sys.modules, "plugin_for_test", SimpleNamespace(good=good, odd=1, rank=good))  # type: ignore[misc]
    monkeypatch.setattr(metadata, "entry_points", lambda **_: entries)
    group.plugins.cache_clear()
    yield
    group.plugins.cache_clear()


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("main", ["--help"]),
        ("infer_main", ["--help"]),
        ("main", ["rank", "--help"]),
        ("main", ["index", "-h"]),
        ("main", ["doctor", "--help"]),
        ("main", ["--version"]),
        ("infer_main", ["--version"]),
    ],
)
def test_help_and_version_load_nothing_heavy(start: str, words: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['mmr', *{words!r}]\n"
        f"from mmr_runtime.cli import {start}\n"
        "try:\n"
        f"    {start}()\n"
        "except SystemExit as end:\n"
        "    print('code', end.code)\n"
        f"print('loaded', sorted({{m.split('.')[0] for m in sys.modules}} & {HEAVY!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-2:] == ["code 0", "loaded []"]
    assert done.stderr == ""


def test_without_a_command_there_is_help(run: Invoke) -> None:
    result = run(group.mmr)
    assert result.exit_code == 0
    assert "Example: mmr rank page.png" in result.stdout
    assert all(name in result.stdout for name in ("rank", "index", "doctor"))


@pytest.mark.parametrize("name", ["rank", "index", "doctor"])
def test_every_help_starts_with_an_example_and_tells_every_command(run: Invoke, name: str) -> None:
    lines = run(group.mmr, name, "--help").stdout.splitlines()
    assert lines[0].startswith(f"Usage: mmr {name}")
    assert lines[2].strip().startswith("Example: mmr")
    assert "--json" in "\n".join(lines)


def test_rank_is_mmr_infer() -> None:
    assert group.mmr.get_command(click.Context(group.mmr), "rank") is rank


def test_an_unknown_command_is_wrong_use(run: Invoke) -> None:
    result = run(group.mmr, "dance")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == ["error: No such command 'dance'.", "hint: see mmr --help"]


def test_a_plugin_runs_with_the_same_reporting(plugins: None, run: Invoke) -> None:
    assert run(group.mmr, "good", "word").stdout == "word\n"
    failed = run(group.mmr, "good", "fail")
    assert (failed.exit_code, failed.stderr) == (3, "error: it broke\nhint: mend it\n")


def test_a_broken_plugin_is_listed_with_its_reason_and_breaks_nothing(plugins: None, run: Invoke) -> None:
    listed = run(group.mmr, "--help")
    assert listed.exit_code == 0
    assert "(cannot be loaded: AttributeError" in listed.stdout
    assert "Works." in listed.stdout
    for name in ("gone", "odd"):
        result = run(group.mmr, name, "--data", "x", "--help")
        assert result.exit_code == 5
        assert result.stderr.startswith(f"error: the command {name} cannot be loaded: ")
        assert "plugin_for_test" in result.stderr.splitlines()[1]


def test_no_plugin_takes_the_place_of_our_own(plugins: None) -> None:
    assert group.mmr.get_command(click.Context(group.mmr), "rank") is rank


def test_the_devices_offered_are_those_that_sessions_know() -> None:
    device = next(p for p in rank.params if p.name == "device")
    assert isinstance(device.type, click.Choice)
    assert tuple(device.type.choices) == DEVICES


def test_the_version_names_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object) -> object:
        return SimpleNamespace(manifest=SimpleNamespace(id="small"))

    monkeypatch.setattr("mmr_runtime.cli.about.Bundle.open", opened)
    version = metadata.version("onnxruntime")
    assert version_text() == f"mmr {__version__}\nonnxruntime {version}\nmodel small"


def test_the_version_is_told_even_where_nothing_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> object:
        raise BundleError("there is none")

    monkeypatch.setattr("mmr_runtime.cli.about.Bundle.open", closed)
    monkeypatch.setattr("mmr_runtime.cli.about.onnxruntimes", dict)
    assert version_text() == f"mmr {__version__}\nonnxruntime none\nmodel none"


def test_options_that_commands_share_are_alike() -> None:
    kept = {"model", "device", "threads", "precision", "index"}
    other = group.mmr.get_command(click.Context(group.mmr), "index")
    assert other is not None
    ours, theirs = ({p.name: p.to_info_dict() for p in c.params if p.name in kept} for c in (rank, other))
    assert ours == theirs
    assert set(ours) == kept
    assert options.EngineChoice() == options.EngineChoice("default", "auto", None, "auto")
