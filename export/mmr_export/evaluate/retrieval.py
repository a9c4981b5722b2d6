"""Figures of retrieval and of the space itself; NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def partner_ranks(similarity: Floats) -> NDArray[np.int64]:
    """Rank, from 1, of the partner of every query, (n,): the candidate of the same index.

    Candidates that are as similar stand before it: a model that says the same of everything finds nothing.

    Args:
        similarity: (n, n), queries by candidates.
    """
    return np.asarray((similarity >= similarity.diagonal()[:, None]).sum(axis=1))


@dataclass(frozen=True)
class Recall:
    """How often the partner is among the first 1, 5 and 10, and the median of its rank (VM-NET, Hong et al. 2017)."""

    at_1: float
    at_5: float
    at_10: float
    median_rank: float

    @classmethod
    def of(cls, ranks: NDArray[np.int64]) -> Recall:
        """From ranks (n,)."""
        one, five, ten = (float((ranks <= k).mean()) for k in (1, 5, 10))
        return cls(one, five, ten, float(np.median(ranks)))


def first_candidates(similarity: Floats, k: int = 10) -> NDArray[np.int64]:
    """The k candidates nearest to every query, in no order, (n, k); all where there are fewer. Similarity (n, m)."""
    k = min(k, similarity.shape[1])
    return np.argpartition(-similarity, k - 1, axis=1)[:, :k]


def occurrences(first: NDArray[np.int64], candidates: int) -> NDArray[np.int64]:
    """How many queries have each candidate among their first, (m,).

    Args:
        first: (n, k), of `first_candidates`.
        candidates: m.
    """
    return np.bincount(first.ravel(), minlength=candidates)


def hubness(counts: NDArray[np.int64]) -> float:
    """Skewness of occurrences (Radovanović et al. 2010): 0 for a space without hubs; NaN if all are equal."""
    centred = counts - counts.mean()
    spread = counts.std()
    return float(np.mean(centred**3) / spread**3) if spread else float("nan")


def modality_gap(first: Floats, second: Floats) -> float:
    """Distance of the means of two modalities' unit rows, (n, d) and (m, d) (Liang et al. 2022).

    A bootstrap says nothing of it: where the means are near, every draw takes them apart.
    """
    return float(np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)))
