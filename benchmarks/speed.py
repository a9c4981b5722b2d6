"""Speed and size of a bundle: `python benchmarks/speed.py [--model FOLDER] [--name speed]`.

Inputs are generated. One thread; medians with 5th and 95th percentile, in milliseconds; the rounds of all stages are
interleaved, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
import soundfile
from host import store

from mmr_export.synth.pages import generate_page
from mmr_export.synth.pieces import compose
from mmr_runtime import Engine
from mmr_runtime.frontend import FrontEnd
from mmr_runtime.image import load_image, preprocess
from mmr_runtime.sessions import Session

PAGE = (1170, 1654)
SONG_SECONDS = 240.0


@click.command()
@click.option("--model", default="default")
@click.option("--name", default="speed", help="Name of the result file.")
@click.option("--rounds", default=30, show_default=True)
def main(model: str, name: str, rounds: int) -> None:
    """Measure and store results/NAME.json."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(model, Path(folder), rounds)
    path = store(name, figures)
    click.echo(json.dumps(figures, indent=1))
    click.echo(f"stored {path}", err=True)


def measure(model: str, folder: Path, rounds: int) -> dict[str, Any]:
    """All figures of one bundle; `folder` is scratch space."""
    page = folder / "page.jpg"
    generate_page(1, width=PAGE[0], height=PAGE[1]).image.save(page, quality=90)
    long = folder / "long.mp3"
    piece = compose(1, seconds=30.0)
    samples = np.tile(piece.samples, int(SONG_SECONDS / 30))
    soundfile.write(long, samples, piece.sample_rate)

    with Engine.open(model, device="cpu", threads=1) as engine:
        stages = _stages(engine, page, long, rounds)
        manifest = engine.bundle.manifest
        sizes = {
            f"{tower} {precision}": manifest.files[graph.file].bytes
            for tower, graphs in manifest.graphs.items()
            for precision, graph in graphs.items()
        }
        sizes["all files"] = sum(f.bytes for f in manifest.files.values())
        model_id = engine.model_id
    return {
        "model": model_id,
        "milliseconds": stages,
        "bytes": sizes,
    }


def _stages(engine: Engine, page: Path, song: Path, rounds: int) -> dict[str, dict[str, float]]:
    image, audio = engine.bundle.manifest.image, engine.bundle.manifest.audio
    decoded = load_image(page, image)
    front_end = FrontEnd.load(engine.bundle.path("frontend.npz"), audio)
    window = np.random.default_rng(0).standard_normal((1, audio.window_samples)).astype(np.float32) * 0.1
    vectors = np.random.default_rng(1).standard_normal((50_000, engine.embedding_size)).astype(np.float32)
    pixels = preprocess(decoded, image)
    precision = "int8" if "int8" in engine.bundle.manifest.graphs["image"] else "fp32"
    session = Session(engine.bundle.graph("image", precision))
    work: dict[str, Callable[[], object]] = {
        "page, whole": lambda: engine.embed_images([page]),
        "page: decode": lambda: load_image(page, image),
        "page: preprocess": lambda: preprocess(decoded, image),
        "page: encoder": lambda: session.run(pixels),
        "5 s of sound, whole": lambda: engine.embed_samples(window),
        "5 s of sound: front end": lambda: front_end(window),
        "one label text": lambda: engine.embed_texts(["Tender music"]),
        "4-minute mp3, 8 windows": lambda: engine.embed_audio(song),
        "search 50,000 songs": lambda: vectors @ vectors[0],
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 2):
        for name, action in work.items():
            if name.startswith("4-minute") and round_ % 5:
                continue
            start = time.perf_counter()
            action()
            if round_ >= 2 or name.startswith("4-minute"):  # the first rounds warm up
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: _summary(values) for name, values in times.items()}


def _summary(values: list[float]) -> dict[str, float]:
    low, median, high = np.percentile(values, [5, 50, 95])
    return {"median": round(float(median), 2), "p5": round(float(low), 2), "p95": round(float(high), 2)}


if __name__ == "__main__":
    main()
