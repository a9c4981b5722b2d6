"""Training of projections of precomputed features (VM-NET: Hong, Im and Yang 2017), by a recipe.

Order and dropout follow from the seed: on the CPU a run that was killed goes on from last.pt, after its last whole
epoch, to the same weights, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mmr_export.checkpoint import FEATURES
from mmr_export.data.datasets import Dataset, Item
from mmr_export.data.media import read_features
from mmr_export.data.splits import Split, apply_split, write_split
from mmr_export.evaluate.retrieval import Recall, partner_ranks
from mmr_export.model.projection import Branch, Projections, ProjectionsConfig
from mmr_export.train.contrastive import LAST, Position, Where, make_optimizer, rate_at
from mmr_export.train.journal import Journal
from mmr_export.train.ranking_loss import MIN_PAIRS, ranking_loss, structure_loss
from mmr_export.train.recipe import OptimizerOptions, ScheduleOptions, require
from mmr_export.train.stages import Course, save
from mmr_runtime.errors import ExportError, InputError, UsageError
from mmr_runtime.files import write_file
from mmr_runtime.limits import MAX_ERROR_NAMES

Rows = NDArray[np.int64]
_CONSTANT = 1e-6
"""A feature whose deviation is less than this share of its size is the same in all pairs: it is not made larger."""


@dataclass(frozen=True)
class FeaturesRecipe:
    """Training of projections.

    Attributes:
        data: kind of data set: `features`.
        seed: of initial weights, split, order and dropout.
        epochs: passes over the training pairs.
        batch: pairs of a step.
        split: `group` or `item`, which are the same for pairs, or `given`.
        share: of the pairs that validate.
        embedding_size: length of a joint vector.
        audio_hidden: widths of the layers between, for music.
        image_hidden: likewise for pictures and videos.
        dropout: share of the hidden values that training leaves out.
        margin: by which the cosine of partners should exceed all others.
        violators: how many of the nearest others of an anchor count.
        audio_weight: of the ranking loss with music as anchors.
        image_weight: of the ranking loss with videos as anchors.
        structure_weight: of the structure loss of each modality.
        optimizer: as of the published code.
        schedule: constant, as of the published code.
    """

    data: Literal["features"] = "features"
    seed: int = 0
    epochs: int = 100
    batch: int = 1000
    split: Literal["group", "item", "given"] = "group"
    share: float = 0.2
    embedding_size: int = 512
    audio_hidden: tuple[int, ...] = (2048, 1024)
    image_hidden: tuple[int, ...] = (2048,)
    dropout: float = 0.1
    margin: float = 0.1
    violators: int = 100
    audio_weight: float = 3.0
    image_weight: float = 1.0
    structure_weight: float = 0.2
    optimizer: OptimizerOptions = field(default_factory=lambda: OptimizerOptions("adam", 3e-4, weight_decay=0.0))
    schedule: ScheduleOptions = field(default_factory=lambda: ScheduleOptions(gamma=1.0))

    def __post_init__(self) -> None:
        require(self.data == "features", "data must be features")
        require(self.split in ("group", "item", "given"), "split must be group, item or given")
        require(0 < self.share < 1, "share must be between 0 and 1")
        require(min(self.epochs, self.violators, self.embedding_size) >= 1, "epochs, violators, sizes: at least 1")
        require(self.batch >= MIN_PAIRS, f"batch must hold {MIN_PAIRS} pairs")
        require(0 <= self.dropout < 1, "dropout must be a share below 1")
        weights = (self.margin, self.audio_weight, self.image_weight, self.structure_weight)
        require(min(weights) >= 0, "margin and weights must not be negative")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Features of pairs, row by row: float32 (n, f) of music and (n, g) of pictures or videos, on the CPU."""

    audio: Tensor
    image: Tensor

    @classmethod
    def of(cls, items: Sequence[Item]) -> Pairs:
        """Read the features of items.

        Raises:
            InputError: a file cannot be used, or is of another width than the first.
        """
        partners = [item.partner for item in items if item.partner is not None]
        return cls(_stacked([item.path for item in items]), _stacked(partners))


@dataclass(frozen=True, eq=False)
class _View:
    """What a branch makes of one modality of a batch: unit rows (n, d), and the standardised features (n, f) before."""

    rows: Tensor
    features: Tensor

    @classmethod
    def of(cls, branch: Branch, features: Tensor) -> _View:
        return cls(F.normalize(branch(features), dim=1), branch.standardised(features))


def train_features(recipe: FeaturesRecipe, dataset: Dataset, split: Split, output: Path, where: Where) -> None:
    """Train projections; write the checkpoint of the best validation loss, and what belongs to it.

    Beside `output` (best.pt) stand best.json (kind, sizes, recipe, metrics), best.split.json, best.log.csv and plots,
    and last.pt, from which the same call goes on.

    Args:
        recipe: the hyperparameters.
        dataset: pairs of features.
        split: which of them train.
        output: where to.
        where: device and reports; `precision` must be `fp32`.

    Raises:
        UsageError: another precision.
        InputError: the data are no pairs of features, or too few for a batch, or last.pt is of another run.
        ExportError: the loss is not finite; the batch is named.
    """
    if dataset.modality != "features":
        raise InputError(f"{dataset.name} holds no features", "take a recipe of the kind contrastive")
    if where.precision != "fp32":
        raise UsageError("projections are trained in fp32", "leave --precision out: they are small")
    train, validation = apply_split(dataset, split)
    if len(train) < recipe.batch or len(validation) < MIN_PAIRS:
        raise InputError(
            f"{len(train)} pairs train and {len(validation)} validate: too few for a batch of {recipe.batch}, or for "
            f"{MIN_PAIRS} to be compared",
            "take more data or a smaller batch",
        )
    _Run(recipe, dataset, split, train, validation, output, where).run()


class _Run:
    def __init__(
        self,
        recipe: FeaturesRecipe,
        dataset: Dataset,
        split: Split,
        train: Sequence[Item],
        validation: Sequence[Item],
        output: Path,
        where: Where,
    ) -> None:
        self.recipe, self.dataset, self.split, self.output, self.where = recipe, dataset, split, output, where
        self.items, self.count = [*train, *validation], len(train) // recipe.batch
        self.train, self.validation = np.arange(len(train)), np.arange(len(train), len(self.items))
        self.pairs = Pairs.of(self.items)
        self.config = ProjectionsConfig(
            self.pairs.audio.shape[1],
            self.pairs.image.shape[1],
            recipe.embedding_size,
            recipe.audio_hidden,
            recipe.image_hidden,
        )
        torch.manual_seed(recipe.seed)
        self.model = Projections(self.config, recipe.dropout)
        _standardise(self.model.audio_features, self.pairs.audio[self.train])
        _standardise(self.model.image_features, self.pairs.image[self.train])
        self.model.to(where.device)
        self.optimizer = make_optimizer(self.model, recipe.optimizer)
        self.position = Position(hashlib.sha256(f"{recipe} {split} {self.config}".encode()).hexdigest())
        self.course = Course(
            output.with_name(LAST),
            None,
            position=self.position,  # first: it refuses what belongs to another run
            model=self.model,
            optimizer=self.optimizer,
        )

    def run(self) -> None:
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.course.resume()
        journal = Journal(self.output, self.where.tensorboard)
        write_split(self.split, self.output.with_suffix(".split.json"))
        history = self.position.history
        for epoch in range(self.position.epoch, self.recipe.epochs):
            started = time.monotonic()
            loss = self._epoch(epoch)
            seconds = time.monotonic() - started
            row = {
                "epoch": epoch + 1,
                "rate": self.optimizer.param_groups[0]["lr"],
                "train_loss": loss,
                **self._judge(),
                "seconds": seconds,
                "items_per_second": self.count * self.recipe.batch / max(seconds, 1e-9),
            }
            best = min((old["validation_loss"] for old in history), default=math.inf)
            history.append(row)
            self.position.epoch = epoch + 1
            if row["validation_loss"] < best:
                self._write_best(row)
            journal.write(history)
            self.course.keep(epoch + 1)
            self.where.report(
                f"epoch {epoch + 1}/{self.recipe.epochs}: loss {loss:.4f}, validation {row['validation_loss']:.4f}, "
                f"partner first {row['accuracy']:.3f}, {row['items_per_second']:.0f} pairs/s"
            )

    def _epoch(self, epoch: int) -> float:
        """Train on all pairs once, but for what is left over from whole batches; the mean loss."""
        self.model.train()
        recipe, total = self.recipe, 0.0
        order = np.random.default_rng((recipe.seed, epoch)).permutation(self.train)
        for step, rows in enumerate(np.split(order[: self.count * recipe.batch], self.count)):
            done = epoch * self.count + step
            rate = rate_at(done, self.count, recipe.epochs * self.count, recipe.optimizer, recipe.schedule)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad()
            loss = self._loss(*self._view(rows))
            if not torch.isfinite(loss):
                names = ", ".join(self.items[i].key for i in rows[:MAX_ERROR_NAMES])
                raise ExportError(
                    f"the loss is {loss.item()} in epoch {epoch + 1}, step {step + 1}; of its batch: {names}",
                    "look at these files, or take a smaller rate",
                )
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.optimizer.clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), recipe.optimizer.clip)
            self.optimizer.step()
            total += float(loss.detach())
            self.where.steps(step + 1, self.count)
        return total / self.count

    def _judge(self) -> dict[str, float]:
        """Figures of the validation pairs, compared within parts of about a batch: losses depend on how many there are.

        `accuracy` is the share of anchors, of both modalities, whose partner is nearest (Recall@1).
        """
        self.model.eval()
        n = len(self.validation)
        order = np.random.default_rng(self.recipe.seed).permutation(self.validation)
        loss, ranks = 0.0, list[NDArray[np.int64]]()
        with torch.inference_mode():
            for rows in np.array_split(order, max(n // self.recipe.batch, 1)):
                audio, image = self._view(rows)
                loss += float(self._loss(audio, image)) * len(rows) / n
                cosines = (audio.rows @ image.rows.T).double().cpu().numpy()
                ranks += [partner_ranks(cosines), partner_ranks(cosines.T)]
        recall = Recall.of(np.concatenate(ranks))
        return {"validation_loss": loss, "accuracy": recall.at_1, "recall_at_10": recall.at_10}

    def _view(self, rows: Rows) -> tuple[_View, _View]:
        device, model = self.where.device, self.model
        audio, image = self.pairs.audio[rows].to(device), self.pairs.image[rows].to(device)
        return _View.of(model.audio_features, audio), _View.of(model.image_features, image)

    def _loss(self, audio: _View, image: _View) -> Tensor:
        recipe = self.recipe
        rank = partial(ranking_loss, margin=recipe.margin, violators=recipe.violators)
        ranking = recipe.audio_weight * rank(audio.rows, image.rows) + recipe.image_weight * rank(
            image.rows, audio.rows
        )
        structure = structure_loss(audio.rows, audio.features) + structure_loss(image.rows, image.features)
        return ranking + recipe.structure_weight * structure

    def _write_best(self, row: Mapping[str, float]) -> None:
        save({name: value.detach().cpu() for name, value in self.model.state_dict().items()}, self.output)
        dataset, split = self.dataset, self.split
        sidecar = {
            "id": f"mmr-{dataset.name}",
            "kind": FEATURES,
            "config": self.config.to_dict(),
            "training": {
                "recipe": asdict(self.recipe),
                "data": {"name": dataset.name, "items": len(dataset.items), "skipped": len(dataset.skipped)},
                "split": {"kind": split.kind, "train": len(split.train), "validation": len(split.validation)},
                "metrics": dict(row),
                "torch": torch.__version__,
            },
        }
        write_file(self.output.with_suffix(".json"), json.dumps(sidecar, indent=1).encode())


def _stacked(paths: Sequence[Path]) -> Tensor:
    vectors = [read_features(path) for path in paths]
    for path, vector in zip(paths, vectors, strict=True):
        if len(vector) != len(vectors[0]):
            raise InputError(
                f"{path} holds {len(vector)} features, and {paths[0]} {len(vectors[0])}", "compute all of them alike"
            )
    return torch.from_numpy(np.stack(vectors))


def _standardise(branch: Branch, features: Tensor) -> None:
    """Tell a branch where the features (n, f) of the training set lie."""
    wide = features.double()
    std = wide.std(dim=0, correction=0)
    branch.mean.copy_(wide.mean(dim=0))
    branch.std.copy_(std.where(std > _CONSTANT * wide.abs().amax(dim=0), 1.0))
