"""A soundtrack for a whole book whose pages are all known."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from mmr_runtime.errors import UsageError
from mmr_runtime.soundtrack.options import DEFAULTS, Affinity, Options, smooth, spread
from mmr_runtime.soundtrack.segments import Segment, describe
from mmr_runtime.soundtrack.solve import solve
from mmr_runtime.soundtrack.task import Span


def plan_segments(
    affinity: Affinity,
    options: Options = DEFAULTS,
    *,
    pins: Mapping[int, int] | None = None,
    bans: Collection[int] = (),
) -> list[Segment]:
    """The best segments of a book: the sum of affinities less the cost of changes is greatest (see `solve`).

    Equal inputs give the equal plan. Ties go to fewer changes, then to songs that come first. Pins win over `min_pages`
    and `rest` where those leave no room; all that is not pinned keeps both.

    Args:
        affinity: finite floats (pages, songs), how well each song fits each page; songs in the order of their paths.
        options: the reader's taste.
        pins: page -> song that plays there, both from 0.
        bans: songs that never play.

    Returns:
        segments in the order of pages, covering all.

    Raises:
        UsageError: there are no pages or songs, a pin or ban names what is not there, a pinned song is banned, all
            songs are, or one song is asked for and several are pinned.
    """
    pins = dict(sorted((pins or {}).items()))
    if affinity.ndim != 2 or not affinity.shape[0]:
        raise UsageError(f"affinities of shape {affinity.shape} are not those of a book", "give (pages, songs)")
    if not np.isfinite(affinity).all():
        raise UsageError("affinities must be finite", "leave out pages and songs that could not be read")
    pages, songs = affinity.shape
    check_wishes(songs, pins, bans)
    if pins and not 0 <= min(pins) <= max(pins) < pages:
        raise UsageError(f"page {max(pins) + 1} is pinned, the book has {pages}", "pin pages of the book")
    if options.one_song and len(set(pins.values())) > 1:
        raise UsageError("one song for all is asked for, and pages are pinned to several", "keep the pins of one song")
    # One order in memory: sums of floats depend on it.
    smoothed = np.ascontiguousarray(smooth(affinity, options.smoothing))
    allowed = np.setdiff1d(np.arange(songs), sorted(bans))
    usable = smoothed[:, allowed] if bans else smoothed
    numbers = {song: number for number, song in enumerate(allowed.tolist())}
    cost = math.inf if options.one_song else options.switch_cost(spread(usable))
    inner = {page: numbers[song] for page, song in pins.items()}
    solution = solve(usable, cost, options.min_pages, options.rest, inner)
    spans = [Span(span.first, span.end, int(allowed[span.song])) for span in solution.spans]
    return describe(smoothed, spans, pins, bans)


def check_wishes(songs: int, pins: Mapping[int, int], bans: Collection[int]) -> None:
    """Whether pins and bans name songs that are there, and leave some.

    Raises:
        UsageError: they do not.
    """
    if not songs:
        raise UsageError("there are no songs to choose from", "name a folder of songs")
    for song in (*pins.values(), *bans):
        if not 0 <= song < songs:
            raise UsageError(f"there is no song {song}, there are {songs}", "pin and ban songs that are there")
    for page, song in pins.items():
        if song in bans:
            raise UsageError(f"page {page + 1} is pinned to song {song}, which is banned", "lift the ban, or the pin")
    if len(set(bans)) == songs:
        raise UsageError(f"all songs ({songs}) are banned", "lift the ban of at least one")
