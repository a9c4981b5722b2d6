"""Commands run inside the test's process, with a model that needs no bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from click import Command
from click.testing import CliRunner, Result
from PIL import Image

from mmr_runtime.cli.options import EngineChoice
from tests.runtime.fake_engine import FakeEngine, write_song

Invoke = Callable[..., Result]


class CommandEngine(FakeEngine):
    """The fake engine, which remembers how it was asked for."""

    choice: EngineChoice | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CommandEngine:
    """What every command gets for an engine."""
    engine = CommandEngine()

    def give(choice: EngineChoice) -> CommandEngine:
        engine.choice = choice
        return engine

    monkeypatch.setattr(EngineChoice, "open", give)
    return engine


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a place for indexes that is not the developer's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ".data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def songs(home: Path) -> Path:
    """A folder `songs` with three songs and one that is none."""
    write_song(home / "songs" / "low.wav", 200)
    write_song(home / "songs" / "high.wav", 2500)
    write_song(home / "songs" / "夜に駆ける.wav", 900)
    (home / "songs" / "broken.mp3").write_bytes(b"no sound at all")
    return home / "songs"


@pytest.fixture
def page(home: Path) -> Path:
    """A page, `page.png`."""
    Image.effect_noise((32, 48), 60).save(home / "page.png")
    return home / "page.png"


@pytest.fixture
def run() -> Invoke:
    """Run a command with these words; stdout and stderr come apart."""

    def invoke(command: Command, *words: str | Path) -> Result:
        return CliRunner().invoke(command, [str(word) for word in words])

    return invoke
