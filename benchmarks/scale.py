"""How cost grows with songs and workers: `python benchmarks/scale.py` (extras `milvus` and `ray`).

Search: random vectors of the default model's size, here and in Milvus Lite, a page's ten best. Listening: generated
songs, by this process with one and two jobs and by Ray. Stored in results/scale.json.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile
from host import store

from mmr_runtime import Engine, Library
from mmr_runtime.engine import unit_rows
from mmr_runtime.library.cluster import by_ray
from mmr_runtime.library.vectors import Milvus
from mmr_runtime.rank import Query, Ranker, top

SIZES, ROUNDS = (10_000, 100_000, 400_000), 9
IN_MILVUS = 100_000
SONGS, SECONDS = 48, 60


@click.command()
def main() -> None:
    """Measure and store."""
    with Engine.open() as engine:
        search = [_search(engine, size) for size in SIZES]
        with tempfile.TemporaryDirectory() as folder:
            songs = Path(folder) / "songs"
            _write(songs)
            listening = {
                "one job": _listen(engine, songs, Path(folder) / "one", jobs=1),
                "two jobs": _listen(engine, songs, Path(folder) / "two", jobs=2),
                "Ray": _listen(engine, songs, Path(folder) / "ray", cluster=by_ray),
            }
    figures = {
        "cores": len(os.sched_getaffinity(0)),
        "search": search,
        "songs a second": {way: SONGS / seconds for way, seconds in listening.items()},
        "songs": SONGS,
        "seconds of a song": SECONDS,
    }
    path = store("scale", figures)
    click.echo(f"{figures}\nstored {path}")


def _search(engine: Engine, size: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    items = unit_rows(rng.standard_normal((size, engine.embedding_size), np.float32))
    query = Query("image", unit_rows(rng.standard_normal((1, engine.embedding_size), np.float32)))
    ranker, names = Ranker(engine, items, "audio"), [f"{i:08d}" for i in range(size)]
    started = time.perf_counter()
    ranker.scores(query)
    prepared = time.perf_counter() - started
    row: dict[str, Any] = {
        "songs": size,
        "first, s": prepared,
        "later, s": _median(lambda: top(ranker.scores(query), names, 10)),
        "vectors, MB": items.nbytes / 1e6,
    }
    if size <= IN_MILVUS:
        with tempfile.TemporaryDirectory() as folder:
            milvus = Milvus(f"milvus://{folder}/vectors.db")
            rows, vector = ranker.inner_products("image"), ranker.query_vector(query)
            started = time.perf_counter()
            milvus.put("mmr_x_image_1", np.arange(size), rows)
            row |= {
                "Milvus Lite, put, s": time.perf_counter() - started,
                "Milvus Lite, search, s": _median(lambda: milvus.search("mmr_x_image_1", vector, 40)),
            }
            found = [item for item, _ in milvus.search("mmr_x_image_1", vector, 10)]
            row["equal answers"] = found == top(ranker.scores(query), names, 10).tolist()
            milvus.close()
    return row


def _median(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _write(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(SONGS):
        noise = np.cumsum(rng.normal(0, 0.01, 44100 * SECONDS))
        soundfile.write(folder / f"{i:03d}.flac", (0.3 * np.sin(noise)).astype(np.float32), 44100)


def _listen(engine: Engine, songs: Path, index: Path, **how: Any) -> float:
    with Library.open(songs, engine, index) as library:
        started = time.perf_counter()
        report = library.update(**how)
        seconds = time.perf_counter() - started
    assert report.added == SONGS, report
    return seconds


if __name__ == "__main__":
    main()
