"""Archives in archives: a volume packed chapter by chapter reads as one book."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

from mmr_runtime.books.names import ARCHIVE_SUFFIXES, is_hidden, suffix
from mmr_runtime.books.sources import Archive, Member, Source, in_memory, open_rar, open_tar, open_zip
from mmr_runtime.errors import BookError
from mmr_runtime.limits import MAX_BOOK_MEMBERS, MAX_IMAGE_BYTES, MAX_NESTED_BYTES, MAX_NESTING

_TAR_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_TAR_SUFFIXES = (".cbt", ".tar")
_HEAD = 265


class Nested:
    """A source with the members of its inner archives among its own, as `inner.cbz/001.jpg`.

    Args:
        outer: the source; closed with this one.
        depth: how many archives deep it may go.
    """

    def __init__(self, outer: Source, depth: int = MAX_NESTING) -> None:
        self._outer = outer
        self._depth = depth
        self._lock = threading.Lock()
        self._open: tuple[str, Source] | None = None
        self._inner: dict[str, tuple[str, str]] = {}  # name -> archive and the name in it
        self._members: list[Member] = []
        for member in outer.members():
            if suffix(member.name) in ARCHIVE_SUFFIXES and not is_hidden(member.name) and not member.problem:
                self._members += self._look_into(member)
            else:
                self._members.append(member)
        if len(self._members) > MAX_BOOK_MEMBERS:
            raise BookError(f"the archives hold more than {MAX_BOOK_MEMBERS} files", "split them into volumes")

    def _look_into(self, member: Member) -> list[Member]:
        if not self._depth:
            return [Member(member.name, member.size, "is an archive too deep inside of others")]
        try:
            inner = self._archive(member.name)
        except BookError as error:
            return [Member(member.name, member.size, error.message)]
        found = []
        for leaf in inner.members():
            name = f"{member.name}/{leaf.name}"
            self._inner[name] = member.name, leaf.name
            found.append(Member(name, leaf.size, leaf.problem))
        return found

    def _archive(self, name: str) -> Source:
        """An inner archive; the last one stays open, since pages are read in a row."""
        if self._open is None or self._open[0] != name:
            self._close_inner()
            content = self._outer.read(name, MAX_NESTED_BYTES)
            self._open = name, Nested(open_archive(in_memory(content), name), self._depth - 1)
        return self._open[1]

    def _close_inner(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def members(self) -> list[Member]:
        """All files."""
        return self._members

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """Content of a file."""
        if name not in self._inner:
            return self._outer.read(name, limit)
        with self._lock:
            archive, inner = self._inner[name]
            return self._archive(archive).read(inner, limit)

    def close(self) -> None:
        """Close the file behind it."""
        with self._lock:
            self._close_inner()
        self._outer.close()


def open_archive(file: IO[bytes], title: str) -> Archive:
    """An archive of whatever kind its first bytes say; the file is closed where that fails.

    Raises:
        BookError: it is none that is read, damaged, or built to do harm.
    """
    try:
        head = file.read(_HEAD)
        file.seek(0)
        if head.startswith((b"PK\3\4", b"PK\5\6")):
            return open_zip(file, title)
        if head.startswith(b"Rar!\x1a\x07"):
            return open_rar(file, title)
        if head.startswith(b"7z\xbc\xaf\x27\x1c"):
            raise BookError(f"{title} is a 7z archive, which mmr does not read", "pack it as CBZ (ZIP)")
        if head[257:262] == b"ustar" or head.startswith(_TAR_MAGIC) or title.lower().endswith(_TAR_SUFFIXES):
            return open_tar(file, title)
        raise BookError(f"{title} is no book that mmr reads", "it reads folders, CBZ, CBT, CBR, EPUB and PDF")
    except BaseException:
        file.close()
        raise


def open_archive_file(path: Path) -> Archive:
    """An archive on the disk; for the errors see `open_archive`."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BookError(f"{path} cannot be read: {error.strerror or error}", "check the file") from error
    return open_archive(file, path.name)
