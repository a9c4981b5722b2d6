"""Clips of one class each, with folds, by a table: the common form of ESC-50 and UrbanSound8K."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmr_export.data.datasets import Dataset, Item, prompt_of, sorted_by_key
from mmr_export.data.tables import Row, file_below, numbered_classes, problem, read_table


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps what.

    Attributes:
        name: of the data set.
        table: below its folder.
        file: column with the name of a clip, unlike all others.
        label: column with its class.
        number: column with the number of its class.
        group: column with the recording that it was cut from.
        key: path of a row's clip below `audio/`.
    """

    name: str
    table: str
    file: str
    label: str
    number: str
    group: str
    key: Callable[[Row], str]


def read_folded(folder: Path, layout: Layout) -> Dataset:
    """Read the table and `audio/`; clips that were cut from one recording are a group.

    Raises:
        MissingFileError: there is no table.
        InputError: the table cannot be used.
    """
    columns = (layout.file, "fold", layout.number, layout.label, layout.group)
    rows = read_table(folder / layout.table, columns, unique=layout.file)
    classes = numbered_classes(rows, layout.label, layout.number)
    items: list[Item] = []
    skipped: list[tuple[str, str]] = []
    for row in rows:
        key, label = layout.key(row), row[layout.label]
        clip = file_below(folder / "audio", key, row.where)
        if reason := problem(clip):
            skipped.append((key, reason))
        else:
            items.append(Item(key, clip, prompt_of(label), (label,), row[layout.group], row.whole("fold")))
    prompts = tuple(map(prompt_of, classes))
    return Dataset(layout.name, "audio", sorted_by_key(items), classes, prompts, tuple(skipped))
