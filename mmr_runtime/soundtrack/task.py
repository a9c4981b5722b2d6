"""The planning task in whole numbers, and its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from mmr_runtime.soundtrack.options import Affinity, Floats


@dataclass(frozen=True)
class Span:
    """A stretch of pages, `first` to before `end`, with one song."""

    first: int
    end: int
    song: int


@dataclass(frozen=True)
class Solution:
    """A plan.

    Attributes:
        spans: in the order of pages, covering all.
        proved: no plan is better.
    """

    spans: tuple[Span, ...]
    proved: bool


@dataclass(frozen=True, eq=False)
class Task:
    """What is solved.

    Attributes:
        scores: (pages, songs), whole numbers <= 0.
        cost: of one change, a whole number >= 1.
        least: pages that a segment lasts at least.
        rest: other segments between two plays of a song, at least 1.
        pins: page -> song.
    """

    scores: Floats
    cost: float
    least: int
    rest: int
    pins: Mapping[int, int]

    @classmethod
    def of(cls, affinity: Affinity, switch_cost: float, least: int, rest: int, pins: Mapping[int, int]) -> Task:
        """Round to whole multiples of a power of two such that every sum that can matter is exact in float64.

        All is counted `pages + 1` times and a change costs one more: of plans with equal sums, fewer changes win.

        Args:
            affinity: finite floats (pages, songs), at least one of each.
            switch_cost: of one change, >= 0, perhaps infinite.
            least: pages that a segment lasts at least.
            rest: other segments between two plays of a song.
            pins: page -> song.
        """
        pages = len(affinity)
        # What all songs of a page share moves no choice.
        scores = np.subtract(affinity, affinity.max(axis=1, keepdims=True), dtype=np.float64)
        whole = pages * -float(scores.min()) or 1.0  # no two plans differ by more, changes aside
        # At this price a change is never worth it; a higher one would move nothing.
        switch_cost = min(switch_cost, 2 * whole)
        # The best sum of any stretch is above -(2 * pins + 1) * whole, for only pins force changes.
        scale = 2.0 ** (52 - math.ceil(math.log2(4 * whole * (pages + 1) * (len(pins) + 1))))
        np.rint(np.multiply(scores, scale, out=scores), out=scores)
        scores *= pages + 1
        cost = float(np.rint(switch_cost * scale)) * (pages + 1) + 1
        return cls(scores, cost, min(least, pages), max(rest, 1), pins)

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        """Runs of pins of one song, with none of another between: (first, end, song) of the pages that each may claim.

        The gap between two runs belongs half to either; together they cover the book.
        """
        pages = sorted(self.pins)
        changes = [(a, b) for a, b in pairwise(pages) if self.pins[a] != self.pins[b]]
        edges = [0, *(a + 1 + (b - a) // 2 for a, b in changes), len(self.scores)]
        songs = [self.pins[page] for page in (pages[0], *(b for _, b in changes))] if pages else []
        return [(first, end, song) for first, end, song in zip(edges, edges[1:], songs, strict=False)]

    def least_around(self, page: int) -> int:
        """Pages that a segment lasts at least which holds this pinned page."""
        return self._around[page]

    @cached_property
    def least_of_all(self) -> int:
        """Pages that any segment lasts at least."""
        return min([self.least, *self._around.values()])

    @cached_property
    def _around(self) -> dict[int, int]:
        return {
            page: min(self.least, end - first)
            for first, end, _ in self.runs
            for page in self.pins
            if first <= page < end
        }

    def next_pin(self, page: int) -> int:
        """The first pinned page from this one on, or the end of the book."""
        return self._next_pin[page]

    @cached_property
    def _next_pin(self) -> list[int]:
        pages = len(self.scores)
        following = [pages] * (pages + 1)
        for page in reversed(range(pages)):
            following[page] = page if page in self.pins else following[page + 1]
        return following

    def next_other_pin(self, page: int) -> int:
        """The first page from a pinned one on that is pinned to another song, or the end of the book."""
        return min((p for p in self.pins if p > page and self.pins[p] != self.pins[page]), default=len(self.scores))

    def is_pinned(self, span: Span) -> bool:
        """Whether a segment holds a pin."""
        return self.next_pin(span.first) < span.end

    def simplest(self) -> tuple[Span, ...]:
        """A plan with no change that pins do not force; there always is one."""
        if not self.pins:
            return (Span(0, len(self.scores), int(self.scores.sum(axis=0).argmax())),)
        return tuple(Span(first, end, song) for first, end, song in self.runs)

    def value(self, spans: tuple[Span, ...]) -> float:
        """What a plan scores, cost of its changes taken off."""
        return sum(float(self.scores[s.first : s.end, s.song].sum()) for s in spans) - self.cost * (len(spans) - 1)
