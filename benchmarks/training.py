"""Speed and memory of fine-tuning AudioCLIP in its full size: `python benchmarks/training.py [--device cuda]`.

A few steps of the recipes paper-audio and paper-manga, from random weights, on generated pieces and pages: the time of
a step does not depend on what is learnt. Reading and varying the items is part of it. Every case is a process of its
own, so that its peak of memory is its own. Stored in results/training_cpu.json or training_cuda.json.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import click
import soundfile
import torch
from host import store

from mmr_export.data.datasets import Dataset, Item
from mmr_export.data.splits import Split
from mmr_export.synth.pages import generate_page
from mmr_export.synth.pieces import compose
from mmr_export.train.contrastive import Start, Where, train_contrastive
from mmr_export.train.recipe import PARTS, ContrastiveRecipe, decode, read_toml, recipe_path
from mmr_runtime.moods import GENRES, MOOD_PROMPTS, MOODS

FILES = 12
CASES = {  # recipe, precision, batch, accumulate, steps, of which the first warm up
    "cpu": [("paper-audio", "fp32", 4, 1, 4, 1), ("paper-manga", "fp32", 8, 1, 4, 1)],
    "cuda": [
        ("paper-audio", "fp32", 32, 1, 14, 4),
        ("paper-audio", "bf16", 32, 1, 14, 4),
        ("paper-audio", "fp16", 32, 2, 14, 4),
        ("paper-manga", "fp32", 64, 1, 14, 4),
        ("paper-manga", "bf16", 64, 1, 14, 4),
    ],
}
Precision = Literal["fp32", "bf16", "fp16"]


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def main(device: str) -> None:
    """Measure and store."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES[device]:
            with get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(measure, (Path(folder), device, *case)))
            click.echo(rows[-1], err=True)
    name = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    figures = {"device": name, "torch": torch.__version__, "runs": rows}
    click.echo(f"stored {store(f'training_{device}', figures)}", err=True)


def measure(
    folder: Path, device: str, name: str, precision: Precision, batch: int, accumulate: int, steps: int, warm: int
) -> dict[str, Any]:
    """Figures of one recipe; `folder` keeps the generated files."""
    path = recipe_path(name)
    recipe = decode(ContrastiveRecipe, read_toml(path), PARTS, path)
    recipe = replace(recipe, batch=batch, accumulate=accumulate, epochs=1, save_steps=steps)
    make = _songs if recipe.data == "audioset" else _pages
    dataset = make(folder, batch * steps + batch)
    keys = tuple(item.key for item in dataset.items)
    split = Split("item", 0, recipe.share, keys[:-batch], keys[-batch:])
    times: list[float] = [time.perf_counter()]
    where = Where(
        torch.device(device),
        precision,
        folder / "cache",
        report=lambda line: click.echo(line, err=True),
        steps=lambda _done, _total: times.append(time.perf_counter()),
    )
    with tempfile.TemporaryDirectory() as output:
        train_contrastive(recipe, dataset, split, Start.of(None, recipe), Path(output) / "best.pt", where)
    seconds = [b - a for a, b in zip(times[warm:], times[warm + 1 :], strict=False)]
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "recipe": name,
        "precision": precision,
        "batch": batch,
        "accumulate": accumulate,
        "steps": len(seconds),
        "seconds a step": {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)},
        "items a second": batch / statistics.median(seconds),
        "host memory, GB": host / 1e9,
        "device memory, GB": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None,
    }


def _songs(folder: Path, count: int) -> Dataset:
    paths = []
    for seed in range(FILES):
        path = folder / f"{seed}.wav"
        if not path.exists():
            soundfile.write(path, compose(seed, mood=MOODS[seed % 7], seconds=10.0, sample_rate=44100).samples, 44100)
        paths.append(path)
    items = [Item(str(i), paths[i % FILES], MOOD_PROMPTS[i % 7], (MOOD_PROMPTS[i % 7],), str(i)) for i in range(count)]
    return Dataset("generated songs", "audio", tuple(items), MOOD_PROMPTS, MOOD_PROMPTS)


def _pages(folder: Path, count: int) -> Dataset:
    paths = []
    for seed in range(FILES):
        path = folder / f"{seed}.png"
        if not path.exists():
            generate_page(seed, mood=MOODS[seed % 7]).image.save(path)
        paths.append(path)
    items = [Item(str(i), paths[i % FILES], GENRES[i % 12], (GENRES[i % 12],), str(i)) for i in range(count)]
    return Dataset("generated pages", "image", tuple(items), GENRES, GENRES)


if __name__ == "__main__":
    main()
