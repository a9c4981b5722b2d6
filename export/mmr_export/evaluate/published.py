"""The tables as the paper's public code makes them, so that both ways can be compared on the same vectors.

The notebook takes songs and pages in batches of about 50, in the order of a shuffled validation set, and knows only the
candidates of the same batch. What it computes there, kept here on purpose:

1. Moods of a genre: softmax over the songs (axis 0 of songs x pages) is right, but then row i, which belongs to song i,
   is read for page i; its columns are pages, and their indices look up the labels of songs. The values are none of
   retrieval. It only runs where a batch is square.
2. Genres of a mood: softmax over the pages, row = song: the right axis.
3. "Confidence" is the mean of the softmax values that reached the first three of some query, whatever their number: one
   lucky hit of a rare class outranks many. It depends on the size of the batch, and classes without a hit have 0.

A song of several moods counts for the first of them here; there it stood in the set once for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmr_export.evaluate.classification import softmax

Floats = NDArray[np.float64]
BATCH, BATCHES, FIRST = 50, 4, 3


def published_tables(
    similarity: Floats, songs: Sequence[int], pages: Sequence[int], moods: int, genres: int, scale: float, seed: int = 0
) -> tuple[Floats, Floats]:
    """Moods of genres, (genres, moods), and genres of moods, (moods, genres).

    Args:
        similarity: (n songs, m pages) cosines.
        songs: mood of every song.
        pages: genre of every page.
        moods: how many there are.
        genres: how many there are.
        scale: of the logits.
        seed: of the order of the batches.
    """
    rng = np.random.default_rng(seed)
    heard, seen = rng.permutation(len(songs)), rng.permutation(len(pages))
    size = min(BATCH, len(songs), len(pages))
    to_moods: list[tuple[int, int, float]] = []
    to_genres: list[tuple[int, int, float]] = []
    for start in range(0, min(BATCHES * size, len(heard) - size + 1, len(seen) - size + 1), size):
        a, i = heard[start : start + size], seen[start : start + size]
        logits = scale * similarity[np.ix_(a, i)]
        over_songs, over_pages = softmax(logits.T).T, softmax(logits)
        for query in range(size):
            # Row `query` of the first is a song's, and is read for a page.
            best = np.argsort(-over_songs[query], kind="stable")[:FIRST]
            to_moods += [(pages[i[query]], songs[a[column]], over_songs[query, column]) for column in best]
            best = np.argsort(-over_pages[query], kind="stable")[:FIRST]
            to_genres += [(songs[a[query]], pages[i[column]], over_pages[query, column]) for column in best]
    return _confidences(to_moods, (genres, moods)), _confidences(to_genres, (moods, genres))


def _confidences(hits: Sequence[tuple[int, int, float]], shape: tuple[int, int]) -> Floats:
    sums, counts = np.zeros(shape), np.zeros(shape)
    for row, column, value in hits:
        sums[row, column] += value
        counts[row, column] += 1
    return np.asarray(sums / np.maximum(counts, 1))
