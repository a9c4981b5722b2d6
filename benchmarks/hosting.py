"""What mmr costs the program that it is built into: `python benchmarks/hosting.py [--rounds N]` (Linux).

In process: importing, opening, the first use of a model, a page turn, and processor time while nobody turns pages.
Beside it: `mmr serve` from its start to its first line, one `mmr-ctl` from start to end, and both at rest. Everything
runs in turn, round by round, over eight generated songs, with prepared graphs in a cache of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile
from host import store

from mmr_export.bench.processes import environment, measure
from mmr_export.bench.timing import Row, Sample, summary
from mmr_export.synth.pages import generate_page
from mmr_export.synth.pieces import compose
from mmr_runtime import Engine, Library
from mmr_runtime.ctl import connect

SONGS, SONG_SECONDS, PAGES = 8, 20.0, 6
WARM_UP = 1
IDLE_SECONDS = 10.0
SECONDS = 60.0

BUDGETS = {
    "import mmr_runtime": 0.030,
    "first Engine.open": 0.050,
    "serve, start to ready": 0.600,
    "mmr-ctl ping": 0.050,
}
"""Seconds that a host was promised; the other figures have none."""

IN_PROCESS = """
import json, os, sys, time
marks, clock = [], lambda: (time.perf_counter(), time.process_time())
def mark(name):
    now = clock()
    marks.append((name, now[0] - last[0], now[1] - last[1]))
    last[:] = clock()
last = list(clock())
import mmr_runtime
mark("import mmr_runtime")
import numpy
mark("import numpy, which most hosts have done")
engine = mmr_runtime.Engine.open(threads=1)
mark("first Engine.open")
engine.warmup(("image",))
mark("warmup of the image tower, with onnxruntime")
library = mmr_runtime.Library.open(sys.argv[1], engine, sys.argv[2])
book = mmr_runtime.Book.open(sys.argv[3])
session = mmr_runtime.Session(engine, library)
session.open_book(book).result()
mark("opening library, book and Session")
session.turn(0)
mark("first page turn")
session.turn(1)
mark("page turn")
session.prefetch([2]).result()
last[:] = clock()
session.turn(2)
mark("page turn, read ahead")
threads = len(os.listdir("/proc/self/task"))
idle = time.process_time()
time.sleep(float(sys.argv[4]))
idle = time.process_time() - idle
session.close()
print(json.dumps({"marks": marks, "threads": threads, "idle": idle}))
"""
CTL = "import sys; from mmr_runtime.ctl import main; sys.exit(main())"


class Places:
    """Songs, their index, a book, and the cache of prepared graphs, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.songs, self.index, self.book = folder / "songs", folder / "index", folder / "book"
        self.socket, self.environment = folder / "mmr.sock", environment(1, folder / "cache")

    def make(self) -> None:
        """Draw, compose, and index."""
        self.songs.mkdir()
        self.book.mkdir()
        for number in range(SONGS):
            piece = compose(number, seconds=SONG_SECONDS)
            soundfile.write(self.songs / f"{number}.ogg", piece.samples, piece.sample_rate)
        for number in range(PAGES):
            generate_page(number, width=1170, height=1654).image.save(self.book / f"{number}.jpg", quality=90)
        with Engine.open(threads=1) as engine, Library.open(self.songs, engine, self.index) as library:
            library.update()

    @contextmanager
    def serving(self, *how: str) -> Iterator[subprocess.Popen[bytes]]:
        """`mmr serve`, until the block ends."""
        command = [sys.executable, "-m", "mmr_runtime.cli", "serve", *how, "--threads", "1"]
        command += ["--library", str(self.songs), "--index", str(self.index)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=self.environment, **pipes)  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.stdin.close()
            if how[0] == "--socket":
                process.terminate()
            process.wait(SECONDS)
            process.stdout.close()


def in_process(places: Places, idle_seconds: float) -> dict[str, Any]:
    """A host from its start: seconds of each step, threads, and processor seconds while idle."""
    words = [str(places.songs), str(places.index), str(places.book), str(idle_seconds)]
    done = subprocess.run(
        [sys.executable, "-c", IN_PROCESS, *words], env=places.environment, check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def start_to_ready(places: Places) -> Sample:
    """`mmr serve --stdio` until its first line is there."""
    start = time.perf_counter()
    with places.serving("--stdio") as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        seconds, cpu = time.perf_counter() - start, processor_seconds(process.pid)
        assert ready["event"] == "ready"
    return Sample(seconds, cpu)


def serve_at_rest(places: Places, idle_seconds: float) -> float:
    """Processor seconds of an idle server whose reader has a page open."""
    with places.serving("--stdio") as process:
        assert process.stdin
        assert process.stdout
        for method, params in (("open_book", {"path": str(places.book)}), ("turn", {"page": 0})):
            process.stdin.write(json.dumps({"id": method, "method": method, "params": params}).encode() + b"\n")
            process.stdin.flush()
            while json.loads(process.stdout.readline()).get("id") != method:
                pass
        before = processor_seconds(process.pid)
        time.sleep(idle_seconds)
        return processor_seconds(process.pid) - before


@contextmanager
def listening(places: Places) -> Iterator[None]:
    """A server on a socket."""
    with places.serving("--socket", str(places.socket)):
        end = time.monotonic() + SECONDS
        while True:
            try:
                connect(str(places.socket)).close()
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.01)
        yield


def processor_seconds(pid: int) -> float:
    """Of a process and all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
def main(rounds: int) -> None:
    """Measure and store results/hosting.json."""
    samples: dict[str, list[Sample]] = {}
    with tempfile.TemporaryDirectory() as name:
        places = Places(Path(name))
        places.make()
        load = os.getloadavg()[0]
        with listening(places):
            for number in range(-WARM_UP, rounds):
                found = {step: Sample(*seconds) for step, *seconds in in_process(places, 0)["marks"]}
                found["python alone"] = measure(["-c", ""], places.environment)
                found["mmr-ctl ping"] = measure(["-c", CTL, "--socket", str(places.socket), "ping"], places.environment)
                found["serve, start to ready"] = start_to_ready(places)
                for step, sample in found.items() if number >= 0 else ():
                    samples.setdefault(step, []).append(sample)
        rest = in_process(places, IDLE_SECONDS)
        idle = {"Session": rest["idle"], "serve": serve_at_rest(places, IDLE_SECONDS)}
        model = Engine.open().model_id
    figures = {
        "model": model,
        "rounds": rounds,
        "load average": load,
        "steps": [{"step": step, "budget": BUDGETS.get(step), **told(own)} for step, own in samples.items()],
        "threads of a host with a Session": rest["threads"],
        "idle seconds": IDLE_SECONDS,
        "processor seconds while idle": {what: round(seconds, 4) for what, seconds in idle.items()},
    }
    click.echo(json.dumps(figures, indent=1))
    click.echo(f"stored {store('hosting', figures)}", err=True)


def told(samples: list[Sample]) -> Row:
    """Distribution of the wall time and of the processor time, which other work on the machine bends less."""
    low, median, high = np.percentile([sample.cpu_seconds for sample in samples], (5, 50, 95)).tolist()
    spread = {name: float(f"{value:.4g}") for name, value in (("p5", low), ("p50", median), ("p95", high))}
    return {**summary(samples), "cpu_seconds": spread}


if __name__ == "__main__":
    main()
