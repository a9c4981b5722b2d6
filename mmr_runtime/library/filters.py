"""Which tracks of a library may be chosen: by what their tags say, where they lie, and how long they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmr_runtime.errors import UsageError
from mmr_runtime.files import comparable
from mmr_runtime.library.playlists import read_playlist
from mmr_runtime.library.records import Track
from mmr_runtime.library.roots import is_within

_INSTRUMENTAL = re.compile(
    r"\b(instrumentals?|off.?vocal|karaoke|bgm|ost|soundtrack|score|classical|orchestra\w*|ambient|piano|chiptune|lo-?fi)\b"
    r"|インスト|サウンドトラック|劇伴",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Filters:
    """A track is kept if all that is asked for holds; `Library.rank` and `Library.contents` take one as their filter.

    Attributes:
        genres: one of these stands in its genre, case ignored.
        artists: one of these stands in its artist, case ignored.
        folders: absolute; it lies in one of them.
        files: absolute paths of a playlist, as `files.comparable` gives them; it is among them.
        instrumental: genre, album or title say that nobody sings: `instrumental`, `soundtrack`, `piano` and the like.
            The sound itself is not asked: what a model without vocal music in its training hears of voices is chance.
        min_seconds: least length.
        max_seconds: greatest length, or None.
    """

    genres: tuple[str, ...] = ()
    artists: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    files: frozenset[str] | None = None
    instrumental: bool = False
    min_seconds: float = 0.0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.max_seconds is not None and self.max_seconds < self.min_seconds:
            raise UsageError(f"no song is {self.min_seconds:g} seconds long and at most {self.max_seconds:g}")

    @classmethod
    def of(cls, *, folders: Iterable[str | Path] = (), playlist: str | Path | None = None, **others: object) -> Filters:
        """With folders and a playlist as a user names them.

        Raises:
            InputError: the playlist cannot be read.
        """
        files = None
        if playlist is not None:
            songs = read_playlist(Path(playlist).expanduser())
            files = frozenset(comparable(str(song.resolve())) for song in songs)
        inside = tuple(str(Path(folder).expanduser().resolve()) for folder in folders)
        return cls(folders=inside, files=files, **others)  # type: ignore[arg-type]

    def __call__(self, track: Track) -> bool:
        """Whether a track is kept."""
        path = str(track.path)
        return (
            _holds(track.genre, self.genres)
            and _holds(track.artist, self.artists)
            and (not self.folders or is_within(path, self.folders))
            and (self.files is None or comparable(path) in self.files)
            and (not self.instrumental or bool(_INSTRUMENTAL.search(f"{track.genre}\n{track.album}\n{track.title}")))
            and self.min_seconds <= track.seconds
            and (self.max_seconds is None or track.seconds <= self.max_seconds)
        )


def _holds(text: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or any(part.casefold() in text.casefold() for part in wanted)
