"""Names in a book: which are pages, which are hidden, and in which order they are read."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

UNREAD_SUFFIXES = frozenset((".jxl", ".heic", ".heif"))
"""Of images that other readers may show and mmr does not read: named, so that page numbers can be compared."""

ARCHIVE_SUFFIXES = frozenset((".cbz", ".zip", ".cbt", ".tar", ".cbr", ".rar"))
"""Of archives that may lie in another one."""

_CHUNK = re.compile(r"[0-9]+|[^0-9]+")
_ENCODINGS = ("utf-8", "cp932")

Key = tuple[list[list[tuple[int, int, str]]], str]


def suffix(name: str) -> str:
    """The ending in lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


def is_hidden(name: str) -> bool:
    """Whether a member is a system's own: of macOS, or with a part that begins with a dot."""
    parts = [part for part in name.split("/") if part not in (".", "..")]
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def natural_key(name: str) -> Key:
    """Sorts names as people count: `p2` before `p10`, folders part by part, case and width of letters ignored.

    A hyphen is no sign. Equal names (`01`, `1`) keep a fixed order.
    """
    path = PurePosixPath(unicodedata.normalize("NFKC", name).casefold())
    parts = [*path.parts[:-1], path.stem, path.suffix]
    return [[_chunk(chunk) for chunk in _CHUNK.findall(part)] for part in parts], name


def _chunk(text: str) -> tuple[int, int, str]:
    # Digits as (length, text), since a number of thousands of digits is no int.
    digits = text.lstrip("0")
    return (0, len(digits), digits) if text[0] in "0123456789" else (1, 0, text)


def decoded(names: list[bytes]) -> list[str]:
    """Names of an archive that does not say its encoding: UTF-8, the Japanese one of Windows, or else cp437.

    All names of an archive have one encoding: each alone might be read in a wrong one.
    """
    for encoding in _ENCODINGS:
        try:
            return [name.decode(encoding) for name in names]
        except UnicodeDecodeError:
            continue
    return [name.decode("cp437") for name in names]
