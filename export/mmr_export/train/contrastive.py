"""Contrastive training of AudioCLIP's towers against text, by a recipe.

The loop is deterministic on the CPU: order and variation of every item follow from seed, epoch and index alone, so a
run that was killed goes on from last.pt to the same weights, bit for bit. With several processes (torchrun) each one
computes its share of a batch and the loss sees all of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmr_export.checkpoint import Checkpoint, build
from mmr_export.data.datasets import Dataset, Item
from mmr_export.data.splits import Split, apply_split, write_split
from mmr_export.model import PRESETS, AudioCLIP
from mmr_export.model.audioclip import contrastive_loss
from mmr_export.model.fbsp import normalise_gradients
from mmr_export.train import distributed
from mmr_export.train.inputs import Reader, overlaps, tokens
from mmr_export.train.journal import Journal
from mmr_export.train.losses import label_aware_loss
from mmr_export.train.pair import Pair, Pairing, frozen_vectors
from mmr_export.train.recipe import ContrastiveRecipe, OptimizerOptions, ScheduleOptions
from mmr_export.train.stages import Course, save
from mmr_runtime.bundle import AudioSpec, ImageSpec
from mmr_runtime.errors import ExportError, InputError
from mmr_runtime.files import write_file

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Report = Callable[[str], None]
Steps = Callable[[int, int], None]
"""Told of steps done and steps in all of an epoch."""
LAST = "last.pt"
EMBED_AT_ONCE = 64
WITHOUT_DECAY = ("audio.fbsp.", "logit_scale")
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Where:
    """Where a run computes, and what it tells.

    Attributes:
        device: of the towers.
        precision: `fp32`, or `bf16` or `fp16` for the networks (weights, losses and the audio front end stay float32).
        cache: for vectors of towers that do not learn.
        tensorboard: folder of event files, or None.
        report: gets a line for every epoch.
        steps: told of every step.
    """

    device: torch.device
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    cache: Path = Path(".cache/train")
    tensorboard: Path | None = None
    report: Report = print
    steps: Steps = lambda _done, _total: None


@dataclass
class Position:
    """How far a run is; part of last.pt.

    Attributes:
        key: of everything that the run depends on.
        epoch: epochs done.
        step: steps done of the next one.
        loss: sum over those steps.
        seconds: that they took.
        history: what is known of every epoch done.
    """

    key: str
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """All that it is."""
        return asdict(self)

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Become that again.

        Raises:
            InputError: it belongs to another run.
        """
        if state_dict["key"] != self.key:
            raise InputError(
                f"{LAST} belongs to another run: its recipe, data, split or initial weights differ",
                "give another --output, or delete it to start anew",
            )
        for name, value in state_dict.items():
            setattr(self, name, value)


@dataclass(frozen=True)
class Start:
    """The weights that a run starts from.

    Attributes:
        model: on the CPU.
        image: how pages are prepared.
        audio: how sound is prepared.
        source: what is said of it in the new checkpoint.
    """

    model: AudioCLIP
    image: ImageSpec
    audio: AudioSpec
    source: dict[str, str]

    @classmethod
    def of(cls, checkpoint: Checkpoint | None, recipe: ContrastiveRecipe) -> Start:
        """The checkpoint's weights; without one, random ones in the sizes of the recipe's preset."""
        torch.manual_seed(recipe.seed)
        if checkpoint is not None:
            source = {"file": checkpoint.path.name, "sha256": checkpoint.sha256}
            return cls(build(checkpoint), checkpoint.image_spec(), checkpoint.audio_spec(), source)
        model = AudioCLIP(PRESETS[recipe.preset])
        empty = Checkpoint(Path("random"), {}, model.config, frozenset(), "")
        return cls(model, empty.image_spec(), empty.audio_spec(), {"random": f"{recipe.preset}, seed {recipe.seed}"})


def train_contrastive(
    recipe: ContrastiveRecipe, dataset: Dataset, split: Split, start: Start, output: Path, where: Where
) -> None:
    """Train by a recipe; write the checkpoint of the best validation loss, and what belongs to it.

    Beside `output` (best.pt) stand best.json (sizes, conventions, recipe, metrics), best.split.json, best.log.csv and
    plots, and last.pt, from which the same call goes on.

    Args:
        recipe: the hyperparameters.
        dataset: pictures or clips.
        split: which of them train.
        start: the initial weights; its model is trained in place.
        output: where to.
        where: device, precision, cache and reports.

    Raises:
        InputError: the data are too few for a batch, or last.pt is of another run.
        ExportError: the loss is not finite; the batch is named.
    """
    with distributed.process_group(where.device) as device:
        _Run(recipe, dataset, split, start, output, where, device).run()


class _Run:
    def __init__(
        self,
        recipe: ContrastiveRecipe,
        dataset: Dataset,
        split: Split,
        start: Start,
        output: Path,
        where: Where,
        device: torch.device,
    ) -> None:
        if dataset.modality == "features":
            raise InputError(f"{dataset.name} holds features, not pictures or sound", "take the recipe features")
        self.recipe, self.dataset, self.split, self.output, self.where = recipe, dataset, split, output, where
        self.start, self.device = start, device
        train, validation = apply_split(dataset, split)
        self.items: list[Item] = [*train, *validation]
        self.train, self.validation = np.arange(len(train)), np.arange(len(train), len(self.items))
        self.count = len(train) // recipe.batch
        if not self.count or not len(validation):
            raise InputError(
                f"{len(train)} items train and {len(validation)} validate: too few for a batch of {recipe.batch}",
                "take more data or a smaller batch",
            )
        if recipe.batch % (recipe.accumulate * distributed.size()):
            raise InputError(f"a batch of {recipe.batch} cannot be shared by {distributed.size()} processes")
        self.pair = Pair(start.model, dataset.modality, recipe.train).to(device)
        bins = 3 * start.model.config.audio.bands_height
        self.reader = Reader(dataset.modality, start.image, start.audio, bins, recipe)
        self.optimizer = make_optimizer(self.pair, recipe.optimizer)
        self.scaler = torch.amp.GradScaler(device.type, enabled=where.precision == "fp16")
        self.position = Position(self._key())
        self.course = Course(
            output.with_name(LAST),
            None,
            position=self.position,  # first: it refuses what belongs to another run
            model=start.model,
            optimizer=self.optimizer,
            scaler=self.scaler,
        )
        self.step_module: nn.Module = self.pair
        if distributed.size() > 1:
            devices = [device] if device.type == "cuda" else None
            self.step_module = DistributedDataParallel(self.pair, device_ids=devices)

    def _key(self) -> str:
        text = f"{self.recipe} {self.split} {self.start.source} {self.start.image} {self.start.audio}"
        return hashlib.sha256(text.encode()).hexdigest()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.course.resume()
        main = distributed.rank() == 0
        journal = Journal(self.output, self.where.tensorboard) if main else None
        if main:
            write_split(self.split, self.output.with_suffix(".split.json"))
        for epoch in range(self.position.epoch, self.recipe.epochs):
            self._epoch(epoch)
            row = self._judge(epoch)
            best = min(old["validation_loss"] for old in [*self.position.history, {"validation_loss": math.inf}])
            self.position.history.append(row)
            self.position.epoch, self.position.step, self.position.loss, self.position.seconds = epoch + 1, 0, 0.0, 0.0
            if journal is not None:
                if row["validation_loss"] < best:
                    self._write_best(row)
                journal.write(self.position.history)
                self.course.keep(epoch + 1)
            self.where.report(
                f"epoch {epoch + 1}/{self.recipe.epochs}: loss {row['train_loss']:.4f}, validation "
                f"{row['validation_loss']:.4f}, first label right {row['accuracy']:.3f}, "
                f"{row['items_per_second']:.1f} items/s"
            )
            distributed.barrier()

    def _epoch(self, epoch: int) -> None:
        position, count = self.position, self.count
        self.pair.set_training(self.recipe.batch_norm)
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(self.train)
        steps = np.array_split(order[: count * self.recipe.batch], count)[position.step :]
        parts = [part for step in steps for part in np.array_split(step, self.recipe.accumulate)]
        inputs = self._inputs([distributed.own(part) for part in parts], epoch)
        for step in steps:
            began = time.monotonic()
            self._set_rate(epoch * count + position.step)
            position.loss += self._step(step, inputs, epoch)
            position.step += 1
            position.seconds += time.monotonic() - began
            self.where.steps(position.step, count)
            if position.step % self.recipe.save_steps == 0 and position.step < count and distributed.rank() == 0:
                self.course.keep(epoch)

    def _step(self, step: Rows, inputs: Iterator[tuple[Tensor, Tensor | None]], epoch: int) -> float:
        recipe, total = self.recipe, 0.0
        self.optimizer.zero_grad()
        for i, part in enumerate(np.array_split(step, recipe.accumulate)):
            x, kept = next(inputs)
            wait = i + 1 < recipe.accumulate and isinstance(self.step_module, DistributedDataParallel)
            with cast(DistributedDataParallel, self.step_module).no_sync() if wait else nullcontext():
                with torch.autocast(
                    self.device.type, TYPES[self.where.precision], enabled=self.where.precision != "fp32"
                ):
                    pairing = self.step_module(x, self._said[distributed.own(part)].to(self.device), kept)
                loss = self._loss(pairing, part) / recipe.accumulate
                if not torch.isfinite(loss):
                    at = f"epoch {epoch + 1}, step {self.position.step + 1}"
                    raise ExportError(
                        f"the loss is {loss.item()} in {at}; the batch: {', '.join(self.items[i].key for i in part)}",
                        "look at these files, or take a smaller rate",
                    )
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        self.scaler.unscale_(self.optimizer)
        if recipe.normalise_filters:
            normalise_gradients(self.start.model.audio.fbsp)
        if recipe.optimizer.clip:
            nn.utils.clip_grad_norm_(self.pair.parameters(), recipe.optimizer.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.pair.clamp_scale()
        return total

    def _loss(self, pairing: Pairing, part: Rows) -> Tensor:
        rows, said = distributed.gather(pairing.rows), distributed.gather(pairing.said)
        return self._objective(pairing.scale * rows @ said.T, [self.items[i] for i in part]) + pairing.norm

    def _objective(self, logits: Tensor, items: list[Item]) -> Tensor:
        if self.recipe.loss == "pairs":
            return contrastive_loss([logits])
        return label_aware_loss(logits, overlaps(items).to(logits.device))

    def _set_rate(self, step: int) -> None:
        rate = rate_at(step, self.count, self.recipe.epochs * self.count, self.recipe.optimizer, self.recipe.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    # -- inputs -------------------------------------------------------------------------------------------------------

    def _inputs(self, rows: list[Rows], epoch: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What goes into the tower, batch by batch: varied items, or the vectors of a tower that does not learn."""
        if self.pair.modality not in self.pair.learns:
            yield from ((self._vectors[batch].to(self.device), None) for batch in rows)
            return
        for batch in self.reader.batches(self.items, rows, epoch):
            kept = None if batch.kept is None else batch.kept.to(self.device)
            yield batch.x.to(self.device, non_blocking=True), kept

    @cached_property
    def _vectors(self) -> Tensor:
        """Unit rows of all items by a tower that does not learn."""
        specs = f"{self.start.image} {self.start.audio}"
        keys = [f"{i.key} {i.box} {i.path.stat().st_size} {i.path.stat().st_mtime_ns} {specs}" for i in self.items]
        tower = self.pair.modality
        vectors = frozen_vectors(
            self.pair, tower, keys, lambda: self._views(np.arange(len(keys))), self.pair.embed, self.where.cache
        )
        return torch.from_numpy(vectors)

    def _views(self, rows: Rows) -> Iterator[Tensor]:
        """Items as they are, in batches, on the device."""
        size = self.recipe.batch // self.recipe.accumulate
        batches = np.array_split(rows, range(size, len(rows), size))
        return (batch.x.to(self.device) for batch in self.reader.batches(self.items, batches, None))

    @cached_property
    def _tokens(self) -> Tensor:
        return tokens([item.text for item in self.items], self.start.model.config.text.context)

    @cached_property
    def _said(self) -> Tensor:
        """What is said of every item: token ids, or unit rows where the text tower does not learn."""
        if "text" in self.pair.learns:
            return self._tokens
        texts = sorted({item.text for item in self.items})
        ids = tokens(texts, self.start.model.config.text.context)
        vectors = frozen_vectors(
            self.pair,
            "text",
            texts,
            lambda: (part.to(self.device) for part in torch.split(ids, EMBED_AT_ONCE)),
            self.pair.embed_tokens,
            self.where.cache,
        )
        place = {text: i for i, text in enumerate(texts)}
        return torch.from_numpy(vectors[[place[item.text] for item in self.items]])

    # -- validation ---------------------------------------------------------------------------------------------------

    def _judge(self, epoch: int) -> dict[str, float]:
        """What is known of an epoch: losses, the share of items whose first prompt is a label of theirs, and speed."""
        position, recipe = self.position, self.recipe
        self.pair.model.eval()
        heard, said = self._embedded()
        prompts, labels = self._prompts
        spoken = torch.cat(
            [self.pair.embed_tokens(part.to(self.device)).cpu() for part in torch.split(prompts, EMBED_AT_ONCE)]
        )
        items = [self.items[i] for i in self.validation]
        first = (heard @ spoken.T).argmax(dim=1).tolist()
        right = [labels[f] in (item.labels or (item.text,)) for f, item in zip(first, items, strict=True)]
        order = np.random.default_rng(recipe.seed).permutation(len(items))
        parts = np.array_split(order, max(len(items) // recipe.batch, 1))
        scale = float(self.pair.scale().detach())
        losses = [float(self._objective(scale * heard[p] @ said[p].T, [items[i] for i in p])) * len(p) for p in parts]
        return {
            "epoch": epoch + 1,
            "rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": position.loss / self.count,
            "validation_loss": sum(losses) / len(items),
            "accuracy": sum(right) / len(items),
            "seconds": position.seconds,
            "items_per_second": self.count * recipe.batch / max(position.seconds, 1e-9),
        }

    def _embedded(self) -> tuple[Tensor, Tensor]:
        """Unit rows of the validation items and of what is said of them, on the CPU; every process embeds a share."""
        own = distributed.own(self.validation)
        if self.pair.modality not in self.pair.learns:
            heard = self._vectors[self.validation]
        else:
            rows = [self.pair.embed(x).cpu().numpy() for x in self._views(own)] if len(own) else []
            heard = torch.from_numpy(np.concatenate(distributed.gather_objects(rows)))
        said = self._said[self.validation]
        if "text" in self.pair.learns:
            said = torch.cat(
                [self.pair.embed_tokens(part.to(self.device)).cpu() for part in torch.split(said, EMBED_AT_ONCE)]
            )
        return heard, said

    @cached_property
    def _prompts(self) -> tuple[Tensor, tuple[str, ...]]:
        """Token ids of every class, and its label; where there are none, of every text."""
        context = self.start.model.config.text.context
        if self.dataset.classes:
            return tokens(self.dataset.prompts, context), self.dataset.classes
        texts = tuple(sorted({self.items[i].text for i in self.validation}))
        return tokens(texts, context), texts

    # -- the checkpoint -----------------------------------------------------------------------------------------------

    def _write_best(self, row: dict[str, float]) -> None:
        state = {name: value.detach().cpu() for name, value in self.pair.model.state_dict().items()}
        save(state, self.output)
        sidecar = {
            "id": f"mmr-{self.dataset.name}",
            "config": self.pair.model.config.to_dict(),
            "image": asdict(self.start.image),
            "audio": asdict(self.start.audio),
            "training": {
                "recipe": {**asdict(self.recipe), "options": dict(self.recipe.options)},
                "start": self.start.source,
                "data": {"name": self.dataset.name, "items": len(self.items), "skipped": len(self.dataset.skipped)},
                "split": {"kind": self.split.kind, "train": len(self.train), "validation": len(self.validation)},
                "metrics": row,
                "precision": self.where.precision,
                "torch": torch.__version__,
            },
        }
        write_file(self.output.with_suffix(".json"), json.dumps(sidecar, indent=1).encode())


def make_optimizer(module: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimiser of all weights that learn; audio filters and logit scales have no weight decay."""
    free: list[nn.Parameter] = []
    held: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (free if any(part in name for part in WITHOUT_DECAY) else held).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((held, options.weight_decay), (free, 0.0))
        if parameters
    ]
    if options.name == "sgd":
        return torch.optim.SGD(groups, lr=options.rate, momentum=options.momentum, nesterov=options.momentum > 0)
    kind = torch.optim.Adam if options.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=options.rate, betas=options.betas, eps=options.eps)


def rate_at(step: int, per_epoch: int, total: int, optimizer: OptimizerOptions, schedule: ScheduleOptions) -> float:
    """Learning rate of a step, counted from 0 over all epochs."""
    if schedule.name == "exponential":
        return optimizer.rate * schedule.gamma ** (step // per_epoch)
    rise = round(schedule.warmup * total)
    if step < rise:
        return optimizer.rate * (step + 1) / rise
    return optimizer.rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(total - rise, 1)))
