"""What a sound file says of itself: text that is safe to print, and its ReplayGain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mmr_runtime.limits import MAX_TAG_CHARS

_GAIN = re.compile(r"([+-]?\d{1,3}(?:\.\d{1,9})?)\s*(?:dB)?", re.IGNORECASE)


@dataclass(frozen=True)
class Tags:
    """What a file says of itself; empty strings where it says nothing.

    Attributes:
        title: of the song.
        artist: or band.
        album: that it is from.
        genre: as given; where a mood is given, too, it follows.
        gain: ReplayGain of the track, dB, or None.
    """

    title: str = ""
    artist: str = ""
    album: str = ""
    genre: str = ""
    gain: float | None = None


def read_tags(path: Path) -> Tags:
    """Tags of a sound file; a file without readable tags has empty ones, never an error."""
    from tinytag import TinyTag

    try:
        tag = TinyTag.get(path, tags=True, duration=False)
    except Exception:
        return Tags()
    other = {key.lower(): values for key, values in tag.other.items() if values}
    genre = ", ".join(filter(None, (tag.genre, *other.get("mood", ()))))
    gain = next(iter(other.get("replaygain_track_gain", ())), "")
    return Tags(_clean(tag.title), _clean(tag.artist), _clean(tag.album), _clean(genre), _decibels(gain))


def _decibels(text: str) -> float | None:
    """The number of "-6.20 dB", or None."""
    found = _GAIN.fullmatch(text.strip())
    return float(found[1]) if found else None


def _clean(text: str | None) -> str:
    """One line without control characters, of bounded length."""
    printable = "".join(c if c.isprintable() else " " for c in (text or "")[: 4 * MAX_TAG_CHARS])
    return " ".join(printable.split())[:MAX_TAG_CHARS]
