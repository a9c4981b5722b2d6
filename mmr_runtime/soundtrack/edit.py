"""What a person changed in an exported soundtrack becomes pins and bans."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from mmr_runtime.errors import InputError
from mmr_runtime.files import comparable
from mmr_runtime.soundtrack.formats import TEXT_HEAD
from mmr_runtime.soundtrack.soundtrack import Corrections, Soundtrack
from mmr_runtime.soundtrack.stored import read_object

_LINE = re.compile(
    r"(?:(?P<kind>keep)\s+)?(?P<first>\d+)(?:\s*-\s*(?P<last>\d+))?\s+(?P<path>\S.*)|never\s+(?P<banned>\S.*)"
)
_FORM = "write `13-20 PATH`, `keep 13-20 PATH` or `never PATH`, or begin a remark with #"


@dataclass(frozen=True)
class _Entry:
    """One thing that an edited soundtrack says; pages from 0, none for a ban."""

    where: str
    kind: Literal["play", "keep", "never"]
    path: str
    first: int = 0
    last: int = -1


def revise(soundtrack: Soundtrack, edited: bytes | str, paths: Sequence[str]) -> Corrections:
    """The corrections of a soundtrack after a person changed its exported form.

    On pages whose song differs from the soundtrack's, the new song is pinned. Pins and bans of before stay unless their
    `keep` and `never` lines (`pins` and `bans` in JSON) were changed or removed; a changed song wins over a pin. Pages
    that no line covers are left to the next plan.

    Args:
        soundtrack: as it was exported.
        edited: its text or JSON form, changed.
        paths: of the songs in the library. In the edited form the end of a path is enough where only one song has it.

    Raises:
        InputError: a line cannot be read, names pages or songs that are not there or more than once, or contradicts
            another; the message names the line (in JSON the entry), and what to do.
    """
    entries = _read(edited)
    for entry in entries:
        if entry.last >= len(soundtrack.pages):
            raise InputError(
                f"{entry.where}: the book has {len(soundtrack.pages)} pages, not {entry.last + 1}",
                "correct the page numbers",
            )
    names = _Names(paths)
    before = soundtrack.paths()
    bans = {_banned(entry, names, soundtrack): entry for entry in entries if entry.kind == "never"}
    pins: dict[int, tuple[str, _Entry]] = {}
    for entry in entries:
        if entry.kind == "keep":
            _cover(pins, entry, range(entry.first, entry.last + 1), names.find(entry))
    changed: dict[int, tuple[str, _Entry]] = {}
    said: dict[int, tuple[str, _Entry]] = {}
    for entry in entries:
        if entry.kind == "play":
            pages = range(entry.first, entry.last + 1)
            _cover(said, entry, pages, entry.path)
            # A song that was not touched need not be in the library any more.
            path = entry.path if all(before[page] == entry.path for page in pages) else names.find(entry)
            changed |= {page: (path, entry) for page in pages if before[page] != path}
    pins |= changed
    for page, (path, entry) in sorted(pins.items()):
        if path in bans:
            raise InputError(
                f"{entry.where}: page {page + 1} plays {path}, and {bans[path].where} says that it never plays",
                "remove one of the two",
            )
    return Corrections(tuple((page, pins[page][0]) for page in sorted(pins)), tuple(sorted(bans)))


def correct(
    corrections: Corrections,
    paths: Sequence[str],
    *,
    pins: Sequence[tuple[int, int, str]] = (),
    bans: Sequence[str] = (),
) -> Corrections:
    """Corrections with more of them; the new ones win, and a song that is banned is pinned nowhere.

    Args:
        corrections: of before.
        paths: of the songs in the library; the end of one is enough where only one song has it.
        pins: (first, last, song), pages from 0, inclusive.
        bans: songs that never play.

    Raises:
        InputError: a song is not in the library, or is pinned and banned at once.
    """
    names = _Names(paths)
    banned = [names.find(_Entry(f"ban of {song}", "never", song)) for song in bans]
    wanted: dict[int, str] = {}
    for first, last, song in pins:
        entry = _Entry(f"pin of {song}", "keep", song, first, last)
        path = names.find(entry)
        if path in banned:
            raise InputError(f"{path} is pinned and banned at once", "leave out one of the two")
        wanted |= dict.fromkeys(range(first, last + 1), path)
    kept = {page: path for page, path in corrections.pins if path not in banned}
    lifted = set(wanted.values())
    never = (*(path for path in corrections.bans if path not in lifted), *banned)
    return Corrections(tuple(sorted((kept | wanted).items())), tuple(sorted(set(never))))


def _cover(known: dict[int, tuple[str, _Entry]], entry: _Entry, pages: range, path: str) -> None:
    """Note the song of some pages; no page may have two."""
    for page in pages:
        if page in known:
            raise InputError(
                f"{entry.where}: page {page + 1} has a song already, by {known[page][1].where}",
                "let each page stand in one line",
            )
        known[page] = path, entry


def _banned(entry: _Entry, names: _Names, soundtrack: Soundtrack) -> str:
    """A song banned before may be gone from the library."""
    return entry.path if entry.path in soundtrack.corrections.bans else names.find(entry)


class _Names:
    """Songs by path or by the end of it."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = {path: _ending(path) for path in paths}

    def find(self, entry: _Entry) -> str:
        """The path that an entry means."""
        if entry.path in self._paths:
            return entry.path
        end = _ending(entry.path.replace("\\", "/").removeprefix("./"))
        found = sorted(path for path, form in self._paths.items() if form.endswith(end))
        if not found:
            near = sorted(path for path in self._paths if entry.path.lower() in PurePath(path).name.lower())
            raise InputError(
                f"{entry.where}: no song of the library is called {entry.path}",
                f"perhaps {PurePath(near[0]).name}" if near else "write the path of a song in the library",
            )
        if len(found) > 1:
            raise InputError(
                f"{entry.where}: {len(found)} songs are called {entry.path}, among them {found[0]} and {found[1]}",
                "write more of the path",
            )
        return found[0]


def _ending(path: str) -> str:
    """What the end of a path is compared by: whole names, in the form of any system."""
    return "/" + comparable(path).replace("\\", "/").lstrip("/")


def _read(edited: bytes | str) -> list[_Entry]:
    if isinstance(edited, bytes):
        try:
            edited = edited.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise InputError(f"line {line} is not UTF-8", "save the file as UTF-8") from None
    return _from_json(edited) if edited.lstrip().startswith("{") else _from_text(edited)


def _from_json(edited: str) -> list[_Entry]:
    whole = read_object(edited)
    entries = [_Entry(s.where, "play", s.text("path"), *s.range("pages")) for s in whole.objects("segments")]
    entries += [_Entry(pin.where, "keep", pin.text("path"), *pin.range("pages")) for pin in whole.objects("pins")]
    return entries + [_Entry(f"bans[{i}]", "never", path) for i, path in enumerate(whole.texts("bans"))]


def _from_text(edited: str) -> list[_Entry]:
    lines = edited.split("\n")
    if lines[0].startswith("# mmr soundtrack ") and lines[0].strip() != TEXT_HEAD:
        raise InputError(
            f"line 1: {lines[0].strip()!r:.60} is of another version", "export the soundtrack again, and edit that"
        )
    entries = []
    for number, line in enumerate(lines, start=1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        where = f"line {number}"
        found = _LINE.fullmatch(content)
        if not found:
            raise InputError(f"{where}: {content!r:.80} says nothing that mmr knows", _FORM)
        path = _path(found["banned"] or found["path"], where)
        if found["banned"]:
            entries.append(_Entry(where, "never", path))
            continue
        first, last = int(found["first"]), int(found["last"] or found["first"])
        if not 1 <= first <= last:
            raise InputError(
                f"{where}: pages {first}-{last} are none", "count pages from 1, and write the first page first"
            )
        entries.append(_Entry(where, "keep" if found["kind"] else "play", path, first - 1, last - 1))
    return entries


def _path(text: str, where: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        path = json.loads(text)
    except ValueError:
        path = None
    if not isinstance(path, str) or not path:
        raise InputError(
            f"{where}: {text!r:.80} is not a quoted path", 'close the quotes, and write \\" for one inside'
        )
    return path
