"""Moods of pages in the light of their book, and how well each song fits them.

A page alone is read against the pages that the model was fitted on. A book differs from those: its hand is darker or
its tone busier on every page, which is style and not mood. So the scores are standardised over the pages at hand, this
book's and others that the reader has; few pages, which say little of themselves, are drawn towards the model's
reference. What is spoken joins in, and neighbouring pages, since a scene lasts longer than a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.engine import unit_rows
from mmr_runtime.errors import UsageError
from mmr_runtime.moods import MOODS
from mmr_runtime.rank import Ranker, standardise

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine
    from mmr_runtime.engine import Floats as Vectors

Floats = NDArray[np.float64]
DIALOGUE_WEIGHT = 1.0
"""Of spoken lines against the drawing, on a page that has some."""
ABOUT_WEIGHT = 0.2
"""Of what the book says that it is about, on every page; chosen on held-out training titles and their commonest genre
(docs/decisions/006-books.md)."""
NEIGHBOUR_WEIGHT = 0.5
"""Of the page before and of the page after, against the page."""


def page_moods(
    engine: Engine,
    pages: Vectors,
    dialogue: Sequence[Vectors | None] | None = None,
    *,
    others: Vectors | None = None,
    about: Vectors | None = None,
    neighbour_weight: float = NEIGHBOUR_WEIGHT,
    about_weight: float = ABOUT_WEIGHT,
) -> Floats:
    """Mood scores of a book's pages, standardised over the pages at hand.

    Args:
        engine: reads moods from vectors.
        pages: float32 (n, d), unit rows, in reading order.
        dialogue: for each page the vectors (t, d) of its lines, or None where nothing is spoken.
        others: float32 (k, d), pages of other books that the reader has: against them a book that is sad throughout
            still reads as sad.
        about: float32 (a, d), genres and summary of the book: a horror comic is scarier than its drawing says.
        neighbour_weight: 0 reads every page alone.
        about_weight: 0 leaves out what the book is about.

    Returns:
        float64 (n, 7).

    Raises:
        UsageError: there are not as many dialogues as pages.
    """
    if dialogue is not None and len(dialogue) != len(pages):
        raise UsageError(f"{len(dialogue)} dialogues do not fit {len(pages)} pages", "give None for a silent page")
    if not len(pages):
        return np.zeros((0, len(MOODS)))
    known = pages if others is None else np.concatenate([pages, others])
    scores = standardise(engine.mood_scores(known, "image").astype(np.float64))[: len(pages)]
    said = {i: lines for i, lines in enumerate(dialogue or ()) if lines is not None and len(lines)}
    if said:
        read = [engine.mood_scores(lines, "dialogue").mean(axis=0) for lines in said.values()]
        scores[list(said)] += DIALOGUE_WEIGHT * standardise(np.stack(read).astype(np.float64))
    if about is not None and len(about) and "genre" in engine.bundle.manifest.labels:
        scores += about_weight * _against_genres(engine, about)
    return _with_neighbours(scores, neighbour_weight)


def _against_genres(engine: Engine, about: Vectors) -> Floats:
    """Mood scores (7,) of texts about a book, beside those of the genres that there are."""
    genres = engine.mood_scores(engine.label_vectors("genre"), "text").astype(np.float64)
    own = engine.mood_scores(about, "text").astype(np.float64).mean(axis=0)
    return np.asarray((own - genres.mean(axis=0)) / (genres.std(axis=0) + 1e-6))


def affinities(
    ranker: Ranker,
    pages: Vectors,
    moods: Floats,
    *,
    neighbour_weight: float = NEIGHBOUR_WEIGHT,
    rows: Sequence[int] | None = None,
) -> Floats:
    """How well each song fits each page, float64 (pages, songs); see `Ranker.affinities`.

    Args:
        ranker: of the songs of a whole library, since they are compared with each other.
        pages: float32 (n, d), unit rows, in reading order.
        moods: (n, 7) of `page_moods`.
        neighbour_weight: as for the moods.
        rows: pages that are wanted; None: all.
    """
    shares = ranker.engine.mood_shares(moods.astype(np.float32))
    around = unit_rows(_with_neighbours(pages.astype(np.float64), neighbour_weight).astype(np.float32))
    if rows is not None:
        shares, around = shares[rows], around[rows]
    return ranker.affinities(around, shares, "image").astype(np.float64)


def _with_neighbours(rows: Floats, weight: float) -> Floats:
    """Rows (n, k) with those before and after them added in; the first and the last are their own neighbours."""
    around = np.pad(rows, ((1, 1), (0, 0)), mode="edge")
    return np.asarray(rows + weight * (around[:-2] + around[2:]))
