"""Title, artist and album of a sound file, as text that is safe to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmr_runtime.limits import MAX_TAG_CHARS


@dataclass(frozen=True)
class Tags:
    """What a file says of itself; empty strings where it says nothing."""

    title: str = ""
    artist: str = ""
    album: str = ""


def read_tags(path: Path) -> Tags:
    """Tags of a sound file; a file without readable tags has empty ones, never an error."""
    from tinytag import TinyTag

    try:
        tag = TinyTag.get(path, tags=True, duration=False)
    except Exception:
        return Tags()
    return Tags(_clean(tag.title), _clean(tag.artist), _clean(tag.album))


def _clean(text: str | None) -> str:
    """One line without control characters, of bounded length."""
    printable = "".join(c if c.isprintable() else " " for c in (text or "")[: 4 * MAX_TAG_CHARS])
    return " ".join(printable.split())[:MAX_TAG_CHARS]
