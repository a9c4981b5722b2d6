"""A soundtrack page by page, for a reader whose next page is not known.

The plan changes songs where the future pages gain more than the cost of a change. The follower cannot see them; it
waits until the pages already read would have paid that cost (the cumulative sum test of Page 1954, "Continuous
inspection schemes"). What it knows is an explicit value, `Reading`, and time is given, never read: equal turns give
equal music.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import UsageError
from mmr_runtime.soundtrack.options import DEFAULTS, Affinity, Floats, Options, blend
from mmr_runtime.soundtrack.planning import check_wishes


@dataclass(frozen=True, eq=False)
class Front:
    """Where new pages are read, and what speaks for a change there.

    Attributes:
        page: the new page that was read last.
        song: what plays there.
        since: when it began, seconds.
        pages: new pages read since it began, counting the first.
        resting: songs that played just before, newest first.
        level: float64 (songs,), smoothed affinities of the page.
        lead: float64 (songs,), by how much each song has been better than `song`, summed over the last pages on which
            that sum stayed above 0; units of affinity.
        streak: int64 (songs,), on how many of them it was better.
    """

    page: int
    song: int
    since: float
    pages: int
    resting: tuple[int, ...]
    level: Floats
    lead: Floats
    streak: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reading:
    """All that the follower knows of a reader.

    Attributes:
        page: where the reader is, None before the first page.
        song: what plays, None before the first page.
        time: when the reader came to the page, seconds.
        played: page -> what played there when it was read.
        front: where new pages are read; None before the first.
    """

    page: int | None = None
    song: int | None = None
    time: float = 0.0
    played: Mapping[int, int] = field(default_factory=dict)
    front: Front | None = None


class Follower:
    """Decides at each turn of a page what plays.

    A song stays until another has been better on at least half of `min_pages` pages, by more than the cost of a change
    in sum: by just the margin on `min_pages` pages, or by more on fewer. No page counts for more than two margins, so
    an odd page is soon forgotten. It stays at least `min_pages` new pages and
    `min_seconds`; songs that rest do not come. On a page read before plays what played there, and after it, on the way
    forward, all goes on as if the reader had never gone back. A page that follows another within `skim_seconds` changes
    nothing; call `turn` again for the same page when the reader has stayed, and it counts.

    Args:
        options: the reader's taste.
        spread: of the affinities (`spread` of pages known before, of this book or of others).
        pins: page -> song that plays there.
        bans: songs that never play.
    """

    def __init__(
        self,
        options: Options = DEFAULTS,
        *,
        spread: float,
        pins: Mapping[int, int] | None = None,
        bans: Collection[int] = (),
    ) -> None:
        if not 0 <= spread < np.inf:
            raise UsageError(f"a spread cannot be {spread}", "measure it with `spread`")
        self._options = options
        self._cost = np.inf if options.one_song else options.switch_cost(spread)
        self._patience = (options.min_pages + 1) // 2
        # Of one page in a lead; where changes are free, a lead says only which song is better.
        self._most = self._cost / self._patience or np.inf
        self._pins = dict(pins or {})
        self._bans = sorted(set(bans))

    def turn(self, reading: Reading, page: int, affinity: Affinity, now: float) -> Reading:
        """What is known, and plays, after a turn.

        Args:
            reading: what was known before; `Reading()` at the start.
            page: where the reader is now, from 0; any page.
            affinity: finite floats (songs,) of that page, songs in the same order at all turns.
            now: seconds on any clock that does not run backwards.

        Raises:
            UsageError: the affinities do not fit those before, or time ran backwards.
        """
        self._check(reading, page, affinity)
        if now < reading.time and reading.page is not None:
            raise UsageError(f"time ran backwards, from {reading.time} to {now}", "use a monotonic clock")
        if page in reading.played:
            known = page == reading.page or not self._skims(reading, now)
            song = reading.played[page] if known else reading.song
            return replace(reading, page=page, song=song, time=reading.time if page == reading.page else now)
        if self._skims(reading, now):
            return reading if page == reading.page else replace(reading, page=page, time=now)
        front = self._read(reading, page, np.asarray(affinity, np.float64), now)
        time = reading.time if page == reading.page else now
        return Reading(page, front.song, time, {**reading.played, page: front.song}, front)

    def _skims(self, reading: Reading, now: float) -> bool:
        return reading.page is not None and now - reading.time < self._options.skim_seconds

    def _read(self, reading: Reading, page: int, row: Floats, now: float) -> Front:
        """The front after a new page."""
        front = reading.front
        if front is None:
            allowed = row.copy()
            allowed[self._bans] = -np.inf
            return self._begin(page, self._pins.get(page, int(allowed.argmax())), now, (), row)
        if page != front.page + 1 and reading.song is not None and reading.song != front.song:
            # From a page read before the reader went elsewhere: what plays goes on.
            front = self._begin(page, reading.song, now, self._rested(front), front.level)
            front = replace(front, pages=0)
        level = np.asarray(blend(front.level, row, self._options.smoothing), np.float64)
        better = level - level[front.song]
        lead = np.maximum(0, front.lead + np.minimum(better, self._most))
        streak = np.where(lead > 0, front.streak + (better > 0), 0)
        front = replace(front, page=page, pages=front.pages + 1, level=level, lead=lead, streak=streak)
        song = self._pins.get(page, self._challenger(front, now))
        return front if song == front.song else self._begin(page, song, now, self._rested(front), level)

    def _challenger(self, front: Front, now: float) -> int:
        """The song that has earned its place, or the one that plays."""
        stayed = front.pages > self._options.min_pages and now - front.since >= self._options.min_seconds
        lead = np.where(front.streak >= self._patience, front.lead, 0)
        lead[[*self._bans, *front.resting]] = 0
        best = int(lead.argmax())
        return best if stayed and lead[best] > self._cost else front.song

    def _rested(self, front: Front) -> tuple[int, ...]:
        """The songs that rest once another follows this one: with it, as many as must lie between two plays."""
        return (front.song, *front.resting)[: max(self._options.rest - 1, 0)]

    def _begin(self, page: int, song: int, now: float, resting: tuple[int, ...], level: Floats) -> Front:
        return Front(page, song, now, 1, resting, level, np.zeros(len(level)), np.zeros(len(level), np.int64))

    def _check(self, reading: Reading, page: int, affinity: Affinity) -> None:
        if page < 0:
            raise UsageError(f"there is no page {page}", "count pages from 0")
        if affinity.ndim != 1 or (reading.front is not None and len(affinity) != len(reading.front.level)):
            raise UsageError(
                f"affinities of shape {affinity.shape} do not fit", "give (songs,), the same songs at each turn"
            )
        if not np.isfinite(affinity).all():
            raise UsageError("affinities must be finite", "leave out songs that could not be read")
        check_wishes(len(affinity), self._pins, self._bans)
