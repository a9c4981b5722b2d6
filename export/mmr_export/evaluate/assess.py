"""What a model gets right on data sets: all figures of `mmr evaluate`, with intervals, as plain values.

Classification is zero-shot: the names of the classes through the text tower, scale * cosine, softmax over the classes.
Intervals draw whole groups (titles, videos, recordings) where a class has several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmr_export.data.datasets import Dataset, Item
from mmr_export.evaluate.classification import (
    ClassReport,
    average_precisions,
    calibration,
    confusion,
    first_right,
    group_interval,
    softmax,
)
from mmr_export.evaluate.encoders import Encoder
from mmr_export.evaluate.published import published_tables
from mmr_export.evaluate.retrieval import Recall, hubness, modality_gap, occurrences, partner_ranks
from mmr_export.evaluate.tables import Reading, Side, Table, class_table
from mmr_runtime.errors import InputError

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Rows = NDArray[np.int64]
READINGS: dict[Reading, str] = {"share": "of the first three", "posterior": "posterior"}
BETWEEN = "pages and songs"
"""Where the figures of a page and a song data set together stand."""


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
        data: name of a data set -> its figures; a figure with an interval is [value, low, high].
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
    encoder: Encoder, chosen: Sequence[tuple[Dataset, Sequence[Item], str]], *, as_published: bool = False
) -> Assessment:
    """Judge a model.

    Args:
        encoder: the model.
        chosen: data sets, which of their items are judged, and in words which ones these are.
        as_published: make the tables of genres and moods the way of the paper's code, too.

    Raises:
        InputError: there is nothing to judge by.
    """
    found = Assessment(encoder.name)
    judged: dict[str, Judged] = {}
    for dataset, items, words in chosen:
        if dataset.modality == "features":
            found.data[dataset.name] = {"items": len(items), "judged": words, **_paired(encoder, items)}
            continue
        embed = encoder.images if dataset.modality == "image" else encoder.clips
        part = Judged(dataset, items, words, embed(items).astype(np.float64))
        judged[dataset.modality] = part
        figures, arrays = _classified(encoder, part)
        found.data[dataset.name], found.arrays[dataset.name] = figures, arrays
    if {"image", "audio"} <= judged.keys() and all(part.dataset.classes for part in judged.values()):
        pages, songs = judged["image"], judged["audio"]
        tables, found.data[BETWEEN] = _between(encoder, pages, songs, as_published)
        found.arrays[BETWEEN] = {"occurrences": occurrences(pages.vectors @ songs.vectors.T)}
        return Assessment(found.model, found.data, tables, found.arrays)
    return found


def _classified(encoder: Encoder, part: Judged) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    dataset, n = part.dataset, len(part.items)
    scale = encoder.scales["image_text" if dataset.modality == "image" else "audio_text"]
    if not dataset.classes:
        return _told(encoder, part)
    labels = part.labels
    if not labels.any(axis=1).all():
        raise InputError(f"{dataset.name} holds items without a label", "give every item a label, or a text")
    prompts = encoder.texts(dataset.prompts).astype(np.float64)
    cosines = part.vectors @ prompts.T
    posterior = softmax(scale * cosines)
    precisions = average_precisions(labels, posterior)
    report = ClassReport.of(confusion(labels, posterior))
    reliability = calibration(labels, posterior)
    figures = {
        "items": n,
        "judged": part.chosen,
        "groups": len(set(part.groups)),
        "accuracy": _with_interval(lambda rows: first_right(labels[rows], posterior[rows]), part),
        "mAP": _with_interval(lambda rows: _mean(average_precisions(labels[rows], posterior[rows])), part),
        "chance": {"accuracy": float(labels.mean(axis=0).max()), "mAP": float(labels.mean(axis=0).mean())},
        "calibration error": reliability.error,
        "modality gap": modality_gap(part.vectors, prompts),
        "classes": {
            name: {
                "average precision": precisions[i],
                "precision": report.precision[i],
                "recall": report.recall[i],
                "F1": report.f1[i],
                "items": report.support[i],
            }
            for i, name in enumerate(dataset.classes)
        },
        "confusion": confusion(labels, posterior).tolist(),
        "classes without items": [name for name, p in zip(dataset.classes, precisions, strict=True) if np.isnan(p)],
    }
    folds = [item.fold for item in part.items]
    if None not in folds:
        values = {
            f: first_right(labels[rows], posterior[rows])
            for f in sorted({f for f in folds if f is not None})
            if len(rows := np.flatnonzero(np.array(folds) == f))
        }
        spread = float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else math.nan
        figures["folds"] = {
            "accuracy": {str(f): value for f, value in values.items()},
            "mean": float(np.mean(list(values.values()))),
            "standard deviation": spread,
        }
    return figures, {"posterior": posterior, "labels": labels}


def _told(encoder: Encoder, part: Judged) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Items with free text: each is a query for its own text, and the other way round."""
    texts = encoder.texts([item.text for item in part.items]).astype(np.float64)
    return {"items": len(part.items), "judged": part.chosen, **_both_ways(part.vectors, texts, "text")}, {}


def _paired(encoder: Encoder, items: Sequence[Item]) -> dict[str, Any]:
    heard, seen = (rows.astype(np.float64) for rows in encoder.pairs(items))
    return _both_ways(heard, seen, "partner")


def _both_ways(first: Floats, second: Floats, name: str) -> dict[str, Any]:
    similarity = first @ second.T
    ways = {f"item to {name}": similarity, f"{name} to item": similarity.T}
    return {
        **{way: _recall(values) for way, values in ways.items()},
        "modality gap": modality_gap(first, second),
        "hubness": hubness(similarity),
    }


def _recall(similarity: Floats) -> dict[str, Any]:
    """Recall@1, 5, 10 and median rank, each with an interval over the queries; the candidates stay."""
    ranks, rng = partner_ranks(similarity), np.random.default_rng(0)
    drawn = [Recall.of(ranks[rng.integers(0, len(ranks), len(ranks))]) for _ in range(300)]
    found = {}
    for key, name in (("at_1", "R@1"), ("at_5", "R@5"), ("at_10", "R@10"), ("median_rank", "median rank")):
        low, high = np.percentile([getattr(d, key) for d in drawn], [2.5, 97.5])
        found[name] = [float(getattr(Recall.of(ranks), key)), float(low), float(high)]
    return found


def _between(
    encoder: Encoder, pages: Judged, songs: Judged, as_published: bool
) -> tuple[tuple[Table, ...], dict[str, Any]]:
    """The paper's tables, and how pages and songs lie to each other."""
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
    gap = {
        "pages": len(pages.items),
        "songs": len(songs.items),
        "modality gap": modality_gap(pages.vectors, songs.vectors),
        "hubness": hubness(similarity),
    }
    return tuple(tables), gap


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


def _with_interval(statistic: Callable[[Rows], float], part: Judged) -> list[float]:
    return [statistic(np.arange(len(part.items))), *group_interval(statistic, part.groups)]


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
