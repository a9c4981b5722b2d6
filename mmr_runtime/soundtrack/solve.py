"""The best plan of a book, exactly.

The task: cut the pages into segments and give each a song, so that the sum of affinities less a cost for each change is
greatest, a segment lasts at least `least` pages, and at least `rest` other segments lie between two plays of a song.

Ties. Affinities are first rounded to whole multiples of a power of two (for 200 pages about 2^-34 of their range, far
below float32's 2^-24), so every sum below is exact in float64 and the order of additions does not matter. Of plans with
equal sums the one with the fewest changes wins; of those, the one whose song comes first in the library on the first
page where they differ. So the answer is unique.

Pins. On a pinned page only its song plays, and pins win over the other rules: around a pin a segment may be as short as
pins of other songs force it to be (the gap between them belongs half to either), and two segments that both hold pins
may have one song however close. So every set of pins has a plan.

Exactness. `rest` ties distant segments together; where it is as long as the book (each song at most once) the task is
interval scheduling, so no fast algorithm for all inputs is to be expected. Two relaxations make it fast where songs can
stand in for each other:

1. Which songs can matter. Without `rest`, one pass over pages and songs (Viterbi with a least duration) gives the best
   sums of all beginnings and, from behind, of all ends of the book. For a song s, let U(s) be the greatest, over
   boundaries e, of the best beginning that plays s right before e plus the best end from e on. Every plan with s in it
   scores at most U(s). Some plan, found with the songs of greatest U, scores V. A song with U(s) < V is in no optimal
   plan. So the songs with U(s) >= V that were left out are added, and it is solved again: now every optimal plan, with
   all ties, is within reach.
2. Which repeats must be watched. An exact dynamic program has as its state the boundary and the last `rest` songs. It
   is solved with no song remembered first; if the best plan plays a song again too soon, that song is remembered from
   then on, all others are just "other", and it is solved again (decremental state-space relaxation: Righini and Salani
   2008, "New dynamic programming algorithms for the resource constrained elementary shortest path problem"). Every
   round allows all plans that keep the rules, so the first best plan that keeps them is optimal, and first among ties.

A song d that is added changes nothing where enough songs stand in for it: 2 * rest + 1 that come before it, are on no
page worse than it, and may play (with rest up to 1, a single one; d itself not pinned). For in a segment of d at most
2 * rest of them are kept out by the segments around, so another can take its place: the sum is no lower and the order
no later. Where rest is up to 1 it can join a neighbour with the same song. With fewer, d may get its turn while the
others rest.

Only where the states of (2) exceed `search.MAX_STATES` or `search.MAX_STEPS` is a repeat forbidden, on the pages where
it happened, instead of remembered. Such a plan keeps all rules but need not be the best; `Solution.proved` tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mmr_runtime.soundtrack.options import Affinity, Floats
from mmr_runtime.soundtrack.search import search
from mmr_runtime.soundtrack.task import Solution, Task

FIRST_SONGS = 64
"""Songs that are tried first."""


def solve(affinity: Affinity, switch_cost: float, least: int, rest: int, pins: Mapping[int, int]) -> Solution:
    """The best plan.

    Args:
        affinity: finite floats (pages, songs), at least one of each.
        switch_cost: of one change, in units of affinity, >= 0, perhaps infinite.
        least: pages that a segment lasts at least; a shorter book is one segment.
        rest: other segments between two plays of a song.
        pins: page -> song.
    """
    task = Task.of(affinity, switch_cost, least, rest, pins)
    count = affinity.shape[1]
    if count <= FIRST_SONGS:
        return search(task, np.arange(count), [])
    pinned = np.array(sorted(set(pins.values())), np.int64)
    bounds = _bounds(task)
    songs = np.union1d(np.argpartition(-bounds, FIRST_SONGS)[:FIRST_SONGS], pinned)
    watched: list[int] = []
    while True:
        solution = search(task, songs, watched)
        needed = np.union1d(np.flatnonzero(bounds >= task.value(solution.spans)), pinned)
        if np.isin(needed, songs).all():
            return solution
        songs = needed
        watched = [song for song in watched if song in needed]


def _bounds(task: Task) -> Floats:
    """U(s) of point 1 above, (songs,): no plan with song s scores more."""
    last = len(task.scores)
    mirrored = {last - 1 - page: song for page, song in task.pins.items()}
    tails = [0.0, *(float(sums.max()) for sums in _sweep(task.scores[::-1], task, mirrored))]
    bounds = np.full(task.scores.shape[1], -np.inf)
    total = np.empty_like(bounds)
    for end, sums in enumerate(_sweep(task.scores, task, task.pins), start=1):
        np.add(sums, tails[last - end] - (task.cost if end < last else 0.0), out=total)
        np.maximum(bounds, total, out=bounds)
    return bounds


def _sweep(scores: Floats, task: Task, pins: Mapping[int, int]) -> Iterator[Floats]:
    """For every page the best sums up to it by the song that plays there, (songs,), valid until the next is taken."""
    least = task.least_of_all
    playing = np.full(scores.shape[1], -np.inf)
    window = np.zeros(scores.shape[1])  # sums of the last `least` pages
    fresh = np.empty_like(window)
    done = [0.0]  # best sums of the pages before each boundary
    for page, row in enumerate(scores):
        window += row
        playing += row
        first = page + 1 - least
        if first > 0:
            window -= scores[first - 1]
        if first >= 0:
            np.add(window, done[first] - (task.cost if first else 0.0), out=fresh)
            _keep(fresh, [pins[p] for p in range(first, page + 1) if p in pins])
            np.maximum(playing, fresh, out=playing)
        if page in pins:
            _keep(playing, [pins[page]])
        done.append(float(playing.max()))
        yield playing


def _keep(sums: Floats, songs: Sequence[int]) -> None:
    """Leave only the song that agrees with the pins, if there are any and there is one."""
    if songs:
        kept = sums[songs[0]] if len(set(songs)) == 1 else -np.inf
        sums[:] = -np.inf
        sums[songs[0]] = kept
