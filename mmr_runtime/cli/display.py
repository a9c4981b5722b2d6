"""Text on a terminal: widths of wide characters, tables, bars, and bytes that no encoding refuses."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import click

_GAP = "  "
_DEFAULT_COLUMNS = 80
_LEAST_TEXT = 12
_BAR = 24
_SURROGATE = re.compile("[\ud800-\udfff]")


# -- characters -------------------------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """The text without what moves a cursor: line ends and controls become `?`, invisible marks go.

    Titles and names come from files of unknown origin; an escape sequence in one must not reach the terminal. Bytes
    that are no valid text (surrogates) stay, so that a name that is copied from the output still names its file.
    """
    if text.isprintable():
        return text
    return "".join(_shown(c) for c in text)


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":  # joiners and marks of direction
        return ""
    if category in ("Zl", "Zp", "Cc") or (category == "Cs" and not "\udc80" <= character <= "\udcff"):
        return "?"
    return character


def width(text: str) -> int:
    """Columns that a text takes: 2 for a wide character, 0 for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(c) for c in text)


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int, *, ellipsis: str = "…") -> str:
    """The text's beginning, in at most so many columns."""
    if width(text) <= columns:
        return text
    room = columns - width(ellipsis)
    kept = 0
    for character in text:
        room -= _columns_of(character)
        if room < 0:
            break
        kept += 1
    return text[:kept] + ellipsis


def cut_front(text: str, columns: int, *, ellipsis: str = "…") -> str:
    """The text's end, in at most so many columns: what tells paths apart stands there."""
    if width(text) <= columns:
        return text
    room = columns - width(ellipsis)
    kept = len(text)
    while kept and (room := room - _columns_of(text[kept - 1])) >= 0:
        kept -= 1
    while kept < len(text) and not _columns_of(text[kept]):
        kept += 1  # a combining mark whose letter was cut off
    return ellipsis + text[kept:]


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """The text with spaces behind it (before it with `right`), so many columns wide."""
    spaces = " " * max(0, columns - width(text))
    return spaces + text if right else text + spaces


# -- where it goes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """What the receiver of a text can show.

    Attributes:
        columns: of the terminal, or None where the text goes to a file or pipe and nothing is cut.
        colour: whether escape sequences for colours are welcome.
        plain: whether only ASCII may be added to what users named.
    """

    columns: int | None = None
    colour: bool = False
    plain: bool = False

    @classmethod
    def of(cls, stream: TextIO | None) -> Style:
        """The style of a stream (None: a closed one); https://no-color.org is honoured."""
        if stream is None:
            return cls()
        is_terminal = stream.isatty()
        colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(columns(stream) if is_terminal else None, colour, plain=not _takes(stream, "…█"))

    @property
    def ellipsis(self) -> str:
        """Stands for what was cut."""
        return "..." if self.plain else "…"

    def paint(self, text: str, **how: Any) -> str:
        """The text in a colour or weight (click.style), where colours are welcome."""
        return click.style(text, **how) if self.colour else text


def columns(stream: TextIO) -> int:
    """Width of the terminal behind a stream."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_COLUMNS
    except (OSError, ValueError):
        return _DEFAULT_COLUMNS


def _takes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def write(text: str) -> None:
    """Put text on stdout; names that are no valid text come out as the bytes that they are."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        content = text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        content = text.encode(encoding, "replace")
    click.echo(content)


def write_json(value: Any) -> None:
    """Put one JSON object on stdout, always as valid UTF-8.

    A name that is no valid text comes out with escaped surrogates, from which Python's `os.fsencode` makes the name.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    click.echo(_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode())


# -- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        head: its name.
        right: aligned right.
        shrinks: `end` or `front`: cut there where the terminal is too narrow.
        dim: less prominent.
    """

    head: str
    right: bool = False
    shrinks: str = ""
    dim: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], style: Style) -> str:
    """Rows under their heads, aligned; on a terminal shortened to its width."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(width(c) for c in (column.head, *own)) for column, *own in zip(columns, *cells, strict=True)]
    if style.columns is not None:
        widths = _fitted(columns, widths, style.columns)
    lines = [style.paint(_line(columns, [c.head for c in columns], widths, Style(plain=style.plain)), bold=True)]
    lines += [_line(columns, row, widths, style) for row in cells]
    return "\n".join(lines)


def _fitted(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """Widths that fit: of the columns that may shrink, always the widest gives way, down to a least width."""
    widths = list(widths)
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - room
    while excess > 0:
        at = max((i for i, c in enumerate(columns) if c.shrinks), key=lambda i: widths[i], default=None)
        if at is None or widths[at] <= _LEAST_TEXT:
            break
        widths[at] -= 1
        excess -= 1
    return widths


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], style: Style) -> str:
    parts = []
    for column, cell, columns_wide in zip(columns, cells, widths, strict=True):
        shorten = cut_front if column.shrinks == "front" else cut
        text = shorten(cell, columns_wide, ellipsis=style.ellipsis)
        is_last = column is columns[-1]
        text = text if is_last and not column.right else pad(text, columns_wide, right=column.right)
        parts.append(style.paint(text, dim=True) if column.dim else text)
    return _GAP.join(parts)


def bars(shares: dict[str, float], style: Style) -> str:
    """Shares of a whole as bars, the largest first."""
    longest = max(map(width, shares))
    lines = []
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        bar = ("#" if style.plain else "█") * round(share * _BAR)
        lines.append(f"{pad(name, longest)}{_GAP}{100 * share:3.0f}%{_GAP}{style.paint(bar, fg='cyan')}".rstrip())
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on; parts of a second are dropped."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
