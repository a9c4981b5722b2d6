"""Data sets by name, as recipes and commands ask for them."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmr_export.data import audioset, esc50, features, manga109, manifest, urbansound8k
from mmr_export.data.datasets import Dataset
from mmr_runtime.errors import InputError, MissingFileError, UsageError

DATASETS: Mapping[str, Callable[..., Dataset]] = {
    "manga109": manga109.read,
    "audioset": audioset.read,
    "esc50": esc50.read,
    "urbansound8k": urbansound8k.read,
    "features": features.read,
    "manifest": manifest.read,
}
"""Reader of every kind of data set: takes its folder, and options by name."""

_REASONS = 3
"""Reasons told when nothing can be used."""


def read_dataset(name: str, folder: Path, **options: Any) -> Dataset:
    """Read a data set.

    Args:
        name: its kind, of `DATASETS`.
        folder: where it lies, in its official layout.
        options: of that kind's reader.

    Returns:
        At least one item.

    Raises:
        UsageError: an unknown name or option.
        MissingFileError: the folder, or a file that the layout requires, is not there.
        InputError: a file of the data set cannot be used, or nothing usable is left.
    """
    if name not in DATASETS:
        raise UsageError(f"no kind of data set is named {name!r}", f"take {', '.join(DATASETS)}")
    reader = DATASETS[name]
    known = list(inspect.signature(reader).parameters)[1:]
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise UsageError(
            f"{name} has no option {', '.join(unknown)}", f"it has {', '.join(known)}" if known else "it has none"
        )
    if not folder.exists():
        raise MissingFileError(f"there is no folder {folder}", "name the folder of the data set with --data")
    dataset = reader(folder, **options)
    if not dataset.items:
        reasons = Counter(reason for _, reason in dataset.skipped).most_common(_REASONS)
        why = ", ".join(f"{count} x {reason}" for reason, count in reasons) or "it lists nothing"
        raise InputError(f"{folder} holds nothing that can be used as {name}: {why}", "check where the files lie")
    return dataset
