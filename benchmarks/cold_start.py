"""Whole processes, from start to a first answer: `python benchmarks/cold_start.py [--model FOLDER]`.

Linux only. One thread; every state of the cache once per round, so that a busy machine slows all of them alike; wall
time and peak memory as the kernel counts them. Files are in the kernel's page cache: a machine that has just been
switched on reads them first. This program itself stays small: a child's peak begins with its parent's memory.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from host import store

ROOT = Path(__file__).resolve().parents[1]
PAGE_SIZE = (1170, 1654)
SONGS = 6

_MAKE_INPUTS = f"""
import sys, pathlib, soundfile
from mmr_export.synth.pages import generate_page
from mmr_export.synth.pieces import compose
folder = pathlib.Path(sys.argv[1])
generate_page(1, width={PAGE_SIZE[0]}, height={PAGE_SIZE[1]}).image.save(folder / "page.jpg", quality=90)
(folder / "songs").mkdir()
for number in range({SONGS}):
    piece = compose(number, seconds=12.0)
    soundfile.write(folder / "songs" / f"{{number}}.wav", piece.samples, piece.sample_rate)
"""
_EMBED = """
import sys
from mmr_runtime import Engine
Engine.open(sys.argv[1], device="cpu", precision=sys.argv[2], threads=1).embed_images([sys.argv[3]])
"""
_RANK = "from mmr_runtime.cli import infer_main; infer_main()"
_IDENTIFY = "import sys; from mmr_runtime import Engine; print(Engine.open(sys.argv[1]).model_id)"


@dataclass
class Runs:
    """What was measured of one program in one state of the cache."""

    seconds: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Median seconds with the extremes, and median peak memory."""
        return {
            "seconds": round(statistics.median(self.seconds), 3),
            "least": round(min(self.seconds), 3),
            "most": round(max(self.seconds), 3),
            "peak MiB": round(statistics.median(self.peaks), 1),
        }


@click.command()
@click.option("--model", default="default", show_default=True, help="Folder of a bundle.")
@click.option("--precision", default="auto", show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--name", default="cold_start", show_default=True, help="Name of the result file.")
def main(model: str, precision: str, rounds: int, name: str) -> None:
    """Measure and store results/NAME.json."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(model, precision, rounds, Path(folder))
    path = store(name, figures)
    click.echo(json.dumps(figures, indent=1))
    click.echo(f"stored {path}", err=True)


def measure(model: str, precision: str, rounds: int, folder: Path) -> dict[str, Any]:
    """All figures of one bundle; `folder` is scratch space."""
    cache, page, songs = folder / "cache", str(folder / "page.jpg"), str(folder / "songs")
    question = ["--library", songs, "--index", str(folder / "index"), "--model", model]
    question += ["--threads", "1", "--precision", precision, "--json"]
    _run(["-c", _MAKE_INPUTS, str(folder)], cache)
    _run(["-c", _RANK, page, *question], cache)  # makes the index
    programs = {
        "first embedding": ["-c", _EMBED, model, precision, page],
        "first ranked page": ["-c", _RANK, page, *question, "--no-update"],
        "first ranked page, index looked over": ["-c", _RANK, page, *question],
    }
    states: dict[str, Callable[[], Path]] = {
        "first run": lambda: _without(cache, ""),
        "later run": lambda: cache,
        "prepared graphs deleted": lambda: _without(cache, "mmr/prepared"),
        "no writable cache folder": lambda: Path(os.devnull) / "cache",
    }
    runs = {program: {state: Runs() for state in states} for program in programs}
    floor = {"python": ["-c", ""], "python with numpy and onnxruntime": ["-c", "import numpy, onnxruntime"]}
    floors = {what: Runs() for what in floor}
    for _ in range(rounds):
        for what, command in floor.items():
            _measure(command, cache, floors[what])
        for program, command in programs.items():
            for state, prepare in states.items():
                _measure(command, prepare(), runs[program][state])
    return {
        "model": _run(["-c", _IDENTIFY, model], cache).strip(),
        "precision": precision,
        "rounds": rounds,
        "floor": {what: measured.summary() for what, measured in floors.items()},
        "programs": {what: {s: r.summary() for s, r in by.items()} for what, by in runs.items()},
        "unprepared / later run": {
            program: _median_ratio(by["no writable cache folder"].seconds, by["later run"].seconds)
            for program, by in runs.items()
        },
    }


def _median_ratio(above: list[float], below: list[float]) -> float:
    """Median over the rounds: what a busy machine does to one run of a round it mostly does to the other."""
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 2)


def _without(cache: Path, part: str) -> Path:
    shutil.rmtree(cache / part, ignore_errors=True)
    return cache


def _environment(cache: Path) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "export")])
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
    return os.environ | threads | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": path}


def _run(arguments: list[str], cache: Path) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=_environment(cache), check=True, stdout=subprocess.PIPE, text=True).stdout


def _measure(arguments: list[str], cache: Path, runs: Runs) -> None:
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], env=_environment(cache), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    runs.seconds.append(time.perf_counter() - start)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"python {' '.join(arguments)} failed")
    runs.peaks.append(usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
