"""ESC-50 (Piczak 2015): 2,000 recordings of five seconds in 50 classes and five folds."""

from __future__ import annotations

from pathlib import Path

from mmr_export.data.datasets import Dataset, Item, prompt_of, sorted_by_key
from mmr_export.data.tables import file_below, numbered_classes, problem, read_table

COLUMNS = ("filename", "fold", "target", "category", "src_file")


def read(folder: Path) -> Dataset:
    """Read `meta/esc50.csv` and `audio/`; clips that were cut from one recording are a group.

    Raises:
        MissingFileError: there is no table.
        InputError: the table cannot be used.
    """
    rows = read_table(folder / "meta" / "esc50.csv", COLUMNS, unique="filename")
    classes = numbered_classes(rows, "category", "target")
    items: list[Item] = []
    skipped: list[tuple[str, str]] = []
    for row in rows:
        name, label = row["filename"], row["category"]
        clip = file_below(folder / "audio", name, row.where)
        if reason := problem(clip):
            skipped.append((name, reason))
        else:
            items.append(Item(name, clip, prompt_of(label), (label,), row["src_file"], row.whole("fold")))
    prompts = tuple(map(prompt_of, classes))
    return Dataset("esc50", "audio", sorted_by_key(items), classes, prompts, tuple(skipped))
