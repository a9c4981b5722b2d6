"""What a reader may wish of a soundtrack, and what the plan and the follower share: smoothing, spread and margin.

Both weigh a change of song alike. A margin, in units of affinity, is what another song must be better by on each page;
over `min_pages` pages that makes the cost of a change, which the plan subtracts and the follower waits for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import UsageError

Floats = NDArray[np.float64]
Affinity = NDArray[np.floating]
"""Floats (pages, songs): how well each song fits each page."""


@dataclass(frozen=True)
class Options:
    """A reader's taste.

    Attributes:
        change: 0 to 1, how readily the music changes. A change must earn `margin` more on each of `min_pages` pages
            than the song before; the margin is the spread of the affinities times (1 - change) / change: none at 1,
            one spread at 0.5, and at 0 there is no change at all.
        min_pages: pages that a song stays at least; a shorter book is one segment.
        rest: a song may return only after at least this many other segments.
        smoothing: 0 to below 1, the weight of what came before in the affinity of a page; see `smooth`.
        one_song: the best single song for the whole book.
        min_seconds: for the follower: seconds that a song stays at least.
        skim_seconds: for the follower: a page left sooner was not read, and changes nothing.
    """

    change: float = 0.5
    min_pages: int = 4
    rest: int = 2
    smoothing: float = 0.25
    one_song: bool = False
    min_seconds: float = 30.0
    skim_seconds: float = 1.5

    def __post_init__(self) -> None:
        if not 0 <= self.change <= 1:
            raise UsageError(
                f"change must be between 0 and 1, not {self.change}", "0 keeps one song, 1 changes most often"
            )
        if self.min_pages < 1:
            raise UsageError(f"min pages must be at least 1, not {self.min_pages}", "1 lets every page have its song")
        if self.rest < 0:
            raise UsageError(f"rest must be at least 0, not {self.rest}", "0 lets a song return at once")
        if not 0 <= self.smoothing < 1:
            raise UsageError(f"smoothing must be from 0 to below 1, not {self.smoothing}", "0 takes pages as they are")
        for name, value in (("min seconds", self.min_seconds), ("skim seconds", self.skim_seconds)):
            if not 0 <= value < math.inf:
                raise UsageError(f"{name} must be at least 0 and finite, not {value}", "0 turns it off")

    def margin(self, spread: float) -> float:
        """What another song must be better by on a page, in units of affinity; infinite where nothing may change.

        Args:
            spread: of the affinities, see `spread`.
        """
        return spread * (1 - self.change) / self.change if self.change > 0 else math.inf

    def switch_cost(self, spread: float) -> float:
        """What one change of song costs, in units of affinity: the margin on each of `min_pages` pages."""
        return self.margin(spread) * self.min_pages


DEFAULTS = Options()


def spread(affinity: Affinity) -> float:
    """How much affinities differ for reasons that a change of song could use, in units of affinity.

    The root mean square of what is left of (pages, songs) after the mean of each page and of each song is taken off:
    what a page adds to all songs moves no choice, and what a song has on all pages calls for no change. With affinities
    standardised by song over reference pages it is about 1.
    """
    values = np.asarray(affinity, np.float64)
    if not values.size:
        return 0.0
    values = values - values.mean(axis=1, keepdims=True)
    values -= values.mean(axis=0)
    return math.sqrt(float(np.einsum("ps,ps->", values, values)) / values.size)


def smooth(affinity: Affinity, weight: float) -> Affinity:
    """Affinities smoothed over the pages read so far, (pages, songs) in the given type.

    A page keeps 1 - weight of its own and takes `weight` of the smoothed page before it (exponential smoothing). It
    looks back only: music never changes before the page that gives the reason is seen.
    """
    if not weight:
        return affinity
    smoothed = np.array(affinity)
    for before, row in pairwise(smoothed):
        row[:] = blend(before, row, weight)
    return smoothed


def blend(before: Affinity, row: Affinity, weight: float) -> Affinity:
    """One step of `smooth`: a smoothed page (songs,) from the smoothed page before it and its own affinities."""
    return before * weight + row * (1 - weight)
