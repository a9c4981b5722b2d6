"""A stretch of pages with its song, and why that song."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mmr_runtime.soundtrack.options import Affinity
from mmr_runtime.soundtrack.task import Span

RUNNERS_UP = 3


@dataclass(frozen=True)
class RunnerUp:
    """A song that might have played: its number and its mean affinity over the segment."""

    song: int
    score: float


@dataclass(frozen=True)
class Segment:
    """Pages that one song plays for.

    Attributes:
        first: first page, from 0.
        last: last page, from 0, inclusive.
        song: number of the song, a column of the affinities.
        score: mean affinity of the song over the pages.
        margin: `score` less that of the best other song, None where there is no other. Negative where a better one had
            to rest, had no room among its neighbours, or gave way to a pin.
        runners_up: the best other songs that are not banned, best first.
        pinned: the segment holds a page whose song was set by hand.
    """

    first: int
    last: int
    song: int
    score: float
    margin: float | None
    runners_up: tuple[RunnerUp, ...]
    pinned: bool = False

    @property
    def pages(self) -> str:
        """As people count: `1-12`, or `5` for a single page."""
        return page_range(self.first, self.last)


def page_range(first: int, last: int) -> str:
    """Pages counted from 0 as people count them: `1-12`, or `5` for a single page."""
    return f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"


def describe(
    affinity: Affinity, spans: Iterable[Span], pins: Mapping[int, int], bans: Collection[int]
) -> list[Segment]:
    """Segments with their reasons.

    Args:
        affinity: (pages, songs).
        spans: stretches of pages with their songs.
        pins: page -> song.
        bans: songs that may not play.
    """
    banned = np.array(sorted(bans), np.int64)
    segments = []
    for span in spans:
        means = affinity[span.first : span.end].mean(axis=0, dtype=np.float64)
        score = float(means[span.song])
        means[span.song] = -np.inf
        means[banned] = -np.inf
        others = [RunnerUp(song, float(means[song])) for song in _best(means, RUNNERS_UP)]
        margin = score - others[0].score if others else None
        pinned = any(page in pins for page in range(span.first, span.end))
        segments.append(Segment(span.first, span.end - 1, span.song, score, margin, tuple(others), pinned))
    return segments


def _best(scores: Affinity, count: int) -> list[int]:
    """The best of those that are finite, best first, ties in their order."""
    count = min(count, int(np.isfinite(scores).sum()))
    if not count:
        return []
    # All that equals the last one that gets a place competes for it.
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    able = np.flatnonzero(scores >= least)
    ordered: list[int] = able[np.argsort(-scores[able], kind="stable")].tolist()
    return ordered[:count]
