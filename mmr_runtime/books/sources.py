"""Where a book's files come from: a folder, or an archive whose members are read in memory and never extracted.

Nothing that an archive says of itself is believed: the number of its members, their sizes and their ratios are capped
before anything is unpacked, and a read stops at the size that was stated.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Protocol

from mmr_runtime.books.names import decoded
from mmr_runtime.errors import BookError
from mmr_runtime.limits import (
    FREE_RATIO_BYTES,
    MAX_BOOK_BYTES,
    MAX_BOOK_MEMBERS,
    MAX_DIRECTORY_BYTES,
    MAX_IMAGE_BYTES,
    MAX_RATIO,
)

_ZIP_METHODS = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64_PLACE = struct.Struct("<4sLQL")  # where the ZIP64 one begins
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL_HEADER = 30
_DAMAGED = "download or pack it again"


@dataclass(frozen=True)
class Member:
    """A file of a book.

    Attributes:
        name: its path in the book, with slashes.
        size: bytes, as stated.
        problem: why it cannot be read, or None.
    """

    name: str
    size: int
    problem: str | None = None


class Source(Protocol):
    """The files of a book; threads may share it."""

    def members(self) -> list[Member]:
        """All files."""

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """Content of a file that has no problem.

        Raises:
            BookError: it is damaged, or has more than `limit` bytes.
        """

    def close(self) -> None:
        """Close the file behind it."""


class Folder:
    """Files of a folder and those below it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._members: list[Member] = []
        for folder, folders, files in os.walk(root, onerror=_refuse_folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(folder, name)
                with suppress(OSError):  # gone since, or a link to nowhere
                    facts = path.stat()
                    if stat.S_ISREG(facts.st_mode):
                        self._members.append(Member(path.relative_to(root).as_posix(), facts.st_size))
            _check_count(len(self._members), root.name)

    def members(self) -> list[Member]:
        """All files."""
        return self._members

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """Content of a file."""
        try:
            with (self._root / name).open("rb") as file:
                return _capped(file, name, limit)
        except OSError as error:
            raise BookError(f"{name} cannot be read: {error.strerror or error}", "check the file") from error

    def close(self) -> None:
        """Nothing is open."""


def _refuse_folder(error: OSError) -> None:
    raise BookError(f"{error.filename} cannot be listed: {error.strerror}", "check its permissions") from error


class Archive:
    """Members of an archive of any kind.

    Args:
        title: of the archive, for messages.
        packed: bytes of the whole archive.
        members: (member, bytes that it is packed to or None where that is not known, key of the archive's library).
        opener: opens a member by its key.
        file: that the archive lies in; closed with it.
    """

    def __init__(
        self,
        title: str,
        packed: int,
        members: Iterable[tuple[Member, int | None, Any]],
        opener: Callable[[Any], IO[bytes]],
        file: IO[bytes],
    ) -> None:
        self._opener = opener
        self._file = file
        self._lock = threading.Lock()
        self._members: dict[str, Member] = {}
        self._keys: dict[str, Any] = {}
        total = 0
        for member, size, key in members:
            total += member.size
            _check_count(len(self._members) + 1, title)
            _check_total(total, packed, title)
            # Of two files with one name the last counts, as for every program that extracts.
            self._members[member.name] = _checked(member, size)
            self._keys[member.name] = key

    def members(self) -> list[Member]:
        """All files."""
        return list(self._members.values())

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """Content of a file."""
        member = self._members[name]
        if member.problem:
            raise BookError(f"{name} {member.problem}", _DAMAGED)
        with self._lock, _explained(name), self._opener(self._keys[name]) as file:
            return _capped(file, name, min(limit, member.size))

    def close(self) -> None:
        """Close the file behind it."""
        self._file.close()


def open_zip(file: IO[bytes], title: str) -> Archive:
    """A ZIP archive (.cbz, .zip, .epub).

    Raises:
        BookError: it is damaged, or built to do harm.
    """
    with _explained(title):
        packed = _check_directory(file, title)
        archive = zipfile.ZipFile(file)
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _check_overlap(infos, title)
    return Archive(title, packed, _zip_members(infos), archive.open, file)


def _zip_members(infos: list[zipfile.ZipInfo]) -> Iterator[tuple[Member, int | None, zipfile.ZipInfo]]:
    # Names that do not say to be UTF-8 come as cp437, from which their bytes can be had again.
    plain = [info for info in infos if not info.flag_bits & 0x800]
    names = dict(zip(map(id, plain), decoded([info.filename.encode("cp437") for info in plain]), strict=True))
    for info in infos:
        name, problem = names.get(id(info), info.filename), None
        if info.flag_bits & 0x1:
            problem = "is protected by a password"
        elif info.compress_type not in _ZIP_METHODS:
            problem = f"is packed by a method that is not read ({info.compress_type})"
        yield Member(_slashed(name), info.file_size, problem), info.compress_size, info


def _check_directory(file: IO[bytes], title: str) -> int:
    """Size of the file, after a look at how long its list of members is: that list is read whole into memory."""
    packed = file.seek(0, os.SEEK_END)
    file.seek(max(0, packed - 2**16 - _END.size - _END64_PLACE.size))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise BookError(f"{title} is no ZIP archive, or not complete", _DAMAGED)
    size = _END.unpack_from(tail, at)[5]
    if size == 0xFFFFFFFF and at >= _END64_PLACE.size:
        sign, _, place, _ = _END64_PLACE.unpack_from(tail, at - _END64_PLACE.size)
        if sign == b"PK\6\7" and place + _END64.size <= packed:
            file.seek(place)
            size = _END64.unpack(file.read(_END64.size))[8]
    if size > MAX_DIRECTORY_BYTES:
        raise BookError(f"{title} lists far too many files", f"a book has at most {MAX_BOOK_MEMBERS}")
    file.seek(0)
    return packed


def _check_overlap(infos: list[zipfile.ZipInfo], title: str) -> None:
    """Members that share bytes: so a small file can unpack to terabytes (Fifield, "A better zip bomb", 2019)."""
    places = sorted((info.header_offset, info.compress_size) for info in infos)
    if any(a + _LOCAL_HEADER + size > b for (a, size), (b, _) in pairwise(places)):
        raise BookError(f"{title} holds files that overlap each other", "it is damaged, or built to do harm")


def open_tar(file: IO[bytes], title: str) -> Archive:
    """A TAR archive (.cbt, .tar), also a packed one.

    Raises:
        BookError: it is damaged, or built to do harm.
    """
    packed = file.seek(0, os.SEEK_END)
    file.seek(0)
    with _explained(title):
        # surrogateescape: its names come as bytes that are read as those of a ZIP.
        archive = tarfile.open(fileobj=file, mode="r:*", encoding="ascii", errors="surrogateescape")  # noqa: SIM115
        infos = list(_tar_infos(archive, packed, title))
    names = decoded([info.name.encode("utf-8", "surrogateescape") for info in infos])
    members = [(Member(_slashed(n), i.size), None, i) for n, i in zip(names, infos, strict=True)]

    def opener(info: tarfile.TarInfo) -> IO[bytes]:
        opened = archive.extractfile(info)
        assert opened is not None  # regular files only
        return opened

    return Archive(title, packed, members, opener, file)


def _tar_infos(archive: tarfile.TarFile, packed: int, title: str) -> Iterator[tarfile.TarInfo]:
    """Regular files; checked one by one, since to find the next one all that lies between is unpacked."""
    total, count = 0, 0
    while True:
        info = archive.next()
        if info is None:
            return
        total, count = total + max(info.size, 0), count + 1
        _check_count(count, title)
        _check_total(total, packed, title)
        if info.isreg():
            yield info


def open_rar(file: IO[bytes], title: str) -> Archive:
    """A RAR archive (.cbr, .rar), by the extra `cbr`.

    Raises:
        BookError: it is damaged or built to do harm, or what reads it is missing.
    """
    try:
        import rarfile
    except ImportError as error:
        raise BookError(f"{title} needs what reads RAR archives", "pip install 'mmr-runtime[cbr]'") from error
    packed = file.seek(0, os.SEEK_END)
    file.seek(0)
    with _explained(title):
        archive = rarfile.RarFile(file)
    members = []
    for info in archive.infolist():
        if info.is_file():
            problem = "is protected by a password" if info.needs_password() else None
            members.append((Member(_slashed(info.filename), info.file_size, problem), info.compress_size, info))
    if archive.needs_password() and not members:
        raise BookError(f"{title} is protected by a password", "pack it again without one")
    return Archive(title, packed, members, archive.open, file)


# -- what all share ---------------------------------------------------------------------------------------------------


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _checked(member: Member, packed: int | None) -> Member:
    if packed is not None and member.size > max(FREE_RATIO_BYTES, packed * MAX_RATIO):
        return Member(member.name, member.size, f"would unpack to {member.size} bytes from {packed}: it looks harmful")
    return member


def _check_count(count: int, title: str) -> None:
    if count > MAX_BOOK_MEMBERS:
        raise BookError(f"{title} holds more than {MAX_BOOK_MEMBERS} files", "split it into volumes")


def _check_total(total: int, packed: int, title: str) -> None:
    # Members of an archive may each be blank bitmaps; all together are not.
    if total > MAX_BOOK_BYTES or total > packed * MAX_RATIO + 16 * FREE_RATIO_BYTES:
        raise BookError(f"{title} would unpack to more than {total} bytes", "it looks harmful; split it into volumes")


def _capped(file: IO[bytes], name: str, limit: int) -> bytes:
    content = file.read(limit + 1)
    if len(content) > limit:
        raise BookError(f"{name} has more than {limit} bytes", "it is damaged, or too large for what it is")
    return content


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Whatever an archive's library stumbles over, as a `BookError`."""
    try:
        yield
    except BookError:
        raise
    except RuntimeError as error:  # zipfile: a password; rarfile: a tool that is missing
        raise BookError(f"{name} cannot be unpacked: {_first_line(error)}", _DAMAGED) from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, struct.error) as error:
        raise BookError(f"{name} is damaged: {_first_line(error)}", _DAMAGED) from error
    except Exception as error:  # lzma.LZMAError, rarfile.Error, MemoryError of a lying header
        raise BookError(f"{name} cannot be unpacked: {_first_line(error)}", _DAMAGED) from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def in_memory(content: bytes) -> IO[bytes]:
    """A file of what was read from another archive."""
    return io.BytesIO(content)
