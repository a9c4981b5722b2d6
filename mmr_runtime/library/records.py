"""What the library hands out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["songs", "pages"]


@dataclass(frozen=True)
class Track:
    """A song of the library, or a page.

    Attributes:
        path: where it is; of several files with equal bytes the first by path.
        title: from the tags, else the file's name without its ending.
        artist: from the tags, else empty.
        album: from the tags, else empty.
        seconds: length, 0 for a page.
        genre: from the tags, else empty.
        gain_db: what levels it to -18 LUFS, by its ReplayGain or as measured; None where that is not known.
    """

    path: Path
    title: str
    artist: str
    album: str
    seconds: float
    genre: str = ""
    gain_db: float | None = None


@dataclass(frozen=True, eq=False)
class Contents:
    """All n tracks of a library as of one moment.

    Attributes:
        tracks: ordered by path.
        ids: (n,), their numbers in the index.
        vectors: float32 (n, d), unit rows.
    """

    tracks: list[Track]
    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """One place in the answer to a query.

    Attributes:
        rank: 1 for the best.
        score: higher is better; comparable within one answer.
        track: what was found.
        start_s: where in the song the window begins that fits best, seconds.
        moods: shares of the seven moods of the track, in the order of `mmr_runtime.MOODS`.
        reasons: the moods that query and track have in common, strongest first.
    """

    rank: int
    score: float
    track: Track
    start_s: float
    moods: tuple[float, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """How far an update is: `done` of `total` files that had to be looked into; `path` is next, None at the end."""

    done: int
    total: int
    path: Path | None


@dataclass(frozen=True)
class UpdateReport:
    """What an update did.

    Attributes:
        added: files that were new, changed, or new to this model.
        kept: files that were known.
        moved: files found again under another path; their vectors were kept.
        removed: files that are gone from a folder that can be reached.
        skipped: (path, reason) of every file that cannot be used, and every folder that cannot be listed.
        unreachable: library folders that are not there now; what is known of them was kept.
    """

    added: int = 0
    kept: int = 0
    moved: int = 0
    removed: int = 0
    skipped: tuple[tuple[Path, str], ...] = ()
    unreachable: tuple[Path, ...] = ()
