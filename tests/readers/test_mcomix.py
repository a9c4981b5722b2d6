"""MComix with music: the real one under Xvfb where it is installed, and the listener with a stand-in everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmr_runtime.readers.mcomix import Companion, Player, arguments
from tests.runtime.fake_engine import write_song

SECONDS = 60
# Writes down what it is asked to play, and "plays" until it is ended.
RECORDER = "import sys, time; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + chr(10)); time.sleep(600)"


class Signal:
    """A method of MComix to which listeners can be added."""

    def __init__(self) -> None:
        self.listeners: list[Callable[..., None]] = []

    def __iadd__(self, listener: Callable[..., None]) -> Signal:
        self.listeners.append(listener)
        return self

    def __call__(self) -> None:
        for listener in self.listeners:
            listener()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


def write_book(folder: Path, pages: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(pages):
        Image.fromarray(rng.integers(0, 256, (96, 64), np.uint8)).save(folder / f"{number}.png")
    return folder


def recorder(log: Path) -> str:
    return f'{sys.executable} -c "{RECORDER}" {log} {{path}} {{start}} {{gain}}'


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i in range(3):
        write_song(tmp_path / "songs" / f"{i}.wav", 300 + 900 * i, 6.0)
    command = [sys.executable, "-m", "mmr_runtime.cli"]
    where = ["--library", str(tmp_path / "songs"), "--index", str(tmp_path / "index")]
    subprocess.run([*command, "index", *where[1:2], *where[2:]], check=True, capture_output=True)
    return [*command, "serve", "--stdio", *where]


def test_page_turns_become_music(server: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book, log, page = write_book(tmp_path / "book", 4), tmp_path / "log", [1]
    window = SimpleNamespace(
        page_changed=Signal(),
        filehandler=SimpleNamespace(file_opened=Signal(), file_loaded=False, get_path_to_base=lambda: str(book)),
        imagehandler=SimpleNamespace(get_current_page=lambda: page[0]),
    )
    companion = Companion(window, server, Player(recorder(log)), {"change": 0.5})
    printed = ""

    def said(text: str) -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return text in printed

    try:
        window.filehandler.file_opened()
        until(lambda: said("page 1: switch"))
        page[0] = 2
        window.page_changed()
        until(lambda: said("page 2: "))
        until(log.exists)
        path, start, gain = log.read_text().split()
        assert Path(path).is_file()
        assert float(start) >= 0
        assert -24 <= float(gain) <= 12
    finally:
        companion.close()
    assert companion._player._process is None


def test_a_player_plays_one_song_at_a_time(tmp_path: Path) -> None:
    player = Player(recorder(tmp_path / "log"))
    player.play("a b.ogg", 1.5, -3)
    first = player._process
    until((tmp_path / "log").exists)
    player.play("c.ogg", 0, 0)
    assert first
    assert first.poll() is not None
    player.stop()
    Player("").play("d.ogg", 0, 0)
    assert (tmp_path / "log").read_text().startswith("a b.ogg 1.50 -3.0")


def test_what_is_not_known_is_mcomixs() -> None:
    found = arguments(["--library", "a", "--library", "b", "--fullscreen", "book.cbz"])
    assert (found.library, found.others) == (["a", "b"], ["--fullscreen", "book.cbz"])


HAS_MCOMIX = shutil.which("mcomix") is not None and shutil.which("Xvfb") is not None


@pytest.mark.skipif(not HAS_MCOMIX, reason="needs MComix and Xvfb: apt install mcomix xvfb")
def test_the_real_mcomix_turns_its_own_pages(server: list[str], tmp_path: Path) -> None:
    """In a slideshow, which turns a page every second."""
    book, log = write_book(tmp_path / "book", 4), tmp_path / "log"
    settings = tmp_path / "config" / "mcomix"
    settings.mkdir(parents=True)
    (settings / "preferences.conf").write_text(json.dumps({"slideshow delay": 1000}), encoding="utf-8")
    read, write = os.pipe()
    screen = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24"], pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as told:
        display = told.readline().strip()
    homes = {"XDG_CONFIG_HOME": tmp_path / "config", "XDG_DATA_HOME": tmp_path / "data", "HOME": tmp_path}
    environment = {**os.environ, **{name: str(path) for name, path in homes.items()}, "DISPLAY": f":{display}"}
    command = [sys.executable, "-c", "import sys; from mmr_runtime.readers.mcomix import main; sys.exit(main())"]
    command += ["--library", str(tmp_path / "songs"), "--index", str(tmp_path / "index"), "--player", recorder(log)]
    process: Any = subprocess.Popen(
        [*command, "--slideshow", str(book)], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        seen: set[str] = set()
        timer = threading.Timer(SECONDS, lambda: os.killpg(process.pid, 9))
        timer.start()
        for line in process.stdout:
            seen.add(line.split(":")[0])
            if {"page 1", "page 3"} <= seen:
                break
        timer.cancel()
        assert {"page 1", "page 3"} <= seen
        assert Path(log.read_text().split()[0]).parent == tmp_path / "songs"
    finally:
        os.killpg(process.pid, 15)
        process.wait()
        process.stdout.close()
        screen.terminate()
        screen.wait()
