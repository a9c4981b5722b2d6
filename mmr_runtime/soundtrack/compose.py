"""From a book and a library to a soundtrack: how well each song fits each page, and the plan that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.audio import quiet_start
from mmr_runtime.books import Book, BookEmbedding, embed_book
from mmr_runtime.engine import unit_rows
from mmr_runtime.rank import Ranker
from mmr_runtime.soundtrack.affinity import affinities, page_moods
from mmr_runtime.soundtrack.options import DEFAULTS, Options
from mmr_runtime.soundtrack.planning import plan_segments
from mmr_runtime.soundtrack.segments import Segment
from mmr_runtime.soundtrack.soundtrack import Corrections, Song, Soundtrack, assemble

if TYPE_CHECKING:
    from mmr_runtime.library import Contents, Library, Track

Floats = NDArray[np.float64]
Start = Literal["best", "intro"]


@dataclass(frozen=True, eq=False)
class Fit:
    """How well m songs fit the n pages of a book.

    Attributes:
        songs: of the library, by path.
        pages: float32 (n, d), vectors of the pages.
        affinity: float64 (n, m); a page that is not seen favours none.
        shares: float64 (n, 7), of each mood in a page, against the book; equal where it is not seen.
    """

    songs: Contents
    pages: NDArray[np.float32]
    affinity: Floats
    shares: Floats

    @cached_property
    def titles(self) -> dict[str, str]:
        """Of the songs, by path, in their order."""
        return {str(track.path): track.title for track in self.songs.tracks}

    def shares_of(self, first: int, last: int) -> Floats:
        """Mood shares (7,) of pages first to last, from 0 and inclusive."""
        return np.asarray(self.shares[first : last + 1].mean(axis=0))


def fit(embedding: BookEmbedding, library: Library, songs: Contents | None = None) -> Fit:
    """How well songs fit the pages of a book.

    Args:
        embedding: of the book; see `affinity` for how its pages are read.
        library: of the songs.
        songs: that are compared with each other; None: all of the library.
    """
    engine = library.engine
    songs = library.contents() if songs is None else songs
    seen = np.flatnonzero(embedding.seen)
    count, moods = len(embedding.pages), engine.mood_scores(embedding.pages[:0], "image").shape[1]
    affinity, scores = np.zeros((count, len(songs.tracks))), np.zeros((count, moods))
    pages = embedding.pages[seen]
    scores[seen] = page_moods(engine, pages, [embedding.dialogue[page] for page in seen], about=embedding.about)
    affinity[seen] = affinities(Ranker(engine, songs.vectors, "audio"), pages, scores[seen])
    shares = engine.mood_shares(scores.astype(np.float32)).astype(np.float64)
    return Fit(songs, embedding.pages, affinity, shares)


def plan(
    book: Book,
    library: Library,
    options: Options = DEFAULTS,
    *,
    corrections: Corrections | None = None,
    embedding: BookEmbedding | None = None,
    start: Start = "best",
) -> Soundtrack:
    """The soundtrack of a book from the songs of a library.

    Equal inputs give the equal soundtrack.

    Args:
        book: its pages are embedded unless that was done.
        library: its index as it is; `library.update()` brings it up to date.
        options: the reader's taste.
        corrections: pins and bans; a pinned song that is gone is an error, a banned one is not.
        embedding: of the book, from `embed_book`.
        start: where a song begins: `best`, at a quiet moment by the window that fits the pages best, or `intro`.

    Raises:
        UsageError: the library is empty, or pins and bans contradict each other or the book.
        InputError: a pinned song is not in the library.
    """
    fitted = fit(embedding or embed_book(book, library.engine), library)
    return compose(book, library, fitted, options, corrections, start)


def compose(
    book: Book,
    library: Library,
    fitted: Fit,
    options: Options = DEFAULTS,
    corrections: Corrections | None = None,
    start: Start = "best",
) -> Soundtrack:
    """The soundtrack of a book whose pages and songs were compared already; see `plan`."""
    corrections = corrections or Corrections()
    paths = list(fitted.titles)
    pins, bans = corrections.numbers(paths)
    segments = plan_segments(fitted.affinity, options, pins=pins, bans=bans)
    engine, contents = library.engine, fitted.songs
    moods = engine.moods(contents.vectors, "audio").tolist()
    songs = [_song(track, shares) for track, shares in zip(contents.tracks, moods, strict=True)]
    names = [page.name for page in book.pages]
    soundtrack = assemble(book.title, names, songs, segments, options, corrections)
    if start == "intro":
        return soundtrack
    windows = library.windows(contents.ids[[segment.song for segment in segments]])
    starts = [
        quiet_start(paths[segment.song], _best_start(Ranker(engine, vectors, "audio"), seconds, fitted, segment))
        if len(vectors)
        else 0.0
        for segment, (vectors, seconds) in zip(segments, windows, strict=True)
    ]
    parts = [
        replace(part, song=replace(part.song, start_s=start))
        for part, start in zip(soundtrack.parts, starts, strict=True)
    ]
    return replace(soundtrack, parts=tuple(parts))


def _best_start(ranker: Ranker, starts: Floats, fitted: Fit, segment: Segment) -> float:
    """Start in seconds of the song's window that fits the pages of a segment best."""
    shares = fitted.shares_of(segment.first, segment.last)[None].astype(np.float32)
    around = unit_rows(fitted.pages[segment.first : segment.last + 1].mean(axis=0, keepdims=True))
    return float(starts[int(ranker.affinities(around, shares, "image")[0].argmax())])


def _song(track: Track, moods: Sequence[float]) -> Song:
    facts = track.title, track.artist or None, track.seconds or None
    return Song(str(track.path), *facts, gain_db=track.gain_db, moods=tuple(moods))
