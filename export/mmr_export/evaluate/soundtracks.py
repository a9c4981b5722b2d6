"""How good soundtracks are: what they play, where they change, how often; beside simple ways to make one.

A soundtrack is an array (pages,) of song numbers. What a page is worth with a song: the page's mood grades weighted by
the song's intended moods. Figures are means over pages, or ratios of such, so that pages drawn again in blocks (whose
neighbours belong together) give an interval:

- gain: worth of what plays; 0 as the best single song for all pages, 1 as the best song for each;
- regret: what the best song of each page is worth more, in grades;
- switches per 10 pages, and dwell, the mean pages of a segment;
- boundary F1: changes and starts of scenes that lie within a page of each other. Who changes on every page gets a high
  one; WindowDiff (Pevzner and Hearst 2002, the lower the better) does not forgive that;
- coherence: share of the variance of a title's grades that its segments explain; 0 by chance;
- commonest song: share of the pages that it plays on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Songs = NDArray[np.int64]
BLOCK = 6
"""Pages that are drawn together."""

NAMES = ("gain", "regret", "switches per 10 pages", "dwell", "boundary F1", "WindowDiff", "coherence", "commonest song")


@dataclass(frozen=True, eq=False)
class Truth:
    """What people said of a title of n pages.

    Attributes:
        values: (n, m), worth of every song on every page.
        grades: (n, 7) mood grades.
        starts: bool (n,), a scene begins; the first page does not count.
    """

    values: Floats
    grades: Floats
    starts: NDArray[np.bool_]


def figures(truths: Sequence[Truth], soundtracks: Sequence[Songs]) -> dict[str, float]:
    """Figures of soundtracks, one for each title; see `_Counts` for each.

    Args:
        truths: of the titles.
        soundtracks: in the same order.
    """
    return _Counts.of(truths, soundtracks).figures(slice(None))


def intervals(
    truths: Sequence[Truth], soundtracks: Sequence[Songs], rounds: int = 1000
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of the figures, over blocks of pages, seed fixed."""
    counts = _Counts.of(truths, soundtracks)
    pages = len(counts.got)
    blocks = [np.arange(start, min(start + BLOCK, pages)) for start in range(0, pages, BLOCK)]
    rng = np.random.default_rng(0)
    drawn = [
        counts.figures(np.concatenate([blocks[i] for i in rng.integers(0, len(blocks), len(blocks))]))
        for _ in range(rounds)
    ]
    found = {}
    for name in NAMES:
        low, high = np.nanpercentile([figures[name] for figures in drawn], [2.5, 97.5])
        found[name] = float(low), float(high)
    return found


@dataclass(frozen=True, eq=False)
class _Counts:
    """What the figures are made of, page by page of all titles, float64 (n,) each.

    Attributes:
        got: worth of the song that plays.
        best: worth of the best song.
        constant: worth of the best single song for all pages.
        switch: 1 where the song changes; nan on the first page of a title, which has none before.
        hit: 1 for a change within a page of a scene's start, counted where the change is.
        start: 1 where a scene starts.
        found: 1 for a start within a page of a change, counted where the start is.
        differs: 1 where the windows of WindowDiff (Pevzner and Hearst 2002) that begin here hold unequal numbers of
            starts and changes; nan where no window begins.
        within: squared distance of the page's grades to their mean over its segment, freed from the bias of few pages;
            nan for a segment of one page.
        around: the same over the title.
        song: what plays, numbered over all titles.
    """

    got: Floats
    best: Floats
    constant: Floats
    switch: Floats
    hit: Floats
    start: Floats
    found: Floats
    differs: Floats
    within: Floats
    around: Floats
    song: Songs

    @classmethod
    def of(cls, truths: Sequence[Truth], soundtracks: Sequence[Songs]) -> _Counts:
        total = sum(truth.values.sum(axis=0) for truth in truths)
        constant = int(np.argmax(total))
        columns = [_title(truth, songs, constant) for truth, songs in zip(truths, soundtracks, strict=True)]
        return cls(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))

    def figures(self, pages: slice | NDArray[np.int64]) -> dict[str, float]:
        got, best, constant = self.got[pages].mean(), self.best[pages].mean(), self.constant[pages].mean()
        switches = self.switch[pages]
        precision = _ratio(self.hit[pages], switches)
        recall = _ratio(self.found[pages], self.start[pages])
        changes, titles = float(np.nansum(switches)), int(np.isnan(switches).sum())
        within, around = self.within[pages], self.around[pages]
        is_many = np.isfinite(within)
        return {
            "gain": float((got - constant) / (best - constant)) if best > constant else float("nan"),
            "regret": float(best - got),
            "switches per 10 pages": 10 * changes / max(len(switches) - titles, 1),
            "dwell": len(switches) / max(changes + titles, 1),
            "boundary F1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
            "WindowDiff": float(np.nanmean(self.differs[pages])),
            "coherence": 1 - float(within[is_many].mean() / around[is_many].mean()) if is_many.any() else float("nan"),
            "commonest song": float(np.unique(self.song[pages], return_counts=True)[1].max() / len(self.song[pages])),
        }


def _ratio(part: Floats, whole: Floats) -> float:
    count = float(np.nansum(whole))
    return float(np.nansum(part)) / count if count else 0.0


def _title(truth: Truth, songs: Songs, constant: int) -> tuple[NDArray[np.generic], ...]:
    pages = np.arange(len(songs))
    changes = np.concatenate([[False], songs[1:] != songs[:-1]])
    starts = truth.starts.copy()
    starts[0] = False
    switch = changes.astype(np.float64)
    switch[0] = np.nan
    return (
        truth.values[pages, songs],
        truth.values.max(axis=1),
        truth.values[:, constant],
        switch,
        (changes & _near(starts)).astype(np.float64),
        starts.astype(np.float64),
        (starts & _near(changes)).astype(np.float64),
        _window_diff(starts, changes),
        _spread_within(truth.grades, np.cumsum(changes)),
        _spread_within(truth.grades, np.zeros(len(songs), np.int64)),
        songs,
    )


def _near(marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Marks, and the pages beside them."""
    wide = np.pad(marks, 1)
    return np.asarray(wide[:-2] | wide[1:-1] | wide[2:])


def _window_diff(starts: NDArray[np.bool_], changes: NDArray[np.bool_]) -> Floats:
    """1 where the numbers of starts and changes in the window differ; its length is half the mean scene's."""
    length = max(1, round(len(starts) / (starts.sum() + 1) / 2))
    differs = np.full(len(starts), np.nan)
    for at in range(len(starts) - length):
        window = slice(at + 1, at + length + 1)
        differs[at] = starts[window].sum() != changes[window].sum()
    return differs


def _spread_within(grades: Floats, group: Songs) -> Floats:
    spread = np.full(len(grades), np.nan)
    for number in np.unique(group):
        rows = np.flatnonzero(group == number)
        if len(rows) > 1:
            own = grades[rows]
            spread[rows] = ((own - own.mean(axis=0)) ** 2).sum(axis=1) * len(rows) / (len(rows) - 1)
    return spread


# -- simple ways to make a soundtrack ---------------------------------------------------------------------------------


def page_by_page(affinity: Floats) -> Songs:
    """On every page the song that fits it best."""
    return np.asarray(affinity.argmax(axis=1))


def one_song(affinity: Floats) -> Songs:
    """One song for the whole title, the best in sum."""
    return np.full(len(affinity), int(affinity.sum(axis=0).argmax()))


def random_segments(affinity: Floats, count: int, rng: np.random.Generator) -> Songs:
    """As many segments as asked for, cut anywhere, each with its best song."""
    cuts = np.sort(rng.choice(np.arange(1, len(affinity)), count - 1, replace=False))
    songs = np.empty(len(affinity), np.int64)
    for rows in np.split(np.arange(len(affinity)), cuts):
        songs[rows] = affinity[rows].sum(axis=0).argmax()
    return songs


def mean_figures(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of every figure over several soundtracks."""
    return {name: float(np.mean([row[name] for row in rows])) for name in NAMES}
