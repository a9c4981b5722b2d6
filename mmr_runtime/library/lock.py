"""One writer at a time."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmr_runtime.errors import LibraryError

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Hold the lock file, which names its owner's process.

    The operating system holds the lock, not the file's existence: it ends with its process, however that ends, and what
    a dead process left is taken over.

    Raises:
        LibraryError: another process holds it, or the file cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LibraryError(f"the index cannot be written: {path}: {error.strerror}", _hint_elsewhere()) from error
    try:
        if not _acquire(handle):
            # Windows does not let others read what is locked: the name of the owner stands behind the locked byte.
            owner = _read_owner(handle) or "unknown"
            raise LibraryError(
                f"another mmr (process {owner}) is writing the index {path.parent}",
                "wait until it is done, or keep another index with --index",
            )
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f" {os.getpid()}\n".encode())
        try:
            yield
        finally:
            _release(handle)
    finally:
        os.close(handle)


def _hint_elsewhere() -> str:
    return "make the folder writable, or keep the index elsewhere with --index"


def _read_owner(handle: int) -> str:
    try:
        os.lseek(handle, 1, os.SEEK_SET)
        return os.read(handle, 20).decode("ascii", "replace").strip()
    except OSError:
        return ""


def _release(handle: int) -> None:
    """Windows frees what a closed file had locked when it finds the time, the others at once."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)  # a lock is of the bytes at the file's position
        with suppress(OSError):  # there may have been none to get
            msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)


def _acquire(handle: int) -> bool:
    """Whether the lock is ours; where a file system knows no locks, SQLite's own transactions must do."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True
