"""A soundtrack for other programs, and for people: text, M3U8, JSPF, and the manifest that OpenComic plays."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import quote

from mmr_runtime.errors import InputError
from mmr_runtime.files import write_file
from mmr_runtime.soundtrack.soundtrack import Part, Song, Soundtrack
from mmr_runtime.soundtrack.stored import pin_ranges, to_json

Form = Literal["json", "text", "m3u8", "jspf", "opencomic"]
FORMS: tuple[Form, ...] = ("json", "text", "m3u8", "jspf", "opencomic")

JSPF_EXTENSION = "urn:mmr:soundtrack:1"
"""Key of what mmr adds to a track in JSPF."""

OPENCOMIC_SUFFIXES = frozenset(
    (".mp3", ".mpga", ".m4a", ".mp4", ".webm", ".weba", ".oga", ".ogg", ".opus", ".wav", ".flac")
)
"""Sound files that OpenComic plays."""

TEXT_HEAD = "# mmr soundtrack 1"
_HELP = """\
# Change a song or its pages, or add lines; then give this file to mmr again. What you changed is kept from then on.
#   13-20 PATH        what plays; of a path the end is enough where only one song has it
#   keep 13-20 PATH   set by hand before: plays there whenever mmr plans again
#   never PATH        not in this book
# Pages of a line that you remove are planned anew."""


def render(soundtrack: Soundtrack, form: Form, folder: str | Path) -> bytes:
    """A soundtrack as the bytes of a file.

    Args:
        soundtrack: what is written.
        form: `json` (all of it, see `stored`), `text` (to read and to edit), `m3u8`, `jspf` or `opencomic`.
        folder: that the file will lie in; paths of an M3U8 are relative to it.

    Raises:
        InputError: the form cannot hold a song.
    """
    if form == "json":
        return to_json(soundtrack)
    if form == "text":
        return _text(soundtrack).encode("utf-8", "replace")
    if form == "m3u8":
        return _m3u8(soundtrack, Path(folder)).encode("utf-8")
    if form == "jspf":
        return _json(_jspf(soundtrack))
    return _json(_opencomic(soundtrack))


def write(soundtrack: Soundtrack, path: str | Path, form: Form) -> None:
    """Write a soundtrack, whole or not at all.

    Raises:
        InputError: the form cannot hold a song.
        UsageError: the file cannot be written.
    """
    path = Path(path)
    data = render(soundtrack, form, path.parent)
    write_file(path, data)


def _text(soundtrack: Soundtrack) -> str:
    lines = [TEXT_HEAD, f"# {_line(soundtrack.title)}, {len(soundtrack.pages)} pages", "#", _HELP]
    for part in soundtrack.parts:
        margin = "" if part.margin is None else f", margin {part.margin:+.3f}"
        lines += ["", f"# {_name(part.song)}{_clock(part.song)}; score {part.score:.3f}{margin}"]
        lines += [f"{part.pages} {text_path(part.song.path)}"]
    corrections = soundtrack.corrections
    kept = [f"keep {_range(pages)} {text_path(path)}" for pages, path in pin_ranges(corrections)]
    kept += [f"never {text_path(path)}" for path in corrections.bans]
    return "\n".join([*lines, *([""] if kept else []), *kept]) + "\n"


def text_path(path: str) -> str:
    """A path as it stands in the text form: as it is, or as a JSON string where that could not be read back."""
    plain = path.isprintable() and path == path.strip() and not path.startswith('"')
    return path if plain else json.dumps(path)


def _m3u8(soundtrack: Soundtrack, folder: Path) -> str:
    lines = ["#EXTM3U", f"#PLAYLIST:{_line(soundtrack.title)}"]
    for part in soundtrack.parts:
        song = part.song
        path = _near(song.path, folder)
        if not _is_text(path) or len(path.splitlines()) > 1:
            raise InputError(f"an M3U8 cannot hold the name of {song.path!r}", "rename the file, or write JSPF")
        seconds = -1 if song.seconds is None else round(song.seconds)
        lines += [f"# pages {part.pages}", f"#EXTINF:{seconds},{_name(song)}", path]
    return "\n".join(lines) + "\n"


def _near(path: str, folder: Path) -> str:
    """Relative to the folder where there is a way (on another drive there is none), never like a comment."""
    try:
        relative = os.path.relpath(path, folder.absolute())
    except ValueError:
        return path
    return f"./{relative}" if relative.startswith("#") else relative


def _jspf(soundtrack: Soundtrack) -> dict[str, Any]:
    return {"playlist": {"title": _line(soundtrack.title), "track": [_jspf_track(part) for part in soundtrack.parts]}}


def _jspf_track(part: Part) -> dict[str, Any]:
    song = part.song
    track: dict[str, Any] = {"location": [_uri(song.path)], "title": _title(song)}
    if song.artist:
        track["creator"] = _line(song.artist)
    if song.seconds is not None:
        track["duration"] = round(1000 * song.seconds)
    facts = {
        "firstPage": part.first + 1,
        "lastPage": part.last + 1,
        "startSeconds": song.start_s,
        "gainDb": song.gain_db,
    }
    track["extension"] = {JSPF_EXTENSION: [{key: value for key, value in facts.items() if value is not None}]}
    return track


def _opencomic(soundtrack: Soundtrack) -> dict[str, Any]:
    """OpenComic's `music.json`.

    Paths are absolute: it resolves relative ones against its working directory when the file lies beside the book
    instead of in it. There, the file counts for every book of the folder.
    """
    for part in soundtrack.parts:
        if PurePath(part.song.path).suffix.lower() not in OPENCOMIC_SUFFIXES or not _is_text(part.song.path):
            raise InputError(f"OpenComic does not play {part.song.path!r}", "ban the song, or convert it to ogg or mp3")
    return {
        "bgm": [
            {"path": str(Path(part.song.path).absolute()), "startPage": part.first + 1, "endPage": part.last + 1}
            for part in soundtrack.parts
        ]
    }


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode("utf-8")


def _uri(path: str) -> str:
    """file:// of an absolute path; a relative one stays relative."""
    known = Path(path)
    return known.as_uri() if known.is_absolute() else quote(os.fsencode(known.as_posix()))


def _title(song: Song) -> str:
    return _line(song.title or PurePath(song.path).stem)


def _name(song: Song) -> str:
    return f"{_line(song.artist)} - {_title(song)}" if song.artist else _title(song)


def _clock(song: Song) -> str:
    return "" if song.seconds is None else f", {round(song.seconds) // 60}:{round(song.seconds) % 60:02}"


def _range(pages: list[int]) -> str:
    return str(pages[0]) if pages[0] == pages[1] else f"{pages[0]}-{pages[1]}"


def _line(text: str) -> str:
    """One line that can be encoded."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _is_text(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
