"""Playlists: M3U and M3U8, XSPF (https://xspf.org/spec) and its JSON form, JSPF."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mmr_runtime.errors import InputError
from mmr_runtime.limits import MAX_PLAYLIST_BYTES

PLAYLIST_SUFFIXES = frozenset((".m3u", ".m3u8", ".xspf", ".jspf"))


def read_playlist(path: Path) -> list[Path]:
    """Absolute paths of the songs that a playlist names, in its order; what lies on the network is left out.

    Args:
        path: of the playlist; relative names in it count from its folder.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_PLAYLIST_BYTES:
            raise InputError(f"{path} has more than {MAX_PLAYLIST_BYTES} bytes", "that is no playlist")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    suffix = path.suffix.lower()
    if suffix == ".xspf":
        found = _xspf(content, path)
    elif suffix == ".jspf":
        found = _jspf(content, path)
    else:
        found = _m3u(content)
    songs = (path.parent / name for name in found)
    return list(dict.fromkeys(Path(os.path.abspath(song)) for song in songs))  # noqa: PTH100 (keeps links)


def _m3u(content: bytes) -> Iterator[str]:
    for line in content.removeprefix(b"\xef\xbb\xbf").splitlines():
        text = _decoded(line).strip()
        if text and not text.startswith("#"):
            local = _local(text) if "://" in text else text
            if local:
                yield local


def _decoded(line: bytes) -> str:
    """UTF-8, or else as the system names files; many players on Windows write the language's own code page."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("mbcs", "replace") if sys.platform == "win32" else os.fsdecode(line)


def _xspf(content: bytes, path: Path) -> Iterator[str]:
    from mmr_runtime.safe_xml import parse

    for track in parse(content, str(path)).iter("track"):
        locations = [" ".join((element.text or "").split()) for element in track.iter("location")]
        yield from (local for local in map(_local, locations) if local)


def _jspf(content: bytes, path: Path) -> Iterator[str]:
    try:
        tracks: Any = json.loads(content)["playlist"]["track"]
        locations = [track.get("location", []) for track in tracks]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not JSPF: {error}", "export the playlist again") from None
    for location in locations:
        names = [location] if isinstance(location, str) else location if isinstance(location, list) else []
        yield from (local for local in map(_local, filter(lambda n: isinstance(n, str), names)) if local)


def _local(location: str) -> str:
    """The path that a URI means; empty for one on the network."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    if parts.scheme == "file":
        from urllib.request import url2pathname  # loads http and ssl, 20 ms that a search need not pay

        if parts.netloc in ("", "localhost"):
            return url2pathname(parts.path)
        # A folder that another machine shares; only Windows has paths for those.
        return url2pathname(f"//{parts.netloc}{parts.path}") if sys.platform == "win32" else ""
    # A single letter is a drive of Windows.
    return unquote(location, errors="surrogateescape") if len(parts.scheme) < 2 else ""
