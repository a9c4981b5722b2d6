"""What a plan must remember: which of the watched songs played in the last few segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mark = int
"""0 is any song that is not watched; 2 w + 1 the w-th watched song; 2 w + 2 the same in a segment that holds a pin."""

_History = tuple[Mark, ...]


class TooManyError(Exception):
    """There are more histories than allowed; a signal inside this package."""


class Histories:
    """All histories that can come about, numbered; 0 is the empty one, before the first segment.

    A history is the marks of the last `rest` segments, newest first. Where nothing is ever forgotten the order of the
    older ones says nothing: then it is the newest mark and the set of the others.

    Args:
        pinned: for each watched song whether it has pins.
        rest: segments that are remembered, at least 1; None to forget nothing.
        most: histories that are allowed.

    Attributes:
        marks: all marks in use.
        blocks: for each mark the numbers, first and end, of the histories whose newest it is.
        steps: for each mark the numbers of the histories that it may follow, and of what they become.

    Raises:
        TooManyError: there are more.
    """

    def __init__(self, pinned: Sequence[bool], rest: int | None, most: int) -> None:
        self.marks: list[Mark] = [0]
        for watched, has_pins in enumerate(pinned):
            self.marks += [2 * watched + 1, 2 * watched + 2] if has_pins else [2 * watched + 1]
        after: dict[_History, list[_History | None]] = {}
        waiting: list[_History] = [(0,) * (rest or 1)]
        while waiting:
            history = waiting.pop()
            if history in after:
                continue
            if len(after) == most:
                raise TooManyError
            after[history] = [_after(history, mark, rest) for mark in self.marks]
            waiting += [follower for follower in after[history] if follower is not None]
        known = sorted(after)
        number = {history: i for i, history in enumerate(known)}
        newest = np.array([history[0] for history in known])
        table = np.array([[-1 if f is None else number[f] for f in after[history]] for history in known], np.int64)
        self.blocks: dict[Mark, tuple[int, int]] = {}
        self.steps: dict[Mark, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for column, mark in enumerate(self.marks):
            low, high = np.searchsorted(newest, [mark, mark + 1]).tolist()
            self.blocks[mark] = low, high
            sources = np.flatnonzero(table[:, column] >= 0)
            self.steps[mark] = sources, table[sources, column]
        self._table: list[list[int]] = table.tolist()
        self._column = {mark: column for column, mark in enumerate(self.marks)}

    def after(self, history: int, mark: Mark) -> int | None:
        """The history after one more segment, or None where its song has to rest."""
        number = self._table[history][self._column[mark]]
        return number if number >= 0 else None

    def __len__(self) -> int:
        return len(self._table)


def _after(history: _History, mark: Mark, rest: int | None) -> _History | None:
    """A song may not play while it rests, unless both segments hold pins, and never twice in a row."""
    if mark:
        song, pinned = _song(mark), mark % 2 == 0
        for age, past in enumerate(history):
            if past and _song(past) == song and not (age and pinned and past % 2 == 0):
                return None
    if rest is not None:
        return (mark, *history[:-1])
    return (mark, *sorted({past for past in history if past}))


def _song(mark: Mark) -> int:
    return (mark - 1) // 2
