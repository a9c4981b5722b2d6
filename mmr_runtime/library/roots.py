"""What a library is made of: folders, and songs named by playlists; with patterns of what belongs to it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mmr_runtime.errors import InputError
from mmr_runtime.library.playlists import PLAYLIST_SUFFIXES, read_playlist


@dataclass(frozen=True)
class Roots:
    """Where the tracks of a library lie.

    Attributes:
        folders: absolute, sorted; none lies in another.
        playlists: absolute, sorted.
        files: absolute; what the playlists name.
    """

    folders: tuple[str, ...]
    playlists: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()

    @classmethod
    def of(cls, named: Iterable[str | Path]) -> Roots:
        """Resolve folders and playlists.

        Raises:
            InputError: something else was named, or a playlist cannot be read.
        """
        folders, playlists = set(), set()
        for name in named:
            try:
                real = Path(name).expanduser().resolve()
            except (OSError, RuntimeError) as error:
                raise InputError(f"{name} cannot be resolved: {error}", "check the path") from error
            if real.is_file() and real.suffix.lower() in PLAYLIST_SUFFIXES:
                playlists.add(str(real))
            elif real.exists() and not real.is_dir():
                raise InputError(f"{name} is not a folder", "give the folder that holds it")
            else:
                folders.add(str(real))
        files = {str(song) for playlist in playlists for song in read_playlist(Path(playlist))}
        outermost = tuple(sorted(root for root in folders if not is_within(root, folders)))
        return cls(outermost, tuple(sorted(playlists)), frozenset(files))

    @property
    def names(self) -> tuple[str, ...]:
        """Folders and playlists: what the default index is named by."""
        return (*self.folders, *self.playlists)

    def hold(self, path: str) -> bool:
        """Whether a track of this path belongs to the library."""
        return path in self.files or is_within(path, self.folders)


@dataclass(frozen=True)
class Patterns:
    """Which files of a library count, by shell patterns of their whole path, case ignored.

    Attributes:
        include: one of them must match, where there are some.
        exclude: none may match.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def allow(self, path: str) -> bool:
        """Whether a file counts."""
        name = path.replace("\\", "/").lower()
        if self.include and not any(fnmatch(name, pattern.lower()) for pattern in self.include):
            return False
        return not any(fnmatch(name, pattern.lower()) for pattern in self.exclude)


def is_within(path: str, folders: Iterable[str]) -> bool:
    """Whether a path lies in one of these folders."""
    return any(path.startswith(folder if folder.endswith(os.sep) else folder + os.sep) for folder in folders)
