"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mmr_runtime.errors import UsageError


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
        temporary.replace(path)
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
