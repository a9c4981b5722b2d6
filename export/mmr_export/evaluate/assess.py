"""What a model gets right on data sets: all figures of `mmr evaluate`, with intervals, as plain values.

Classification is zero-shot: the names of the classes through the text tower, scale * cosine, softmax over the classes.
Intervals draw whole groups (titles, videos, recordings) of the queries; the candidates stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmr_export.data.datasets import Dataset, Item
from mmr_export.evaluate.bootstrap import LEAST_GROUPS, intervals
from mmr_export.evaluate.classification import (
    ClassReport,
    average_precisions,
    calibration,
    confusion,
    first_right,
    softmax,
)
from mmr_export.evaluate.encoders import AT_ONCE, Encoder
from mmr_export.evaluate.published import published_tables
from mmr_export.evaluate.retrieval import Recall, first_candidates, hubness, modality_gap, occurrences, partner_ranks
from mmr_export.evaluate.tables import Reading, Side, Table, class_table
from mmr_runtime.errors import InputError

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Rows = NDArray[np.int64]
READINGS: dict[Reading, str] = {"share": "of the first three", "posterior": "posterior"}
BETWEEN = "pages and songs"
"""Where the figures of a page and a song data set together stand."""

OF_A_CLASS = ("average precision", "precision", "recall", "F1")
_OVER_ALL = 3
_OF_RANKS = ("R@1", "R@5", "R@10", "median rank")


@dataclass(frozen=True, eq=False)
class Judged:
    """Items of one data set with their vectors.

    Attributes:
        dataset: where they come from.
        items: those that are judged.
        chosen: which ones these are, in words.
        vectors: unit rows (n, d).
    """

    dataset: Dataset
    items: Sequence[Item]
    chosen: str
    vectors: Floats

    @property
    def labels(self) -> Labels:
        """Whether an item has a class, (n, k)."""
        return np.array([[name in item.labels for name in self.dataset.classes] for item in self.items])

    @property
    def groups(self) -> list[str]:
        """Of every item."""
        return [item.group for item in self.items]

    @property
    def side(self) -> Side:
        """As queries or candidates of a table."""
        return Side(self.labels, self.dataset.classes, self.groups)


@dataclass(frozen=True, eq=False)
class Assessment:
    """All that was found.

    Attributes:
        model: its name.
        data: name of a data set -> its figures; a figure with an interval is [value, low, high], where low and high are
            NaN if all queries are of one group. `baseline`: the same constant answer for every item; for pairs, a
            random order.
        tables: of genres and moods, where there are pages and songs.
        arrays: what plots are made of: `posterior` and `labels` (n, k) by data set, `occurrences` (m,) of songs.
    """

    model: str
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    arrays: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not known is null."""
        tables = {
            t.title: {"rows": t.rows, "columns": t.columns, "values": t.values.tolist(), "low": t.low.tolist()}
            | {"high": t.high.tolist(), "queries": t.counts.tolist()}
            for t in self.tables
        }
        plain: dict[str, Any] = _plain({"schema": 1, "model": self.model, "data": self.data, "tables": tables})
        return plain


def assess(
    encoder: Encoder,
    chosen: Sequence[tuple[Dataset, Sequence[Item], str]],
    *,
    as_published: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Assessment:
    """Judge a model.

    Args:
        encoder: the model.
        chosen: data sets, which of their items are judged, and in words which ones these are.
        as_published: make the tables of genres and moods the way of the paper's code, too.
        progress: told how many pictures and clips of all are read.

    Raises:
        InputError: there is nothing to judge by.
    """
    found = Assessment(encoder.name)
    judged: dict[str, Judged] = {}
    total = sum(len(items) for dataset, items, _ in chosen if dataset.modality != "features")
    read = 0
    progress(read, total)
    for dataset, items, words in chosen:
        if dataset.modality == "features":
            found.data[dataset.name] = {"items": len(items), "judged": words, **_paired(encoder, items)}
            continue
        embed = encoder.images if dataset.modality == "image" else encoder.clips
        rows = []
        for start in range(0, len(items), AT_ONCE):
            rows.append(embed(items[start : start + AT_ONCE]).astype(np.float64))
            read += len(rows[-1])
            progress(read, total)
        part = Judged(dataset, items, words, np.concatenate(rows))
        judged[dataset.modality] = part
        figures, arrays = _classified(encoder, part)
        found.data[dataset.name], found.arrays[dataset.name] = figures, arrays
    if {"image", "audio"} <= judged.keys() and all(part.dataset.classes for part in judged.values()):
        pages, songs = judged["image"], judged["audio"]
        tables, found.data[BETWEEN], counts = _between(encoder, pages, songs, as_published)
        found.arrays[BETWEEN] = {"occurrences": counts}
        return Assessment(found.model, found.data, tables, found.arrays)
    return found


def _classified(encoder: Encoder, part: Judged) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    dataset, labels, groups = part.dataset, part.labels, np.array(part.groups)
    if not dataset.classes:
        return _told(encoder, part)
    if not labels.any(axis=1).all():
        raise InputError(f"{dataset.name} holds items without a label", "give every item a label, or a text")
    prompts = encoder.texts(dataset.prompts).astype(np.float64)
    scale = encoder.scales["image_text" if dataset.modality == "image" else "audio_text"]
    posterior = softmax(scale * (part.vectors @ prompts.T))
    found = _with_intervals(lambda rows: _scores(labels[rows], posterior[rows]), part.groups)
    by_class = found[_OVER_ALL:].reshape(len(OF_A_CLASS), len(dataset.classes), 3)
    by_class[:, [len(set(groups[has])) < LEAST_GROUPS for has in labels.T], 1:] = np.nan
    shares = labels.mean(axis=0)
    figures = {
        "items": len(part.items),
        "judged": part.chosen,
        "groups": len(set(part.groups)),
        **dict(zip(("accuracy", "mAP", "calibration error"), found[:_OVER_ALL].tolist(), strict=True)),
        "baseline": {"accuracy": float(shares.max()), "mAP": float(shares[shares > 0].mean())},
        "modality gap": modality_gap(part.vectors, prompts),
        "classes": {
            name: {**dict(zip(OF_A_CLASS, by_class[:, i].tolist(), strict=True)), "items": int(labels[:, i].sum())}
            for i, name in enumerate(dataset.classes)
        },
        "confusion": confusion(labels, posterior).tolist(),
        "classes without items": [name for name, share in zip(dataset.classes, shares, strict=True) if not share],
    }
    folds = [item.fold for item in part.items if item.fold is not None]
    if len(folds) == len(part.items):
        figures["folds"] = _by_fold(np.array(folds), labels, posterior)
    return figures, {"posterior": posterior, "labels": labels}


def _by_fold(folds: Rows, labels: Labels, posterior: Floats) -> dict[str, Any]:
    """Accuracy of every fold, their mean, and their standard deviation (n - 1)."""
    values = {int(f): first_right(labels[folds == f], posterior[folds == f]) for f in np.unique(folds)}
    accuracies = list(values.values())
    spread = float(np.std(accuracies, ddof=1)) if len(values) > 1 else math.nan
    return {"accuracy": values, "mean": float(np.mean(accuracies)), "standard deviation": spread}


def _scores(labels: Labels, posterior: Floats) -> Floats:
    """Accuracy, mAP, calibration error, then `OF_A_CLASS`, each of all k classes: (`_OVER_ALL` + 4 k,)."""
    precisions = average_precisions(labels, posterior)
    report = ClassReport.of(confusion(labels, posterior))
    over_all = first_right(labels, posterior), _mean(precisions), calibration(labels, posterior).error
    return np.concatenate([over_all, precisions, report.precision, report.recall, report.f1])


def _told(encoder: Encoder, part: Judged) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Items with free text: each is a query for its own text, and the other way round."""
    texts = encoder.texts([item.text for item in part.items]).astype(np.float64)
    found = _both_ways(part.vectors, texts, part.groups, ("item to text", "text to item"))
    return {"items": len(part.items), "judged": part.chosen, **found}, {}


def _paired(encoder: Encoder, items: Sequence[Item]) -> dict[str, Any]:
    heard, seen = (rows.astype(np.float64) for rows in encoder.pairs(items))
    return _both_ways(heard, seen, [item.group for item in items], ("music to video", "video to music"))


def _both_ways(first: Floats, second: Floats, groups: Sequence[str], ways: tuple[str, str]) -> dict[str, Any]:
    similarity, n = first @ second.T, len(first)
    return {
        "baseline": dict(zip(_OF_RANKS, [*(min(k / n, 1.0) for k in (1, 5, 10)), (n + 1) / 2], strict=True)),
        **{way: _recall(values, groups) for way, values in zip(ways, (similarity, similarity.T), strict=True)},
        "modality gap": modality_gap(first, second),
        "hubness": _hubness(first_candidates(similarity), len(second), groups),
    }


def _recall(similarity: Floats, groups: Sequence[str]) -> dict[str, Any]:
    ranks = partner_ranks(similarity)

    def figures(rows: Rows) -> Floats:
        return np.array(astuple(Recall.of(ranks[rows])))

    return dict(zip(_OF_RANKS, _with_intervals(figures, groups).tolist(), strict=True))


def _hubness(nearest: Rows, candidates: int, groups: Sequence[str]) -> list[float]:
    """Hubness, with its interval over the groups of the queries; nearest (n, 10) as of `first_candidates`."""
    value, low, high = _with_intervals(
        lambda rows: np.array([hubness(occurrences(nearest[rows], candidates))]), groups
    )[0]
    return [float(value), float(low), float(high)]


def _between(
    encoder: Encoder, pages: Judged, songs: Judged, as_published: bool
) -> tuple[tuple[Table, ...], dict[str, Any], Rows]:
    """The paper's tables, how pages and songs lie to each other, and how many pages have a song among their first."""
    similarity = pages.vectors @ songs.vectors.T
    scale = encoder.scales["audio_image"]
    ways = (
        ("genre to mood", similarity, pages.side, songs.side),
        ("mood to genre", similarity.T, songs.side, pages.side),
    )
    tables = [
        class_table(f"{name}, {what}", values, queries, candidates, scale, reading)
        for reading, what in READINGS.items()
        for name, values, queries, candidates in ways
    ]
    if as_published:
        tables += _published(similarity, pages, songs, scale)
    nearest = first_candidates(similarity)
    figures = {
        "pages": len(pages.items),
        "songs": len(songs.items),
        "modality gap": modality_gap(pages.vectors, songs.vectors),
        "hubness": _hubness(nearest, len(songs.items), pages.groups),
    }
    return tuple(tables), figures, occurrences(nearest, len(songs.items))


def _published(similarity: Floats, pages: Judged, songs: Judged, scale: float) -> list[Table]:
    genres, moods = pages.dataset.classes, songs.dataset.classes
    found = published_tables(
        similarity.T,
        songs.labels.argmax(axis=1).tolist(),
        pages.labels.argmax(axis=1).tolist(),
        len(moods),
        len(genres),
        scale,
    )
    names = ("genre to mood", genres, moods, pages), ("mood to genre", moods, genres, songs)
    return [
        Table(f"{name}, as published", r, c, v, np.full_like(v, np.nan), np.full_like(v, np.nan), None, _counts(part))
        for (name, r, c, part), v in zip(names, found, strict=True)
    ]


def _counts(part: Judged) -> Rows:
    return np.asarray(part.labels.sum(axis=0), np.int64)


def _with_intervals(statistic: Callable[[Rows], Floats], groups: Sequence[str]) -> Floats:
    """Figures (f,) of items by index: value, low and high of each, (f, 3)."""
    return np.vstack([statistic(np.arange(len(groups))), intervals(statistic, groups)]).T


def _mean(values: Floats) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else math.nan


def _plain(value: Any) -> Any:
    """For JSON, which knows no NaN."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
