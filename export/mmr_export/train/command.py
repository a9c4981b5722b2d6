"""`mmr train`: run a recipe."""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.command("train", short_help="Train a model by a recipe.")
@click.argument("recipe", default="small")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder of the labelled pages, clips and texts."
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("best.pt"), show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".cache/train"), show_default=True)
@click.option("--device", default="cpu", show_default=True, help="PyTorch's name of the device for the long part.")
def train(recipe: str, data: Path, output: Path, cache: Path, device: str) -> None:
    """Train by RECIPE, `small` or the path of a TOML file, and write a checkpoint for mmr-export.

    Example: mmr train small --data ../shared/data --output best.pt
    """
    import torch

    from mmr_export.train.small import Recipe, train_small

    started = time.monotonic()

    def report(line: str) -> None:
        click.echo(f"{time.monotonic() - started:6.0f} s  {line}", err=True)

    train_small(
        data, output, Recipe.read(None if recipe == "small" else Path(recipe)), cache, torch.device(device), report
    )
