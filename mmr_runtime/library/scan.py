"""Which files a folder holds: in an order that does not depend on the disk, without hidden ones, safe from loops."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from mmr_runtime.errors import LibraryError
from mmr_runtime.image import SUFFIXES as IMAGE_SUFFIXES
from mmr_runtime.library.records import Kind
from mmr_runtime.library.roots import Patterns, Roots
from mmr_runtime.limits import MAX_LIBRARY_FILES

_SOUNDS = """
    aac aif aifc aiff au caf flac m4a m4b mka mp3 mp4 mpga oga ogg opus rf64 snd w64 wav wave weba wma
"""

SUFFIXES: dict[Kind, frozenset[str]] = {
    "songs": frozenset(f".{name}" for name in _SOUNDS.split()),
    "pages": IMAGE_SUFFIXES,
}
"""Endings of the files that a library takes, in lower case."""

_NOT_MUSIC = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})
"""Folders (lower case) in which operating systems and NAS boxes keep copies and rubbish."""

_WINDOWS_HIDDEN = 0x2


@dataclass(frozen=True)
class FoundFile:
    """A file of a library, with what tells an unchanged one: bytes and time of change in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


@dataclass
class Scan:
    """Result of walking through folders.

    Attributes:
        files: in order of their paths.
        closed: folders that could not be listed, with the reason; nothing is known of what they hold.
        empty: roots that hold nothing at all, as the mount point of a disk does that is not plugged in.
    """

    files: list[FoundFile] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def scan(roots: Roots, kind: Kind, patterns: Patterns | None = None) -> Scan:
    """Walk through the folders and look at the files of a library.

    Links to folders are followed, each real folder once. Hidden files and folders are left out.

    Raises:
        LibraryError: more files than the limit.
    """
    result = Scan()
    seen: set[tuple[int, int | str]] = set()
    for root in roots.folders:
        _walk(root, SUFFIXES[kind], result, seen)
    found = {file.path for file in result.files}
    for path in roots.files - found:
        _look_at(path, SUFFIXES[kind], result)
    if patterns:
        result.files = [file for file in result.files if patterns.allow(file.path)]
    result.files.sort(key=lambda file: file.path)
    return result


def _look_at(path: str, suffixes: frozenset[str], result: Scan) -> None:
    """A file that a playlist names; one that is not there now, with its folder, may be on a disk that is not."""
    if os.path.splitext(path)[1].lower() not in suffixes:  # noqa: PTH122 (as in a walk)
        return
    try:
        status = Path(path).stat()
        if stat.S_ISREG(status.st_mode):
            result.files.append(FoundFile(path, status.st_size, status.st_mtime_ns))
    except OSError as error:
        folder = str(Path(path).parent)
        if not Path(folder).is_dir() and folder not in dict(result.closed):
            result.closed.append((folder, error.strerror or str(error)))


def _walk(root: str, suffixes: frozenset[str], result: Scan, seen: set[tuple[int, int | str]]) -> None:
    # Folders behind links wait until all real ones were walked: a song is known by its real path where it has one.
    waiting = [root]
    linked: list[str] = []
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop(0)
        try:
            status = Path(folder).stat()
            # Some network and FAT disks number nothing under Windows; there the real path must tell folders apart.
            identity = (status.st_dev, status.st_ino or os.path.realpath(folder))
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            result.closed.append((folder, error.strerror or str(error)))
            continue
        if folder == root and not entries:
            result.empty.append(root)
        folders: list[str] = []
        for entry in entries:
            _take(entry, suffixes, result, folders, linked)
        waiting.extend(reversed(folders))


def _take(
    entry: os.DirEntry[str], suffixes: frozenset[str], result: Scan, folders: list[str], linked: list[str]
) -> None:
    if entry.name.startswith("."):
        return
    try:
        if entry.is_dir():
            if entry.name.lower() not in _NOT_MUSIC and not _is_hidden(entry):
                (linked if entry.is_symlink() else folders).append(entry.path)
            return
        if os.path.splitext(entry.name)[1].lower() not in suffixes or _is_hidden(entry):  # noqa: PTH122 (hot loop)
            return
        status = entry.stat()
    except OSError:
        return  # gone since the listing, or a dangling link
    if not stat.S_ISREG(status.st_mode):
        return
    result.files.append(FoundFile(entry.path, status.st_size, status.st_mtime_ns))
    if len(result.files) > MAX_LIBRARY_FILES:
        raise LibraryError(f"the library holds more than {MAX_LIBRARY_FILES} files", "name folders further down")


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    """Hidden by attribute, which only Windows has."""
    if os.name != "nt":
        return False
    return bool(getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0) & _WINDOWS_HIDDEN)
