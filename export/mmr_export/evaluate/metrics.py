"""Figures of mood readings and song choices; NumPy only.

Grades are 0 absent, 1 hint, 2 present, 3 dominant. A reading is any real score, higher meaning more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def gain(grades: Floats, scores: Floats) -> float:
    """Mean grade of each item's first mood; 0 = the best constant answer, 1 = the highest grade every time.

    Args:
        grades: (n, k).
        scores: (n, k).
    """
    got = grades[np.arange(len(grades)), scores.argmax(axis=1)].mean()
    constant, best = grades.mean(axis=0).max(), grades.max(axis=1).mean()
    return float((got - constant) / (best - constant)) if best > constant else float("nan")


def auc(positive: NDArray[np.bool_], scores: Floats) -> float:
    """Area under the ROC curve: how often a positive outranks a negative, ties counted half; NaN without both.

    Args:
        positive: (n,).
        scores: (n,).
    """
    p, n = int(positive.sum()), int((~positive).sum())
    if not p or not n:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * n))


def mood_aucs(grades: Floats, scores: Floats, least: int = 4) -> Floats:
    """AUC of "grade >= 2" against "grade 0" for every mood (k,); NaN with fewer than `least` on a side."""
    values = []
    for g, s in zip(grades.T, scores.T, strict=True):
        clear = (g >= 2) | (g == 0)
        enough = min((g >= 2).sum(), (g == 0).sum()) >= least
        values.append(auc(g[clear] >= 2, s[clear]) if enough else float("nan"))
    return np.array(values)


def auc_within(groups: Sequence[str], grades: Floats, scores: Floats) -> float:
    """Mean of `mood_aucs` over titles and moods: a title's overall tone cannot help."""
    names = np.array(groups)
    cells = [mood_aucs(grades[names == g], scores[names == g]) for g in sorted(set(groups))]
    return float(np.nanmean(np.concatenate(cells)))


def first_right(grades: Floats, scores: Floats, standardise: bool = True) -> float:
    """Share of items whose first mood is one graded 2 or more; scores standardised per mood over the items before."""
    if standardise:
        scores = (scores - scores.mean(axis=0)) / (scores.std(axis=0) + 1e-9)
    return float((grades[np.arange(len(grades)), scores.argmax(axis=1)] >= 2).mean())


def choice_gain(pages: Floats, songs: Floats, chosen: NDArray[np.int64]) -> float:
    """Worth of chosen songs; 0 = the best single song for all pages, 1 = the best song for each.

    Args:
        pages: (n, 7) grades.
        songs: (m, 7), share of each intended mood; rows sum to 1.
        chosen: (n,) song of each page.
    """
    value = pages @ songs.T
    constant, best = value.mean(axis=0).max(), value.max(axis=1).mean()
    return float((value[np.arange(len(pages)), chosen].mean() - constant) / (best - constant))


def precision_at(pages: Floats, songs: Floats, ranked: NDArray[np.int64], k: int = 5) -> tuple[float, float]:
    """Share of relevant songs among the first k, and by chance, over pages with a mood graded 2 or more.

    A song is relevant when one of its moods is the page's highest (the protocol of Emo-CLIM, Stewart et al. 2024).

    Args:
        pages: (n, 7) grades.
        songs: (m, 7), share of each intended mood.
        ranked: (n, >= k) songs, best first.
        k: how many count.
    """
    judged = pages.max(axis=1) >= 2
    fits = relevant(pages, songs)[judged]
    return float(np.take_along_axis(fits, ranked[judged][:, :k], axis=1).mean()), float(fits.mean())


def relevant(pages: Floats, songs: Floats) -> NDArray[np.bool_]:
    """Whether one of a song's moods is the page's highest, bool (n, m); pages (n, 7) grades, songs (m, 7) shares."""
    top = (pages == pages.max(axis=1, keepdims=True)).astype(float)
    return np.asarray(top @ (songs > 0).T > 0)


def interval(statistic: Callable[[NDArray[np.int64]], float], n: int, rounds: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of statistic(indices) over n resampled items, seed fixed."""
    rng = np.random.default_rng(0)
    low, high = np.nanpercentile([statistic(rng.integers(0, n, n)) for _ in range(rounds)], [2.5, 97.5])
    return float(low), float(high)
