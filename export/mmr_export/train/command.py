"""`mmr train`: run a recipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.errors import Command
from mmr_runtime.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

    from mmr_export.data.datasets import Dataset


@click.command("train", cls=Command, context_settings=options.CONTEXT, short_help="Train a model by a recipe.")
@click.argument("recipe", default="small")
@click.option("--data", type=options.PATH, required=True, help="Folder of the data set.")
@click.option("--initial", type=options.PATH, help="Weights to start from: AudioCLIP, CLIP RN50 or ESResNeXt-fbsp.")
@click.option("--output", type=options.PATH, default=Path("best.pt"), show_default=True, help="Checkpoint to write.")
@click.option("--fold", type=int, help="Which fold validates, for data sets that come in folds.")
@click.option("--paper-split", is_flag=True, help="Split by single page or clip, as the paper did: titles leak.")
@click.option("--device", default="cpu", show_default=True, help="PyTorch's name of the device: cpu, cuda.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Of the network.",
)
@click.option(
    "--cache",
    type=options.PATH,
    default=Path(".cache/train"),
    show_default=True,
    help="Folder for what is computed once: features of teachers, vectors of towers that do not learn.",
)
@click.option("--tensorboard", type=options.PATH, help="Folder for TensorBoard's event files.")
@options.debug_option
def train(recipe: str, data: Path, output: Path, cache: Path, device: str, **choices: Any) -> int:
    """Example: mmr train paper-audio --data AudioSet --initial AudioCLIP.pt --output audio/best.pt

    Train by RECIPE and write a checkpoint for mmr-export: paper-audio, paper-manga, esc50, us8k, features, small (the
    included model), or the path of a TOML file. The same command goes on where it was interrupted. Several GPUs:
    torchrun --nproc-per-node N -m mmr_runtime.cli train ...
    """  # noqa: D415 (an example comes first)
    try:
        import torch
    except ModuleNotFoundError:
        raise DeviceError("mmr train needs the package torch", "pip install 'mmr-runtime[export]'") from None
    from mmr_export.train.recipe import read_toml, recipe_path

    path = recipe_path(recipe)
    values = read_toml(path)
    where = _device(torch.device(device))
    runs = {"small": _small, "contrastive": _contrastive, "features": _features}
    kind = values["kind"]
    if kind not in runs:
        raise UsageError(f"{path} is of the unknown kind {kind!r:.40}", f"write {', '.join(runs)}")
    refused = {"small": ("initial", "fold", "paper_split", "tensorboard"), "features": ("initial", "fold")}.get(
        kind, ()
    )
    for name in refused:
        if choices[name]:
            raise UsageError(f"--{name.replace('_', '-')} has no meaning for a recipe of the kind {kind}")
    runs[kind](path, values, data, output, cache, where, **choices)
    return 0


def _device(device: torch.device) -> torch.device:
    import torch

    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no CUDA device can be used by this PyTorch", "take --device cpu, or install its CUDA build")
    return device


def _reporter() -> Callable[[str], None]:
    started = time.monotonic()

    def report(line: str) -> None:
        click.echo(f"{time.monotonic() - started:6.0f} s  {line}", err=True)

    return report


def _tell_skipped(dataset: Dataset, report: Callable[[str], None]) -> None:
    """Say what of a data set cannot be used: the first, and how many more."""
    if dataset.skipped:
        rest = f" and {len(dataset.skipped) - 1} more" if len(dataset.skipped) > 1 else ""
        report(f"note: left out: {': '.join(dataset.skipped[0])}{rest}")


def _small(path: Path, values: dict[str, Any], data: Path, output: Path, cache: Path, device: Any, **_: Any) -> None:
    from mmr_export.train.small import Recipe, train_small

    train_small(data, output, Recipe.of(values, path), cache, device, _reporter())


def _contrastive(
    path: Path,
    values: dict[str, Any],
    data: Path,
    output: Path,
    cache: Path,
    device: Any,
    *,
    initial: Path | None,
    fold: int | None,
    paper_split: bool,
    precision: Literal["fp32", "bf16", "fp16"],
    tensorboard: Path | None,
) -> None:
    from mmr_export.checkpoint import load_checkpoint
    from mmr_export.data.catalogue import read_dataset
    from mmr_export.data.splits import split_dataset
    from mmr_export.train import contrastive, distributed
    from mmr_export.train.recipe import PARTS, ContrastiveRecipe, decode

    recipe = decode(ContrastiveRecipe, values, PARTS, path)
    if paper_split and fold is not None:
        raise UsageError("--paper-split and --fold exclude each other")
    if paper_split:
        recipe = replace(recipe, split="item")
    if fold is not None:
        recipe = replace(recipe, split="fold", fold=fold)
    dataset = read_dataset(recipe.data, data, **recipe.options)
    split = split_dataset(dataset, recipe.split, share=recipe.share, seed=recipe.seed, fold=recipe.fold)
    start = contrastive.Start.of(load_checkpoint(initial) if initial else None, recipe)
    quiet = distributed.is_helper()
    report = (lambda _: None) if quiet else _reporter()
    if initial is None:
        report(f"note: no --initial: {recipe.preset} starts from random weights")
    _tell_skipped(dataset, report)
    report(f"{len(split.train)} items train, {len(split.validation)} validate, split by {recipe.split}")
    bar = None if quiet else _bar()
    where = contrastive.Where(device, precision, cache, tensorboard, report, bar or contrastive.Where.steps)
    contrastive.train_contrastive(recipe, dataset, split, start, output, where)
    report(f"wrote {output}")


def _features(
    path: Path,
    values: dict[str, Any],
    data: Path,
    output: Path,
    cache: Path,
    device: Any,
    *,
    paper_split: bool,
    precision: Literal["fp32", "bf16", "fp16"],
    tensorboard: Path | None,
    **_: Any,
) -> None:
    from mmr_export.data.catalogue import read_dataset
    from mmr_export.data.splits import split_dataset
    from mmr_export.train import distributed
    from mmr_export.train.contrastive import Where
    from mmr_export.train.features_recipe import FeaturesRecipe, train_features
    from mmr_export.train.recipe import PARTS, decode

    if distributed.is_helper():
        raise UsageError("projections are trained by one process", "leave torchrun out: they are small")
    recipe = decode(FeaturesRecipe, values, PARTS, path)
    if paper_split:
        recipe = replace(recipe, split="item")
    dataset = read_dataset(recipe.data, data)
    split = split_dataset(dataset, recipe.split, share=recipe.share, seed=recipe.seed)
    report = _reporter()
    _tell_skipped(dataset, report)
    report(f"{len(split.train)} pairs train, {len(split.validation)} validate, split by {recipe.split}")
    where = Where(device, precision, cache, tensorboard, report, _bar() or Where.steps)
    train_features(recipe, dataset, split, output, where)
    report(f"wrote {output}")


def _bar() -> Callable[[int, int], None] | None:
    """A bar on a terminal; elsewhere the lines of the epochs are enough."""
    if not sys.stderr.isatty():
        return None
    started = time.monotonic()

    def show(done: int, total: int) -> None:
        filled = 20 * done // total
        rate = (time.monotonic() - started) / max(done, 1)
        end = "\r\033[K" if done == total else ""
        line = f"\r[{'#' * filled}{'.' * (20 - filled)}] {done}/{total} steps, {rate:.2f} s each"
        click.echo(end or line, err=True, nl=False)

    return show
