"""Which items train and which validate: drawn once, kept as a file, the same on every machine.

Pages of one title and clips of one video are alike: on both sides of a split they make validation look better than it
is. So a group stays whole, unless the published way (`item`) is asked for, to compare.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mmr_export.data.datasets import Dataset, Item, Side
from mmr_runtime.errors import InputError, MissingFileError, UsageError
from mmr_runtime.files import write_file
from mmr_runtime.limits import MAX_ERROR_NAMES

Kind = Literal["group", "item", "fold", "given"]
SCHEMA = 1
SIDES: tuple[Side, Side] = ("train", "validation")
_LEAST_GAIN = 1e-12
"""Of a group that changes sides: rounding must not carry it to and fro for ever."""


@dataclass(frozen=True)
class Split:
    """Two sides of a data set.

    Attributes:
        kind: how they were drawn: see `split_dataset`.
        seed: that they were drawn with.
        share: of the items that was to validate; what came out, for kinds that draw nothing.
        train: keys of items, in the order of the data set.
        validation: likewise.
    """

    kind: Kind
    seed: int
    share: float
    train: tuple[str, ...]
    validation: tuple[str, ...]


def split_dataset(
    dataset: Dataset, kind: Kind = "group", *, share: float = 0.2, seed: int = 0, fold: int | None = None
) -> Split:
    """Divide a data set.

    Args:
        dataset: what to divide.
        kind: `group`: whole groups, so that every class has its share of validation as well as the groups' sizes
            allow, and stands on both sides where it has two groups; `item`: likewise by single items (the paper's);
            `fold`: one fold of the data set validates; `given`: the sides that the data set names; its items of
            neither side are left out.
        share: of the items that validate, for `group` and `item`.
        seed: of the draw.
        fold: that validates, for `fold`.

    Raises:
        UsageError: an option that cannot be.
        InputError: the data set has no such division, or cannot fill both sides.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"no split is named {kind!r}", f"take {', '.join(get_args(Kind))}")
    items = dataset.items
    if kind == "fold":
        sides = _by_fold(items, fold)
    elif kind == "given":
        sides = _by_name(items)
    elif not 0 < share < 1:
        raise UsageError(f"share must be between 0 and 1, not {share}")
    else:
        sides = _drawn(items, [item.key if kind == "item" else item.group for item in items], share, seed)
    train, validation = (tuple(i.key for i, s in zip(items, sides, strict=True) if s == side) for side in SIDES)
    if not train or not validation:
        raise InputError(
            f"{dataset.name}: {len(train)} items would train and {len(validation)} validate by the split {kind}",
            "take another split, or more data",
        )
    if kind in ("fold", "given"):
        share = len(validation) / (len(train) + len(validation))
    return Split(kind, seed, share, train, validation)


def apply_split(dataset: Dataset, split: Split) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Items that train and items that validate, in the order of the data set; those that the split lacks are left out.

    Raises:
        InputError: the split names items that the data set does not hold.
    """
    items = {item.key: item for item in dataset.items}
    named = (*split.train, *split.validation)
    unknown = [key for key in named if key not in items]
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(named)} items of the split are not in {dataset.name}: "
            f"{', '.join(unknown[:MAX_ERROR_NAMES])}",
            "give the data that the split was made of, or make another one",
        )
    train, validation = frozenset(split.train), frozenset(split.validation)
    return (
        tuple(item for item in dataset.items if item.key in train),
        tuple(item for item in dataset.items if item.key in validation),
    )


def write_split(split: Split, path: Path) -> None:
    """Keep a split as JSON.

    Raises:
        UsageError: the place cannot be written to.
    """
    content = json.dumps({"schema": SCHEMA, **asdict(split)}, indent=1)
    write_file(path, content.encode())


def read_split(path: Path) -> Split:
    """Read what `write_split` wrote.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is no split, damaged, or of a newer version.
    """
    hint = "give a file that mmr train wrote, *.split.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        schema = values["schema"]
        if schema != SCHEMA:
            raise InputError(f"{path} is of schema {schema}, not {SCHEMA}", "install the mmr that wrote it")
        sides = [tuple(map(str, values[side])) for side in SIDES]
        split = Split(values["kind"], int(values["seed"]), float(values["share"]), *sides)
    except FileNotFoundError:
        raise MissingFileError(f"there is no split {path}", hint) from None
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no split", hint) from error
    count = len(split.train) + len(split.validation)
    if split.kind not in get_args(Kind) or len({*split.train, *split.validation}) < count:
        raise InputError(f"{path} is damaged: its kind is unknown, or it names an item twice", hint)
    return split


# -- how items are divided: a side for every item ---------------------------------------------------------------------


def _by_fold(items: Sequence[Item], fold: int | None) -> list[Side]:
    folds = sorted({item.fold for item in items if item.fold is not None})
    if any(item.fold is None for item in items):
        raise InputError("the data set does not come in folds", "take the split group")
    if fold not in folds:
        raise UsageError(f"no fold {fold}", f"give --fold {', '.join(map(str, folds))}")
    return ["validation" if item.fold == fold else "train" for item in items]


def _by_name(items: Sequence[Item]) -> list[Side]:
    lacking = sum(item.side is None for item in items)
    if lacking:
        raise InputError(f"{lacking} of {len(items)} items name no side of their own", "fill the column split")
    return [item.side for item in items if item.side]


def _drawn(items: Sequence[Item], names: Sequence[str], share: float, seed: int) -> list[Side]:
    """Sides by name of a group: a local search for the share of every class.

    Everything trains at first. Groups in an order drawn by the seed change sides, again and again, wherever that
    brings the classes nearer to their share: each class counts by its own size, and all items count as one more. At
    the end a class that lacks a side gets its group that disturbs least.
    """
    groups = sorted(set(names))
    place = {name: i for i, name in enumerate(groups)}
    counts = [Counter[str | None]() for _ in groups]
    for item, name in zip(items, names, strict=True):
        counts[place[name]].update((None, *item.labels))  # None: all items
    search = _Search(counts, share)
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    while sum(search.flip_if_better(group) for group in order):
        pass
    search.cover()
    return ["validation" if search.validates[place[name]] else "train" for name in names]


class _Search:
    """Which groups validate, and how far every class is from its share.

    Attributes:
        validates: of every group.
    """

    def __init__(self, counts: Sequence[Counter[str | None]], share: float) -> None:
        totals = Counter[str | None]()
        self._groups: defaultdict[str | None, list[int]] = defaultdict(list)
        for group, count in enumerate(counts):
            totals.update(count)
            for name in count:
                self._groups[name].append(group)
        self._shares = [{name: n / totals[name] for name, n in count.items()} for count in counts]
        self._excess = dict.fromkeys(totals, -share)
        self._validating = dict.fromkeys(totals, 0)
        self.validates = [False] * len(counts)

    def flip_if_better(self, group: int) -> bool:
        better = self._gain(group) > _LEAST_GAIN
        if better:
            self._flip(group)
        return better

    def cover(self) -> None:
        """Give every class with two groups both sides, if that takes no side from another one; rare classes first."""
        for name in sorted(self._groups, key=lambda name: (len(self._groups[name]), name or "")):
            if len(self._groups[name]) > 1 and self._validating[name] in (0, len(self._groups[name])):
                free = [group for group in self._groups[name] if self._can_leave(group)]
                if free:
                    self._flip(max(free, key=self._gain))

    def _can_leave(self, group: int) -> bool:
        """Whether every class of a group with two groups keeps one on its side."""
        for name in self._shares[group]:
            groups, validating = len(self._groups[name]), self._validating[name]
            if groups > 1 and (validating if self.validates[group] else groups - validating) == 1:
                return False
        return True

    def _gain(self, group: int) -> float:
        """By how much the sum of squared differences from the share shrinks if a group changes sides."""
        sign = -1 if self.validates[group] else 1
        return -sum(n * (2 * sign * self._excess[name] + n) for name, n in self._shares[group].items())

    def _flip(self, group: int) -> None:
        sign = -1 if self.validates[group] else 1
        for name, n in self._shares[group].items():
            self._excess[name] += sign * n
            self._validating[name] += sign
        self.validates[group] = not self.validates[group]
