"""AudioSet (Gemmeke et al. 2017), as far as it is labelled with one of its seven "Music mood" classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmr_export.data.datasets import Dataset, Item, sorted_by_key
from mmr_export.data.tables import problem, read_records, read_table
from mmr_runtime.errors import InputError, MissingFileError
from mmr_runtime.library.scan import SUFFIXES
from mmr_runtime.moods import MOOD_PROMPTS

MOODS_TABLE = Path(__file__).with_name("audioset_moods.tsv")
_LABELS_TABLE = "class_labels_indices.csv"
"""AudioSet's list of classes, which often lies beside the lists of segments."""

_STEM = re.compile(r"([\w-]{11})(?:_(\d+(?:\.\d+)?))?(?:_\d+(?:\.\d+)?)?")
_NEAR_SECONDS = 0.5


@dataclass
class _Segment:
    """A stretch of a video that a list names."""

    start: float
    labels: set[str] = field(default_factory=set)


def read(folder: Path) -> Dataset:
    """Read the lists of segments (`*.csv`) of a folder and the clips anywhere below it.

    A clip's file is named by the video's id, `Y` before it or not, and by start or start and end if wanted, in seconds
    or milliseconds: `ID.wav`, `YID.m4a`, `ID_30.flac`, `ID_30000_40000.ogg`. It holds the segment alone. Several lists
    that name a video add to its labels. Clips that were never obtained are told in one line: thousands are normal.

    Raises:
        MissingFileError: no list of segments, or not one of the clips.
        InputError: a list cannot be used.
    """
    lists, skipped = _lists(folder)
    moods = {row["mid"]: row["name"] for row in read_table(MOODS_TABLE, ("mid", "name"), delimiter="\t")}
    segments: dict[str, _Segment] = {}
    ambiguous: set[str] = set()
    for path in lists:
        for video, start, mids in _read_segments(path):
            found = {moods[mid] for mid in mids if mid in moods}
            if found:
                segment = segments.setdefault(video, _Segment(start))
                segment.labels |= found
                if segment.start != start:
                    ambiguous.add(video)
    skipped += [(video, "listed with different starts") for video in sorted(ambiguous)]
    wanted = {video: segment for video, segment in segments.items() if video not in ambiguous}
    clips = _find_clips(folder, wanted)
    if wanted and not clips:
        raise MissingFileError(
            f"{folder} holds none of the {len(wanted)} clips that its lists name",
            "name them by their video's id: ID.wav",
        )
    if len(clips) < len(wanted):
        lacking = f"{len(wanted) - len(clips)} of {len(wanted)} clips"
        skipped.append((lacking, "their files are missing"))
    items: list[Item] = []
    for video, clip in clips.items():
        if reason := problem(clip):
            skipped.append((video, reason))
            continue
        labels = tuple(mood for mood in MOOD_PROMPTS if mood in wanted[video].labels)
        items.append(Item(video, clip, ", ".join(labels), labels, video))
    return Dataset("audioset", "audio", sorted_by_key(items), MOOD_PROMPTS, MOOD_PROMPTS, tuple(skipped))


def _lists(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Lists of segments of a folder, and what else ends in .csv there."""
    found: list[Path] = []
    others: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*.csv")):
        _, first = next(read_records(path), (0, []))
        if len(first) > 3 and _seconds(first[1]) is not None:
            found.append(path)
        elif path.name != _LABELS_TABLE:
            others.append((path.name, "no list of segments"))
    if not found:
        raise MissingFileError(
            f"there is no list of segments in {folder}", "put AudioSet's balanced_train_segments.csv or the like there"
        )
    return found, others


def _read_segments(path: Path) -> Iterator[tuple[str, float, list[str]]]:
    """Video, start in seconds and class ids of every line."""
    for line, fields in read_records(path):
        start = _seconds(fields[1]) if len(fields) > 3 else None
        if start is None or not fields[0]:
            raise InputError(f"{path}, line {line} is no segment", "write YTID, start_seconds, end_seconds, labels")
        # Lists that another program wrote may have lost the quotation marks around the labels.
        yield fields[0], start, [mid for part in fields[3:] for mid in part.split(",")]


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _find_clips(folder: Path, wanted: Mapping[str, _Segment]) -> dict[str, Path]:
    """The file of every wanted video that has one; of several the first by path."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES["songs"]:
            for stem in (path.stem, path.stem.removeprefix("Y")):
                match = _STEM.fullmatch(stem)
                if match and match[1] in wanted and _is_start(match[2], wanted[match[1]].start):
                    found.setdefault(match[1], path)
    return found


def _is_start(written: str | None, start: float) -> bool:
    """Whether a file's name gives this start, in seconds or milliseconds, or none."""
    return written is None or any(abs(float(written) / unit - start) < _NEAR_SECONDS for unit in (1, 1000))
