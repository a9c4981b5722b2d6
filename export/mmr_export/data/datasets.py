"""What every data set of pictures, clips or feature pairs is, whatever folder it was read from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Modality = Literal["image", "audio", "features"]
Side = Literal["train", "validation", "test"]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Item:
    """One picture, clip, or pair of feature files.

    Attributes:
        key: names it within its data set, the same on every machine: a relative path or a video's id.
        path: the file.
        text: what the text tower is told of it; a list of labels is joined with ", ", as AudioCLIP does.
        labels: its classes; one for most data sets, several for AudioSet, none for free text.
        group: what a split keeps together: a title, a video, a recording.
        fold: of the data set's own division, from 1; None without one.
        box: the part of the picture that is meant; None: all of it.
        partner: the file of the second modality, for pairs.
        side: of the data set's own division into sides; None without one.
    """

    key: str
    path: Path
    text: str
    labels: tuple[str, ...]
    group: str
    fold: int | None = None
    box: Box | None = None
    partner: Path | None = None
    side: Side | None = None


@dataclass(frozen=True)
class Dataset:
    """All usable items of one folder.

    Attributes:
        name: the kind of data set, as recipes name it.
        modality: what `Item.path` holds.
        items: in the order of their keys.
        classes: the labels that occur in the data set's definition, in its own order; empty for free text.
        prompts: what the text tower is told of each class.
        skipped: (key or file, reason) of what was named but cannot be used.
    """

    name: str
    modality: Modality
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    prompts: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def prompt_of(label: str) -> str:
    """What the text tower is told of a label: the bare words, with spaces, as AudioCLIP does."""
    return label.replace("_", " ")


def sorted_by_key(items: Iterable[Item]) -> tuple[Item, ...]:
    """Items in the order of their keys, as data sets hold them."""
    return tuple(sorted(items, key=lambda item: item.key))
