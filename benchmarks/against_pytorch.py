"""The runtime against PyTorch in eager float32, same weights, one thread: `python benchmarks/against_pytorch.py`.

Needs a checkpoint and its bundle with fp32 and int8 graphs. Every round runs every variant once, so that a busy machine
slows all alike; the ratio is the median over the rounds of PyTorch's time by the variant's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
from host import store

from mmr_export.checkpoint import build, load_checkpoint
from mmr_runtime import Engine
from mmr_runtime.image import preprocess
from mmr_runtime.sessions import Session
from mmr_runtime.text import Tokenizer

TEXT = "Tender music"


@click.command()
@click.option("--checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--name", default="against_pytorch", show_default=True)
def main(checkpoint: Path, bundle: Path, rounds: int, name: str) -> None:
    """Measure and store results/NAME.json."""
    import torch

    torch.set_num_threads(1)
    model = build(load_checkpoint(checkpoint))
    engines = {p: Engine.open(bundle, device="cpu", precision=p, threads=1) for p in ("fp32", "int8")}
    rng = np.random.default_rng(0)
    audio = engines["fp32"].bundle.manifest.audio
    sound = (0.1 * rng.standard_normal((1, audio.window_samples))).astype(np.float32)
    pixels = _pixels(engines["fp32"], rng)
    encoders = {p: Session(e.bundle.graph("image", p)) for p, e in engines.items()}
    tokens = Tokenizer.load(engines["fp32"].bundle.path("merges.txt.gz")).tokens([TEXT])
    padded = np.pad(tokens, ((0, 0), (0, 77 - tokens.shape[1])))

    model.audio.fbsp.train()  # the original makes its filters anew at every call

    work: dict[str, dict[str, Callable[[], object]]] = {
        "5 s of sound, front end and encoder": {
            "PyTorch": lambda: model.encode_audio(torch.from_numpy(sound[:, None] * 32768)),
            **{p: (lambda e=e: e.embed_samples(sound)) for p, e in engines.items()},
        },
        "page, decoded and preprocessed": {
            "PyTorch": lambda: model.encode_image(torch.from_numpy(pixels)),
            **{p: (lambda e=e: e.run(pixels)) for p, e in encoders.items()},
        },
        "one label text": {
            "PyTorch": lambda: model.encode_text(torch.from_numpy(padded)),
            **{p: (lambda e=e: e.embed_texts([TEXT])) for p, e in engines.items()},
        },
    }
    with torch.inference_mode():
        figures = {what: _compare(variants, rounds) for what, variants in work.items()}
    sizes: dict[str, Any] = {"checkpoint": checkpoint.stat().st_size}
    for precision, engine in engines.items():
        manifest = engine.bundle.manifest
        sizes[precision] = sum(manifest.files[g[precision].file].bytes for g in manifest.graphs.values())
    result = {"model": engines["fp32"].model_id, "rounds": rounds, "work": figures, "bytes of the graphs": sizes}
    path = store(name, result)
    for what, row in figures.items():
        click.echo(f"{what}: {row}")
    click.echo(f"{sizes}\nstored {path}")


def _pixels(engine: Engine, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    from PIL import Image

    noise = rng.integers(0, 256, (1654, 1170, 3), dtype=np.uint8)
    return preprocess(Image.fromarray(noise), engine.bundle.manifest.image)


def _compare(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(rounds + 2):
        for name, action in variants.items():
            start = time.perf_counter()
            action()
            if round_ >= 2:  # the first rounds load and warm up
                times[name].append((time.perf_counter() - start) * 1e3)
    rows: dict[str, Any] = {}
    for name, values in times.items():
        ratios = np.array(times["PyTorch"]) / np.array(values)
        rows[name] = {
            "milliseconds": round(float(np.median(values)), 2),
            "times faster": round(float(np.median(ratios)), 2),
            "times faster, range": [round(float(ratios.min()), 2), round(float(ratios.max()), 2)],
        }
    return rows


if __name__ == "__main__":
    main()
