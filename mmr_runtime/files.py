"""Files that are there whole or not at all, and names that are spelled differently from system to system."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from mmr_runtime.errors import UsageError

_PAUSES = (0.01, 0.03, 0.1, 0.3)
"""Seconds between tries to rename on Windows."""


def rename(path: Path, target: Path) -> None:
    """Give a file or a folder its name; a file that has that name is replaced.

    Windows refuses while another program has either of them open, as virus scanners do with new files for a moment:
    there it is tried again.

    Raises:
        OSError: it cannot be done.
    """
    for pause in _PAUSES if sys.platform == "win32" else ():
        try:
            path.replace(target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    path.replace(target)


def comparable(path: str) -> str:
    """A path in the one form in which paths are compared that another program, or a person, wrote.

    macOS takes `é` and `e` with an accent behind it for one name, and older disks of it keep the latter; Windows and
    macOS ignore case, and Windows takes both slashes.
    """
    import unicodedata  # 1 ms that only those pay who compare

    name = os.path.normcase(unicodedata.normalize("NFC", path))
    return name.casefold() if sys.platform == "darwin" else name


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file through a temporary one beside it: a crash leaves the old file or the new one, never a part.

    Raises:
        OSError: the place cannot be written to.
    """
    import secrets  # a search that writes nothing need not pay 2 ms for it

    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """`write_whole` for a place that a user named.

    Raises:
        UsageError: the place cannot be written to.
    """
    try:
        write_whole(path, [content])
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}", "choose another place") from error
