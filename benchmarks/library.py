"""A library of 10,000 songs, and one that is killed: `python benchmarks/library.py`.

Scale: unchanged folders looked at again, opening with the first answer, memory. Songs are empty files whose random
vectors were put into the index. Crashes: an index run is killed (SIGKILL) at 50 random moments, then completed: no
finished song may be lost, none may be there twice. Stored in results/library.json.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import soundfile
from host import store

from mmr_runtime import Engine, Library
from mmr_runtime.engine import unit_rows
from mmr_runtime.library.scan import FoundFile
from mmr_runtime.library.store import Embedded, Store
from mmr_runtime.library.tags import Tags
from mmr_runtime.rank import Query

SONGS, ROUNDS, KILLS, VICTIMS = 10_000, 7, 50, 40

FIRST_ANSWER = """
import resource, sys, time
started = time.perf_counter()
import numpy as np
from mmr_runtime import Engine, Library, Query
engine = Engine.open()
with Library.open(sys.argv[1], engine, sys.argv[2]) as library:
    matches = library.rank(Query("image", np.eye(1, engine.embedding_size, dtype=np.float32)))
assert len(matches) == 10
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

INDEX = """
import sys
from mmr_runtime import Engine, Library
with Library.open(sys.argv[1], Engine.open(), sys.argv[2]) as library:
    library.update()
"""


@click.command()
def main() -> None:
    """Measure and store."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {"scale": _scale(Path(folder) / "scale"), "crashes": _crashes(Path(folder) / "crashes")}
    path = store("library", figures)
    click.echo(f"{figures}\nstored {path}")


def _scale(folder: Path) -> dict[str, float]:
    songs, index = folder / "songs", folder / "index"
    with Engine.open() as engine:
        _fill(songs, index, engine)
        seconds = []
        with Library.open(songs, engine, index) as library:
            for _ in range(ROUNDS):
                started = time.perf_counter()
                report = library.update()
                seconds.append(time.perf_counter() - started)
                assert (report.kept, report.added) == (SONGS, 0)
            library.rank(Query("image", np.eye(1, engine.embedding_size, dtype=np.float32)))  # writes the matrix
    answers = [_run(FIRST_ANSWER, songs, index).split() for _ in range(ROUNDS)]
    return {
        "songs": SONGS,
        "scan again, unchanged, s": statistics.median(seconds),
        "new process, open and first answer, s": statistics.median(float(answer[0]) for answer in answers),
        "memory of that process, MB": statistics.median(float(answer[1]) for answer in answers),
        "index, MB": sum(file.stat().st_size for file in index.iterdir()) / 1e6,
    }


def _fill(songs: Path, index: Path, engine: Engine) -> None:
    """Files in 100 folders, and an index that knows them."""
    rng = np.random.default_rng(0)
    size = engine.embedding_size
    kept = Store.open(index, "songs")
    # The way in is not what is measured: nothing waits for the disk.
    kept._connection.execute("PRAGMA synchronous = OFF")
    for i in range(SONGS):
        path = songs / f"{i % 100:02d}" / f"{i:05d}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(i.to_bytes(4, "big"))
        facts = path.stat()
        windows = unit_rows(rng.normal(size=(8, size)).astype(np.float32))
        vector = unit_rows(windows.mean(axis=0, keepdims=True))[0]
        embedded = Embedded(vector, windows, np.arange(8.0), 180.0, -14.0)
        found = FoundFile(str(path), facts.st_size, facts.st_mtime_ns)
        kept.add_item(i.to_bytes(20, "big"), engine.model_id, embedded, found, Tags(f"song {i}"), "")
    kept.close()


def _crashes(folder: Path) -> dict[str, float]:
    songs, index = folder / "songs", folder / "index"
    songs.mkdir(parents=True)
    rng, chance = np.random.default_rng(0), random.Random(0)  # noqa: S311 (no secret)
    for i in range(VICTIMS):
        soundfile.write(songs / f"{i:03d}.wav", rng.normal(0, 0.1, 22050).astype(np.float32), 22050)
    finished, killed, lost = set(), 0, 0
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", INDEX, str(songs), str(index)])
        try:
            process.wait(chance.uniform(0.2, 1.2))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        now = _known(index)
        lost += len(finished - now)
        finished = now
        if len(finished) == VICTIMS:  # begin again, so that every kill meets work
            for name in sorted(finished)[: VICTIMS - 2]:
                soundfile.write(name, rng.normal(0, 0.1, 22050).astype(np.float32), 22050)
            finished = set()
    _run(INDEX, songs, index)
    with sqlite3.connect(index / "index.db") as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        twice = connection.execute("SELECT count(*) - count(DISTINCT content) FROM item").fetchone()[0]
    return {
        "killed": killed,
        "finished songs lost": lost,
        "songs twice": twice,
        "database sound": sound,
        "complete afterwards": len(_known(index)) == VICTIMS,
    }


def _known(index: Path) -> set[str]:
    if not (index / "index.db").exists():
        return set()
    with sqlite3.connect(index / "index.db") as connection:
        rows = connection.execute("SELECT path FROM file WHERE content NOT NULL").fetchall()
    return {os.fsdecode(row[0]) for row in rows}


def _run(program: str, *words: Path) -> str:
    done = subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
