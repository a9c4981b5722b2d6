"""What a host may rely on: nothing runs while nobody reads, nothing leaves the machine, nothing is written unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmr_runtime import Book, Engine, Library, Session
from tests.runtime.fake_engine import FakeEngine, write_song

ROOT = Path(__file__).resolve().parents[2]
SONGS, PAGES = 4, 3

# Every socket and every other program is refused. The clock of the idle second starts when the last turn is answered.
HOST = """
import json, os, socket, subprocess, sys, threading, time

def refuse(*_, **__):
    raise AssertionError("somebody wanted out")

def opened(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:  # that of the listing itself
        return ""

socket.socket = socket.create_connection = socket.getaddrinfo = refuse
subprocess.Popen = os.fork = os.posix_spawn = refuse

from mmr_runtime import Book, Engine, Library, Session

songs, index, pages = sys.argv[1:]
with Engine.open(threads=1) as engine, Library.open(songs, engine, index) as library, Book.open(pages) as book:
    library.update()
    with Session(engine, library) as session:
        session.open_book(book).result()
        actions = [session.turn(page).action for page in range(len(book))]
        before = time.process_time()
        time.sleep(1)
        print(json.dumps({
            "actions": actions,
            "idle": time.process_time() - before,
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "sockets": [name for name in map(opened, os.listdir("/proc/self/fd")) if "socket" in name],
            "system threads": len(os.listdir("/proc/self/task")),
        }))
    assert not [thread for thread in threading.enumerate() if thread.name == "mmr"]
"""


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Songs, where their index will be, and a book."""
    for i in range(SONGS):
        write_song(tmp_path / "songs" / f"{i}.wav", 200 + 700 * i, 6.0)
    (tmp_path / "book").mkdir()
    rng = np.random.default_rng(0)
    for number in range(PAGES):
        Image.fromarray(rng.integers(0, 256, (64, 48), np.uint8)).save(tmp_path / "book" / f"{number}.png")
    return tmp_path / "songs", tmp_path / "index", tmp_path / "book"


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_host_at_rest(places: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """In a fresh HOME, not under CI, which onnxruntime takes for a reason to be quiet."""
    home = tmp_path / "home"
    home.mkdir()
    hidden = ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    # Pools of NumPy's and SciPy's own (SciPy's from 1.18 on): they sleep, but would be counted.
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "DUCC0_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HOST, *map(str, places)],
        capture_output=True,
        text=True,
        cwd=home,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["actions"][0] == "switch"
    assert found["idle"] < 0.01
    assert found["threads"] == ["MainThread", "mmr"]
    assert found["system threads"] == 2
    assert found["sockets"] == []  # nor does a native library have one
    written = {path.relative_to(home).parts[:2] for path in home.rglob("*") if path.is_file()}
    assert written == {(".cache", "mmr")}  # graphs prepared for this machine, and which files were verified
    assert {path.name for path in places[1].iterdir()} >= {"index.db"}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """For how long the workers of sessions go to sleep, seconds; None: until they are woken."""
    import mmr_runtime.companion as companion

    found: list[float | None] = []

    class Condition(companion.threading.Condition):  # type: ignore[name-defined,misc]
        def wait(self, timeout: float | None = None) -> bool:
            found.append(timeout)
            return bool(super().wait(timeout))

    monkeypatch.setattr(companion, "threading", _Threading(companion.threading, Condition))  # type: ignore[attr-defined]
    return found


class _Threading:
    """The module `threading` with another Condition."""

    def __init__(self, module: Any, condition: Any) -> None:
        self._module, self.Condition = module, condition

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def test_a_worker_sleeps_until_it_is_needed_and_wakes_once_to_unload(
    places: tuple[Path, Path, Path], waits: list[float | None]
) -> None:
    class Unloaded(FakeEngine):
        def close(self) -> None:
            closed.append(True)

    closed: list[bool] = []
    with (
        Library.open(places[0], engine := Unloaded(), places[1]) as library,  # type: ignore[arg-type]
        Book.open(places[2]) as book,
    ):
        library.update()
        with Session(engine, library, idle_seconds=0.01) as session:  # type: ignore[arg-type]
            session.open_book(book).result(20)
            session.turn(0)
            _until(lambda: closed and waits[-1] is None)
            assert set(waits) <= {None, 0.01}
            assert closed == [True]


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end


def test_eight_threads_get_what_one_gets(places: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Of one engine and one library: pages, songs, texts and searches, all at once."""
    pages = sorted(places[2].iterdir())
    songs = sorted(places[0].iterdir())
    with Engine.open(threads=1) as engine, Library.open(places[0], engine, places[1]) as library:
        library.update()

        def work(number: int) -> tuple[Any, ...]:
            page, song = pages[number % PAGES], songs[number % SONGS]
            matches = library.rank(page, top=SONGS)
            return (
                engine.embed_images([page]).tobytes(),
                engine.embed_audio(song, windows=2).vector.tobytes(),
                engine.embed_texts([f"page {number}"]).tobytes(),
                [(match.track.path, match.score, match.start_s) for match in matches],
            )

        numbers = range(8)
        serial = [work(number) for number in numbers]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, numbers)) == serial
