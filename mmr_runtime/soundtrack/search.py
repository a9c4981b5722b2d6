"""Dynamic program over boundaries and histories, with as few songs remembered as the rule of rest needs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.soundtrack.histories import Histories, Mark, TooManyError
from mmr_runtime.soundtrack.options import Floats
from mmr_runtime.soundtrack.task import Solution, Span, Task

Indices = NDArray[np.int64]

MAX_STATES = 4_000_000
"""Boundaries times histories of one dynamic program: 32 MB."""

MAX_STEPS = 200_000_000
"""Segments times histories of one dynamic program: about half a second on a slow core."""

MAX_REPAIRS = 100
"""Times that repeats are forbidden before the simplest plan is taken."""


def search(task: Task, songs: Indices, watched: list[int]) -> Solution:
    """The best plan with some of the songs.

    Args:
        task: what is asked.
        songs: (n,) ascending, the pinned ones among them.
        watched: songs whose repeats are watched from the beginning; those that turn out to need it are added.
    """
    pages = len(task.scores)
    most = max(1, min(MAX_STATES // (pages + 1), 2 * MAX_STEPS // (pages * pages)))
    barred = np.zeros((pages, len(songs)), np.bool_)
    histories = _histories(task, watched, most)
    repairs = 0
    while repairs <= MAX_REPAIRS:
        spans = _Program(task, songs, watched, histories, barred).best()
        if spans is None:
            break
        repeats = _repeats(task, spans)
        if not repeats:
            return Solution(spans, proved=not repairs)
        more = None if repairs else _watch(task, watched, repeats, most)
        if more is not None:
            histories = more
            continue
        repairs += 1
        if not _bar(task, songs, barred, repeats):
            break
    return Solution(task.simplest(), proved=False)


def _repeats(task: Task, spans: tuple[Span, ...]) -> list[tuple[Span, Span]]:
    """Pairs of segments whose song returns too soon: within `rest`, unless both hold pins, or at once."""
    return [
        (early, late)
        for i, early in enumerate(spans)
        for distance, late in enumerate(spans[i + 1 : i + 1 + task.rest])
        if early.song == late.song and not (distance and task.is_pinned(early) and task.is_pinned(late))
    ]


def _bar(task: Task, songs: Indices, barred: NDArray[np.bool_], repeats: list[tuple[Span, Span]]) -> bool:
    """Forbid one of each pair on its pages, the shorter one, but never one that holds a pin; tell whether any was."""
    done: set[Span] = set()
    for early, late in repeats:
        free = [span for span in (late, early) if not task.is_pinned(span)]
        if free and done.isdisjoint((early, late)):
            span = min(free, key=lambda s: s.end - s.first)
            barred[span.first : span.end, np.searchsorted(songs, span.song)] = True
            done.add(span)
    return bool(done)


def _watch(task: Task, watched: list[int], repeats: list[tuple[Span, Span]], most: int) -> Histories | None:
    """Watch the songs that were repeated too, or at least one of them; None where that is too much."""
    new = sorted({early.song for early, _ in repeats})
    for some in (new, new[:1]):
        try:
            histories = _histories(task, watched + some, most)
        except TooManyError:
            continue
        watched += some
        return histories
    return None


def _histories(task: Task, watched: list[int], most: int) -> Histories:
    pinned = set(task.pins.values())
    forever = task.rest >= len(task.scores) // task.least_of_all - 1
    return Histories([song in pinned for song in watched], None if forever else task.rest, most)


class _Program:
    """The best sums of the pages from every boundary on, given what played before it.

    Args:
        task: what is asked.
        songs: (n,) that may play.
        watched: songs among them whose repeats are watched.
        histories: of the watched songs.
        barred: bool (pages, n), where a song may not play in a segment without pins.
    """

    def __init__(
        self, task: Task, songs: Indices, watched: list[int], histories: Histories, barred: NDArray[np.bool_]
    ) -> None:
        self._task = task
        self._histories = histories
        # The songs that are not watched come first, in order; then the watched ones in theirs.
        columns = {song: column for column, song in enumerate(songs.tolist())}
        order = [column for song, column in columns.items() if song not in watched] + [columns[s] for s in watched]
        self._songs: list[int] = songs[order].tolist()
        self._column = {song: column for column, song in enumerate(self._songs)}
        self._others = len(songs) - len(watched)
        self._sums = np.zeros((len(task.scores) + 1, len(songs)))
        np.cumsum(task.scores[:, self._songs], axis=0, out=self._sums[1:])
        self._barred = barred[:, order] if barred.any() else None
        self._values = self._solve()
        self._known: dict[tuple[int, int], tuple[int, list[tuple[int, int]]]] = {}

    def best(self) -> tuple[Span, ...] | None:
        """The first of the best plans: on the first page where they differ the lower song wins. None without any."""
        if self._values[0, 0] == -np.inf:
            return None
        spans = []
        first = history = 0
        while first < len(self._task.scores):
            song, ends = self._next(first, history)
            for end, after in ends:
                # Where a lower song can follow it comes now; else this one goes on as long as it can.
                if end == len(self._task.scores) or (end, after) == ends[-1] or self._next(end, after)[0] < song:
                    break
            spans.append(Span(first, end, song))
            first, history = end, after
        return tuple(spans)

    def _solve(self) -> Floats:
        """Best sums (boundaries, histories)."""
        pages = len(self._task.scores)
        values = np.full((pages + 1, len(self._histories)), -np.inf)
        values[pages] = 0
        for first in reversed(range(pages)):
            for mark, end, gains in self._moves(first):
                low, high = self._histories.blocks[mark]
                best = (values[end : end + len(gains), low:high] + gains[:, None]).max(axis=0)
                sources, targets = self._histories.steps[mark]
                values[first, sources] = np.maximum(values[first, sources], best[targets - low])
        return values

    def _moves(self, first: int) -> Iterator[tuple[Mark, int, Floats]]:
        """Segments that start at a page: mark, first possible end, and what they gain by their end (ends,)."""
        end, gains = self._free(first)
        if len(gains):
            if self._others:
                yield 0, end, gains[:, : self._others].max(axis=1)
            for watched, own in enumerate(gains.T[self._others :]):
                yield 2 * watched + 1, end, own
        end, column, own = self._pinned(first)
        if len(own):
            yield self._mark(column, pinned=True), end, own

    def _free(self, first: int) -> tuple[int, Floats]:
        """Segments without pins: first possible end, gains (ends, songs)."""
        pin = self._task.next_pin(first)
        end = first + self._task.least
        gains = self._sums[end : pin + 1] - (self._sums[first] + (self._task.cost if first else 0.0))
        if self._barred is not None and len(gains):
            met = np.logical_or.accumulate(self._barred[first:pin], axis=0)[end - first - 1 :]
            gains[met] = -np.inf
        return end, gains

    def _pinned(self, first: int) -> tuple[int, int, Floats]:
        """Segments that hold pins: first possible end, column of their song, gains (ends,)."""
        pin = self._task.next_pin(first)
        if pin == len(self._task.scores):
            return 0, 0, np.zeros(0)
        column = self._column[self._task.pins[pin]]
        end = max(pin + 1, first + self._task.least_around(pin))
        gains = self._sums[end : self._task.next_other_pin(pin) + 1, column] - self._sums[first, column]
        return end, column, gains - (self._task.cost if first else 0.0)

    def _mark(self, column: int, pinned: bool) -> Mark:
        watched = column - self._others
        return 0 if watched < 0 else 2 * watched + 1 + pinned

    def _next(self, first: int, history: int) -> tuple[int, list[tuple[int, int]]]:
        """The lowest song that can come next in a best plan, and the ends it can have, each with the history after."""
        if (first, history) in self._known:
            return self._known[first, history]
        target = self._values[first, history]
        found: dict[int, list[tuple[int, int]]] = {}

        def look(gains: Floats, end: int, column: int, mark: Mark) -> None:
            """Note which of the segments with gains (ends, k), in the columns from `column` on, are as good."""
            after = self._histories.after(history, mark)
            if after is None:
                return
            totals = gains + self._values[end : end + len(gains), after, None]
            for row, offset in zip(*np.nonzero(totals == target), strict=True):
                found.setdefault(self._songs[column + offset], []).append((end + int(row), after))

        end, gains = self._free(first)
        look(gains[:, : self._others], end, 0, 0)
        for column in range(self._others, len(self._songs)):
            look(gains[:, column : column + 1], end, column, self._mark(column, pinned=False))
        end, column, own = self._pinned(first)
        if len(own):
            look(own[:, None], end, column, self._mark(column, pinned=True))
        song = min(found)
        self._known[first, history] = song, sorted(found[song])
        return self._known[first, history]
