"""Items become the arrays that a model takes: in training varied and shuffled, in evaluation as they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmr_export.data.datasets import Item
from mmr_export.data.media import pixels, read_picture, read_samples
from mmr_export.merges import MERGES
from mmr_export.train.augment import item_rng, masks, middle, vary_picture, vary_sound
from mmr_export.train.recipe import ContrastiveRecipe
from mmr_runtime.bundle import AudioSpec, ImageSpec
from mmr_runtime.image import preprocess
from mmr_runtime.text import Tokenizer

Floats = NDArray[np.float32]
AHEAD = 3
"""Batches that are read before they are wanted."""


class View(NamedTuple):
    """One item as the tower takes it: pixels (3, h, w) or samples (t,); `kept` where its spectrogram is masked."""

    x: Floats
    kept: NDArray[np.bool_] | None = None


class Batch(NamedTuple):
    """Items `rows` of a data set: `x` (n, ...), and `kept` (n, rows, frames) with masks."""

    rows: NDArray[np.int64]
    x: Tensor
    kept: Tensor | None


@dataclass(frozen=True)
class Reader:
    """Reads items of one modality.

    Attributes:
        modality: of the items.
        image: how pages are prepared.
        audio: how sound is prepared.
        bins: rows of a whole spectrogram.
        recipe: how much training views vary.
    """

    modality: Literal["image", "audio"]
    image: ImageSpec
    audio: AudioSpec
    bins: int
    recipe: ContrastiveRecipe

    def training(self, item: Item, index: int, epoch: int) -> View:
        """A varied view; the same for the same seed, epoch and index."""
        rng = item_rng(self.recipe.seed, epoch, index)
        if self.modality == "image":
            picture = vary_picture(read_picture(item), self.recipe.picture, rng)
            return View(preprocess(picture, self.image, "whole")[0])
        sound, spec = self.recipe.sound, self.audio
        samples = vary_sound(read_samples(item, spec), spec.window_samples, sound, rng)
        return View(samples, masks(self.bins, spec.frames, sound.masks, rng) if sound.masks else None)

    def evaluation(self, item: Item) -> View:
        """The item as it is: the whole picture, or the middle window of a clip."""
        if self.modality == "image":
            return View(pixels(item, self.image))
        return View(middle(read_samples(item, self.audio), self.audio.window_samples))

    def batches(self, items: Sequence[Item], rows: Sequence[NDArray[np.int64]], epoch: int | None) -> Iterator[Batch]:
        """Batches of items, read by threads ahead of their use.

        Args:
            items: of the data set.
            rows: of every batch.
            epoch: of training; None: evaluation.
        """

        def read(index: int) -> View:
            item = items[index]
            return self.evaluation(item) if epoch is None else self.training(item, index, epoch)

        with ThreadPoolExecutor() as pool:
            waiting: deque[tuple[NDArray[np.int64], list[Future[View]]]] = deque()
            try:
                for batch in rows:
                    waiting.append((batch, [pool.submit(read, int(i)) for i in batch]))
                    if len(waiting) > AHEAD:
                        yield _stacked(*waiting.popleft())
                while waiting:
                    yield _stacked(*waiting.popleft())
            finally:
                for _, futures in waiting:
                    for future in futures:
                        future.cancel()


def _stacked(rows: NDArray[np.int64], futures: Sequence[Future[View]]) -> Batch:
    views = [future.result() for future in futures]
    kept = [view.kept for view in views if view.kept is not None]
    x = torch.from_numpy(np.stack([view.x for view in views]))
    return Batch(rows, x, torch.from_numpy(np.stack(kept)) if kept else None)


def tokens(texts: Sequence[str], context: int) -> Tensor:
    """Token ids, int64 (n, length); a text beyond the context is cut at its last whole sentence or word within."""
    tokenizer = Tokenizer.load(MERGES)
    ids = tokenizer.tokens([tokenizer.pieces(text, context)[0] for text in texts], context)
    return torch.from_numpy(ids)


def overlaps(items: Sequence[Item]) -> Tensor:
    """What items share, float32 (n, n): labels in common over all labels of both; equal texts where there are none."""
    names = [frozenset(item.labels) or frozenset((item.text,)) for item in items]
    return torch.tensor([[len(a & b) / len(a | b) for b in names] for a in names])
