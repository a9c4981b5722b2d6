"""Bootstrap intervals that draw whole groups (titles, videos, recordings): items of one group are alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
ROUNDS = 1000
LEAST_GROUPS = 2
"""Fewer give the same figure in every draw, and no interval."""


def members(groups: Sequence[str]) -> list[Rows]:
    """Indices of the items of every group."""
    _, place, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    return np.split(np.argsort(place, kind="stable"), np.cumsum(counts)[:-1])


def draws(count: int) -> Iterator[Rows]:
    """`ROUNDS` draws, with repetitions, of as many groups as there are; the seed is fixed."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, count, count) for _ in range(ROUNDS))


def percentiles(drawn: Floats) -> Floats:
    """2.5 and 97.5 %, (2, ...), of draws (rounds, ...) that are not NaN; NaN where there are none."""
    known = ~np.isnan(drawn).all(axis=0)
    found = np.full((2, *drawn.shape[1:]), np.nan)
    if known.any():
        found[:, known] = np.nanpercentile(drawn[:, known], [2.5, 97.5], axis=0)
    return found


def intervals(statistic: Callable[[Rows], Floats], groups: Sequence[str]) -> Floats:
    """95 % intervals, (2, ...), of figures (...).

    Args:
        statistic: figures of items by index, with repetitions.
        groups: of every item; of a single one, all intervals are NaN.
    """
    parts = members(groups)
    if len(parts) < LEAST_GROUPS:
        return np.full((2, *statistic(np.concatenate(parts)).shape), np.nan)
    return percentiles(np.stack([statistic(np.concatenate([parts[i] for i in draw])) for draw in draws(len(parts))]))
