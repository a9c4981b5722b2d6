"""Recipes: what a training run depends on, read from TOML; unknown keys and values that cannot be are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from mmr_runtime.errors import InputError, MissingFileError

FOLDER = Path(__file__).resolve().parents[1] / "recipes"
T = TypeVar("T")


@dataclass(frozen=True)
class OptimizerOptions:
    """Which optimiser, and how it is set.

    Attributes:
        name: `sgd` (with Nesterov momentum), `adam` or `adamw`.
        rate: learning rate of the first epoch.
        momentum: of `sgd`.
        betas: of `adam` and `adamw`.
        eps: of `adam` and `adamw`.
        weight_decay: of all parameters but the audio filters and the logit scales, which have none.
        clip: largest norm of the gradient; 0: as it is.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    rate: float = 5e-5
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 5e-4
    clip: float = 0.0

    def __post_init__(self) -> None:
        require(self.name in ("sgd", "adam", "adamw"), "optimizer.name must be sgd, adam or adamw")
        require(self.rate > 0, "optimizer.rate must be above 0")
        require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "optimizer.betas must be two below 1")
        require(min(self.momentum, self.eps, self.weight_decay, self.clip) >= 0, "optimizer: a value is negative")


@dataclass(frozen=True)
class ScheduleOptions:
    """How the learning rate goes on.

    Attributes:
        name: `exponential`: times `gamma` after every epoch, as AudioCLIP; `cosine`: down to 0 over all steps, after a
            rise over the first `warmup` of them.
        gamma: of `exponential`.
        warmup: share of the steps, of `cosine`.
    """

    name: Literal["exponential", "cosine"] = "exponential"
    gamma: float = 0.96
    warmup: float = 0.05

    def __post_init__(self) -> None:
        require(self.name in ("exponential", "cosine"), "schedule.name must be exponential or cosine")
        require(0 < self.gamma <= 1, "schedule.gamma must be in 0..1")
        require(0 <= self.warmup < 1, "schedule.warmup must be a share below 1")


@dataclass(frozen=True)
class SoundVariation:
    """How clips are varied in training; see `mmr_export.train.augment`."""

    inversion: float = 0.5
    scale: float = 1.5
    noise: float = 0.25
    noise_db: tuple[float, float] = (10.0, 120.0)
    masks: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.inversion <= 1 and 0 <= self.noise <= 1, "sound: inversion and noise are shares")
        require(self.scale >= 1, "sound.scale must be at least 1")
        require(len(self.noise_db) == 2 and self.noise_db[0] <= self.noise_db[1], "sound.noise_db is a range")
        require(self.masks >= 0, "sound.masks is a count")


@dataclass(frozen=True)
class PictureVariation:
    """How pages are varied in training. Both are off by default: manga is read one way, and mirrored it is another.

    Attributes:
        crop: smallest share of the width and height that a random cut keeps.
        flip: how often a picture is mirrored.
    """

    crop: float = 1.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        require(0 < self.crop <= 1 and 0 <= self.flip <= 1, "picture: crop and flip are shares")


@dataclass(frozen=True)
class ContrastiveRecipe:
    """Training of AudioCLIP's towers against text.

    Attributes:
        data: kind of data set, see `mmr_export.data.catalogue`.
        options: what its reader is told beside the folder.
        train: beginnings of the names of the weights that learn; the others keep their values.
        preset: sizes of the model where no initial weights are given.
        loss: `pairs`: AudioCLIP's own, every other item of a batch is a negative; `labels`: items that share a label
            are positives of each other.
        seed: of initial weights, split, order and variation.
        epochs: passes over the training items.
        batch: items of a step, over all processes.
        accumulate: parts in which a batch is computed; negatives come from the own part.
        split: `group` (a title or video stays on one side), `item` (the paper's), `fold` or `given`.
        share: of the items that validate.
        fold: which one validates, for the split `fold`.
        batch_norm: `batch`: towers that learn normalise by the batch and update their statistics, as AudioCLIP;
            `frozen`: by the stored statistics, which stay.
        normalise_filters: divide the gradients of the audio filters by their largest entry, as AudioCLIP.
        save_steps: steps between two states of last.pt, which is also written after every epoch.
    """

    data: str
    train: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "audioclip"
    loss: Literal["pairs", "labels"] = "labels"
    seed: int = 0
    epochs: int = 30
    batch: int = 32
    accumulate: int = 1
    split: Literal["group", "item", "fold", "given"] = "group"
    share: float = 0.2
    fold: int | None = None
    batch_norm: Literal["batch", "frozen"] = "batch"
    normalise_filters: bool = True
    save_steps: int = 200
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    sound: SoundVariation = field(default_factory=SoundVariation)
    picture: PictureVariation = field(default_factory=PictureVariation)

    def __post_init__(self) -> None:
        require(bool(self.train), "train must name weights that learn")
        require(self.loss in ("pairs", "labels"), "loss must be pairs or labels")
        require(self.split in ("group", "item", "fold", "given"), "split must be group, item, fold or given")
        require(self.batch_norm in ("batch", "frozen"), "batch_norm must be batch or frozen")
        require(min(self.epochs, self.accumulate, self.save_steps) >= 1, "epochs, accumulate, save_steps: at least 1")
        require(self.batch >= 2 * self.accumulate, "batch must hold two items for each part of it")
        require(self.batch % self.accumulate == 0, "accumulate must divide batch")
        require(0 < self.share < 1, "share must be between 0 and 1")


PARTS: Mapping[str, type] = {
    "optimizer": OptimizerOptions,
    "schedule": ScheduleOptions,
    "sound": SoundVariation,
    "picture": PictureVariation,
}


def require(condition: bool, problem: str) -> None:
    """Check a value of a recipe.

    Raises:
        InputError: the condition does not hold.
    """
    if not condition:
        raise InputError(problem, "compare the recipes that come with the package")


def recipe_path(recipe: str) -> Path:
    """The file of a recipe: one that comes with the package by its name, or a path.

    Raises:
        MissingFileError: there is none.
    """
    path = FOLDER / f"{recipe}.toml" if (FOLDER / f"{recipe}.toml").is_file() else Path(recipe)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise MissingFileError(f"no recipe {recipe}", f"give {known}, or the path of a TOML file")
    return path


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a recipe's file.

    Raises:
        InputError: it is not TOML, or lacks its `kind`.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be used: {error}", "compare the recipes that come with the package") from None
    require(isinstance(values.get("kind"), str), f"{path} does not say its kind")
    return values


def decode(kind: type[T], values: Mapping[str, Any], parts: Mapping[str, type], path: Path) -> T:
    """The recipe of a file's values.

    Args:
        kind: dataclass of the recipe.
        values: content of the file; `kind` is left out.
        parts: dataclasses of its tables.
        path: for errors.

    Raises:
        InputError: an unknown key, a missing one, or a value that cannot be.
    """
    try:
        return _made(kind, {k: _made(parts[k], v) if k in parts else v for k, v in values.items() if k != "kind"})
    except (InputError, TypeError, ValueError) as error:
        what = error.message if isinstance(error, InputError) else str(error)
        raise InputError(f"{path} cannot be used: {what}", "compare the recipes that come with the package") from None


def _made(kind: type[T], values: Any) -> T:
    require(isinstance(values, Mapping), f"{values!r:.40} must be a table")
    # Arrays as tuples: recipes are compared and named by their text.
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
