"""Pairs of precomputed features in VM-NET's layout (Hong, Im and Yang 2017): music and the video that it is of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mmr_export.data.datasets import Dataset, Item, Side, sorted_by_key
from mmr_export.data.media import read_features
from mmr_export.data.tables import MISSING, file_below, read_records, side_named
from mmr_runtime.errors import InputError, MissingFileError

IDS = "ids.csv"
MODALITIES = ("audio", "video")


def read(folder: Path) -> Dataset:
    """Read `ids.csv`, `audio/ID.npy` and `video/ID.npy`.

    A line of `ids.csv` is an id and, if wanted, its side (train, validation, test); a first line that begins with `id`
    is a header. Every file is read once: a pair whose files are missing, damaged, or of another width than most is left
    out.

    Raises:
        MissingFileError: there is no ids.csv.
        InputError: ids.csv cannot be used.
    """
    lines = _read_ids(folder / IDS)
    skipped: list[tuple[str, str]] = []
    pairs: dict[str, Item] = {}
    widths: dict[str, tuple[int, ...]] = {}
    for name, (where, side) in lines.items():
        audio, video = (file_below(folder / modality, f"{name}.npy", where) for modality in MODALITIES)
        try:
            widths[name] = _width(audio, "audio"), _width(video, "video")
        except InputError as error:
            skipped.append((name, error.message))
        pairs[name] = Item(name, audio, "", (), name, partner=video, side=side)
    usual = [Counter(column).most_common(1)[0][0] for column in zip(*widths.values(), strict=True)]
    for name, found in widths.items():
        for modality, wide, most in zip(MODALITIES, found, usual, strict=True):
            if wide != most:
                skipped.append((name, f"{modality}: {wide} features, not {most}"))
    unusable = {name for name, _ in skipped}
    items = [item for name, item in pairs.items() if name not in unusable]
    return Dataset("features", "features", sorted_by_key(items), (), (), tuple(skipped))


def _read_ids(path: Path) -> dict[str, tuple[str, Side | None]]:
    """Line and side of every id."""
    lines: dict[str, tuple[str, Side | None]] = {}
    for i, (number, fields) in enumerate(read_records(path)):
        if i == 0 and fields[0].lower() == "id":
            continue
        name, where = fields[0], f"{path}, line {number}"
        if name in lines:
            raise InputError(f"{where} names {name!r:.80} again", "keep one of the lines")
        lines[name] = where, side_named(fields[1] if len(fields) > 1 else "", where)
    return lines


def _width(path: Path, modality: str) -> int:
    """Length of a file's vector; errors without the path, so that equal ones can be counted."""
    try:
        return len(read_features(path))
    except MissingFileError:
        raise InputError(f"{modality}: {MISSING}") from None
    except InputError as error:
        raise InputError(f"{modality}: {error.message.removeprefix(f'{path} ')}") from None
