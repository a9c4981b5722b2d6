"""Soundtracks of the development titles: `python benchmarks/soundtracks.py --data DIR [--model FOLDER]`.

As `mmr evaluate-soundtrack`, and how long the plan of a large book takes; stored in results/soundtracks.json.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np
from host import store

from mmr_export.evaluate.command import measure
from mmr_runtime import Engine
from mmr_runtime.soundtrack import plan_segments

PAGES, SONGS, ROUNDS = 200, 10_000, 7


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--model", default="default")
def main(data: Path, model: str) -> None:
    """Measure and store."""
    with Engine.open(model) as engine, tempfile.TemporaryDirectory() as index:
        figures = measure(engine, data, Path(index))
    seconds = sorted(_plan_seconds(seed) for seed in range(ROUNDS))
    figures["plan of 200 pages and 10,000 songs"] = {
        "median s": seconds[ROUNDS // 2],
        "least s": seconds[0],
        "most s": seconds[-1],
    }
    path = store("soundtracks", figures)
    for name, row in figures["soundtracks"].items():
        click.echo(f"{name}: " + ", ".join(f"{k} {v:.2f}" for k, v in row["figures"].items()))
    click.echo(f"plan: {seconds[ROUNDS // 2]:.3f} s; stored {path}")


def _plan_seconds(seed: int) -> float:
    """Of a book with scenes, whose songs differ by mood as those of a library do."""
    rng = np.random.default_rng(seed)
    songs = rng.normal(size=(SONGS, 7))
    scenes = np.repeat(rng.normal(size=(PAGES // 10, 7)), 10, axis=0)
    affinity = (scenes + 0.7 * rng.normal(size=(PAGES, 7))) @ songs.T / np.sqrt(7)
    started = time.perf_counter()
    plan_segments(affinity)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
