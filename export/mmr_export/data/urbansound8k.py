"""UrbanSound8K (Salamon et al. 2014): 8,732 clips of up to four seconds in ten classes and ten folds."""

from __future__ import annotations

from pathlib import Path

from mmr_export.data.datasets import Dataset, Item, prompt_of, sorted_by_key
from mmr_export.data.tables import file_below, numbered_classes, problem, read_table

COLUMNS = ("slice_file_name", "fsID", "fold", "classID", "class")


def read(folder: Path) -> Dataset:
    """Read `metadata/UrbanSound8K.csv` and `audio/fold1` to `fold10`; clips of one recording are a group.

    Raises:
        MissingFileError: there is no table.
        InputError: the table cannot be used.
    """
    rows = read_table(folder / "metadata" / "UrbanSound8K.csv", COLUMNS, unique="slice_file_name")
    classes = numbered_classes(rows, "class", "classID")
    items: list[Item] = []
    skipped: list[tuple[str, str]] = []
    for row in rows:
        fold, label = row.whole("fold"), row["class"]
        key = f"fold{fold}/{row['slice_file_name']}"
        clip = file_below(folder / "audio", key, row.where)
        if reason := problem(clip):
            skipped.append((key, reason))
        else:
            items.append(Item(key, clip, prompt_of(label), (label,), row["fsID"], fold))
    prompts = tuple(map(prompt_of, classes))
    return Dataset("urbansound8k", "audio", sorted_by_key(items), classes, prompts, tuple(skipped))
