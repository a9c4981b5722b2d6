"""A book's soundtrack as it is kept: names instead of numbers, so that it outlives the library it was made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from mmr_runtime.errors import InputError
from mmr_runtime.soundtrack.options import DEFAULTS, Options
from mmr_runtime.soundtrack.segments import Segment, page_range


@dataclass(frozen=True)
class Song:
    """What is said of a song; None where it is not known.

    Attributes:
        path: of its file, absolute unless the library was opened otherwise.
        title: in words.
        artist: in words.
        seconds: its length.
        start_s: where in it the music that fits begins, seconds.
        gain_db: what brings it to the common loudness.
        moods: shares of the seven moods, in the order of `mmr_runtime.MOODS`.
    """

    path: str
    title: str | None = None
    artist: str | None = None
    seconds: float | None = None
    start_s: float | None = None
    gain_db: float | None = None
    moods: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Part:
    """Pages with their song, and why.

    Attributes:
        first: first page, from 0.
        last: last page, from 0, inclusive.
        song: what plays.
        score: mean affinity of the song over the pages.
        margin: `score` less that of the best other song; None where there is no other.
        runners_up: (path, mean affinity) of the best other songs.
        pinned: the part holds a page whose song was set by hand.
    """

    first: int
    last: int
    song: Song
    score: float
    margin: float | None = None
    runners_up: tuple[tuple[str, float], ...] = ()
    pinned: bool = False

    @property
    def pages(self) -> str:
        """As people count: `1-12`, or `5` for a single page."""
        return page_range(self.first, self.last)


@dataclass(frozen=True)
class Corrections:
    """What was set by hand, by path.

    Attributes:
        pins: (page, path), pages from 0 and ascending: what plays there.
        bans: paths that never play, in order.
    """

    pins: tuple[tuple[int, str], ...] = ()
    bans: tuple[str, ...] = ()

    def numbers(self, paths: Sequence[str]) -> tuple[dict[int, int], list[int]]:
        """Pins and bans as `plan` takes them. A banned song that is gone needs no ban.

        Args:
            paths: of the songs, in the order of their numbers.

        Raises:
            InputError: a pinned song is not among them.
        """
        number = {path: i for i, path in enumerate(paths)}
        for page, path in self.pins:
            if path not in number:
                raise InputError(
                    f"page {page + 1} is pinned to {path}, which is not in the library",
                    "add the song again, or remove the pin",
                )
        return {page: number[path] for page, path in self.pins}, [number[p] for p in self.bans if p in number]


@dataclass(frozen=True)
class Soundtrack:
    """A book cut into parts, with a song for each.

    Attributes:
        title: of the book.
        pages: their names, in order.
        parts: in the order of pages, covering all.
        options: the taste that it was planned with.
        corrections: what was set by hand, kept when it is planned again.

    Raises:
        InputError: the parts do not cover the pages one after the other.
    """

    title: str
    pages: tuple[str, ...]
    parts: tuple[Part, ...]
    options: Options = DEFAULTS
    corrections: Corrections = field(default_factory=Corrections)

    def __post_init__(self) -> None:
        page = 0
        for part in self.parts:
            if part.first != page or part.last < part.first:
                raise InputError(
                    f"a segment has pages {part.pages}, and page {page + 1} comes next",
                    "let each segment begin where the one before it ends",
                )
            page = part.last + 1
        if page != len(self.pages):
            raise InputError(f"the segments end with page {page}, the book has {len(self.pages)}", "cover all pages")

    def paths(self) -> list[str]:
        """For each page the path of its song."""
        return [part.song.path for part in self.parts for _ in range(part.first, part.last + 1)]


def assemble(
    title: str,
    pages: Sequence[str],
    songs: Sequence[Song],
    segments: Collection[Segment],
    options: Options = DEFAULTS,
    corrections: Corrections | None = None,
) -> Soundtrack:
    """A soundtrack from what was planned.

    Args:
        title: of the book.
        pages: names of its pages.
        songs: in the order of their numbers.
        segments: as planned.
        options: that they were planned with.
        corrections: that they were planned with.
    """
    parts = tuple(
        Part(
            segment.first,
            segment.last,
            songs[segment.song],
            segment.score,
            segment.margin,
            tuple((songs[other.song].path, other.score) for other in segment.runners_up),
            segment.pinned,
        )
        for segment in segments
    )
    return Soundtrack(title, tuple(pages), parts, options, corrections or Corrections())
