"""Figures of classification: what is said of items against what is true of them; NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]


def average_precision(positive: Labels, scores: Floats) -> float:
    """Mean precision over the recall steps: sum of (R_i - R_(i-1)) P_i over falling thresholds; NaN without positives.

    Items of equal score share a threshold, so their order does not count (scikit-learn's definition).

    Args:
        positive: (n,).
        scores: (n,).
    """
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of every threshold
    right = np.cumsum(positive[order])[last]
    return float(np.sum(np.diff(right, prepend=0) / right[-1] * right / (last + 1)))


def average_precisions(labels: Labels, scores: Floats) -> Floats:
    """Average precision of every class, (k,); labels and scores (n, k). Their mean without the NaN is the mAP."""
    return np.array([average_precision(p, s) for p, s in zip(labels.T, scores.T, strict=True)])


def first_right(labels: Labels, scores: Floats) -> float:
    """Share of items whose highest score is a label of theirs: the accuracy, where every item has one label."""
    return float(labels[np.arange(len(labels)), scores.argmax(axis=1)].mean())


def confusion(labels: Labels, scores: Floats) -> Floats:
    """Items of every class (rows) by what is said (columns), (k, k); an item of m labels counts 1/m in each."""
    said = np.eye(labels.shape[1])[scores.argmax(axis=1)]
    return np.asarray((labels / np.maximum(labels.sum(axis=1, keepdims=True), 1)).T @ said)


@dataclass(frozen=True, eq=False)
class ClassReport:
    """Of every class, each (k,): NaN where nothing was said of a class, or no item has it."""

    precision: Floats
    recall: Floats
    f1: Floats

    @classmethod
    def of(cls, matrix: Floats) -> ClassReport:
        """From a confusion matrix (k, k)."""
        right, said, support = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return cls(right / said, right / support, 2 * right / (said + support))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Reliability in bins of equal width (Guo et al. 2017).

    Attributes:
        confidence: (b,), mean of what was said, by bin; NaN for an empty one.
        accuracy: (b,), how often it was right.
        count: (b,).
        error: expected calibration error: mean distance of the two, weighted by count.
    """

    confidence: Floats
    accuracy: Floats
    count: NDArray[np.int64]
    error: float


def calibration(labels: Labels, posterior: Floats, bins: int = 10) -> Calibration:
    """How far the highest posterior of items, (n, k) with rows that sum to 1, is from how often it is right."""
    confidence = posterior.max(axis=1)
    right = labels[np.arange(len(labels)), posterior.argmax(axis=1)]
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        said, found = (np.bincount(place, values, bins) / count for values in (confidence, right.astype(float)))
    error = float(np.nansum(np.abs(said - found) * count) / len(labels))
    return Calibration(said, found, count, error)


def softmax(logits: Floats) -> Floats:
    """Rows that sum to 1, of logits (n, k)."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float64)
