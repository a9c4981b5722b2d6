"""Anybody's own data: a CSV that names pictures or clips with their labels, or with texts that describe them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from mmr_export.data.datasets import Dataset, Item, Modality, prompt_of, sorted_by_key
from mmr_export.data.tables import Row, file_below, problem, read_table, side_named
from mmr_runtime.errors import InputError
from mmr_runtime.library.scan import SUFFIXES

NAME = "manifest.csv"
_ENDINGS: dict[Modality, frozenset[str]] = {"image": SUFFIXES["pages"], "audio": SUFFIXES["songs"]}


def read(folder: Path) -> Dataset:
    """Read a manifest: the CSV itself, or `manifest.csv` of a folder.

    Its first line is `file,label` or `file,text`; columns `group` and `split` (train, validation, test) may follow.
    Files are named relative to the CSV; several labels are divided by `|`. Without a group every file is its own.

    Raises:
        MissingFileError: there is no such CSV.
        InputError: it cannot be used, or names pictures and sound together.
    """
    path = folder if folder.is_file() else folder / NAME
    rows = read_table(path, ("file",), optional=("label", "text", "group", "split"))
    if not rows:
        raise InputError(f"{path} names no files", "write a line for every file below `file,label` or `file,text`")
    if ("label" in rows[0].values) == ("text" in rows[0].values):
        raise InputError(f"{path} must have one of the columns label and text", "begin it with `file,label`")
    items: list[Item] = []
    skipped: list[tuple[str, str]] = []
    classes: set[str] = set()
    modalities: dict[Modality, str] = {}
    seen: set[str] = set()
    for row in rows:
        file = file_below(path.parent, row["file"], row.where)
        key = PurePosixPath(row["file"]).as_posix()
        if key in seen:
            raise InputError(f"{row.where} names {key!r:.80} again", "keep one of the lines")
        seen.add(key)
        modalities.setdefault(_modality(file, row.where), row["file"])
        labels, text = _meaning(row)
        classes.update(labels)
        if reason := problem(file):
            skipped.append((key, reason))
            continue
        group = row.values.get("group") or key
        items.append(Item(key, file, text, labels, group, side=side_named(row.values.get("split", ""), row.where)))
    if len(modalities) > 1:
        raise InputError(
            f"{path} names pictures and sound: {' and '.join(modalities.values())}", "write a manifest for each"
        )
    names = tuple(sorted(classes))
    prompts = tuple(map(prompt_of, names))
    return Dataset("manifest", next(iter(modalities)), sorted_by_key(items), names, prompts, tuple(skipped))


def _modality(file: Path, where: str) -> Modality:
    for modality, endings in _ENDINGS.items():
        if file.suffix.lower() in endings:
            return modality
    raise InputError(f"{where}: {file.name} is neither a picture nor sound by its ending", "leave that line out")


def _meaning(row: Row) -> tuple[tuple[str, ...], str]:
    """Labels and text of a file."""
    if "text" in row.values:
        return (), _filled(row["text"], row)
    labels = tuple(dict.fromkeys(filter(None, (label.strip() for label in row["label"].split("|")))))
    return labels, _filled(", ".join(map(prompt_of, labels)), row)


def _filled(text: str, row: Row) -> str:
    if not text:
        raise InputError(
            f"{row.where}: {row['file']} has neither a label nor a text", "add one, or leave that line out"
        )
    return text
