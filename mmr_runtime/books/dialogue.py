"""What is spoken on the pages of a book, where somebody has written it down beside it.

Three forms are read, the first that is there: `.mokuro` (https://github.com/kha-white/mokuro, one JSON a volume),
`text.json` (page -> lines, or page -> language -> lines), and a text file beside each page (`012.txt`, a line for each
balloon). The text encoders read English: lines in another script are left out, and counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mmr_runtime.errors import BookError
from mmr_runtime.limits import MAX_PAGE_LINES, MAX_TEXT_CHARS

MOKURO_SUFFIX = ".mokuro"
TEXT_JSON = "text.json"
_LANGUAGES = ("en", "english", "translated")
_HINT = "remove it, or write it again"


@dataclass(frozen=True)
class Dialogue:
    """Lines of every page that has some.

    Attributes:
        lines: page number, from 0, -> its lines.
        unread: lines that were left out since they are in no Latin script.
    """

    lines: dict[int, list[str]]
    unread: int = 0


def read_mokuro(content: bytes, name: str, pages: Sequence[str]) -> Dialogue:
    """Dialogue of a .mokuro file: the blocks of each page, their lines joined.

    Args:
        content: of the file.
        name: of the file, for messages.
        pages: names of the book's pages, in order.

    Raises:
        BookError: it is not what mokuro writes.
    """
    found = _json(content, name)
    entries = found.get("pages") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise BookError(f"{name} has no list of pages", _HINT)
    spoken: dict[str, list[str]] = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("img_path"), str):
            blocks = entry.get("blocks")
            spoken[entry["img_path"]] = [
                " ".join(_texts(block.get("lines")))
                for block in (blocks if isinstance(blocks, list) else [])
                if isinstance(block, dict)
            ]
    return _matched(spoken, pages)


def read_text_json(content: bytes, name: str, pages: Sequence[str]) -> Dialogue:
    """Dialogue of a text.json: page name or number -> lines, or -> language -> lines; for the arguments see above.

    Raises:
        BookError: it is not of that form.
    """
    found = _json(content, name)
    if not isinstance(found, dict):
        raise BookError(f"{name} is no object of pages", _HINT)
    spoken = {}
    for page, lines in found.items():
        if isinstance(lines, dict):
            lines = next((lines[language] for language in _LANGUAGES if language in lines), [])
        spoken[page] = _texts(lines)
    return _matched(spoken, pages)


def read_page_texts(read: Callable[[int], bytes | None], pages: Sequence[str]) -> Dialogue:
    """Dialogue of text files beside the pages.

    Args:
        read: content of the text of a page, None where there is none.
        pages: names of the book's pages, in order.
    """
    contents = [read(number) for number in range(len(pages))]
    spoken = {
        pages[i]: content.decode("utf-8", "replace").lstrip("\ufeff").splitlines()
        for i, content in enumerate(contents)
        if content is not None
    }
    return _matched(spoken, pages)


def is_readable(line: str) -> bool:
    """Whether most letters of a line are of the alphabet that the text encoders know."""
    letters = [c for c in line if c.isalpha()]
    return 2 * sum(c.isascii() for c in letters) > len(letters)


def _matched(spoken: dict[str, list[str]], pages: Sequence[str]) -> Dialogue:
    """Lines by page number; a page is named by its path, its file's name, or that without the ending."""
    numbers: dict[str, int] = {}
    for number, page in enumerate(pages):
        path = PurePosixPath(page)
        for name in (path.stem, path.name, page):
            numbers.setdefault(name, number)
    lines: dict[int, list[str]] = {}
    unread = 0
    for name, said in spoken.items():
        path = PurePosixPath(name.replace("\\", "/"))
        place = next((numbers[n] for n in (str(path), path.name, path.stem) if n in numbers), None)
        if place is None:
            continue
        trimmed = [line for line in (" ".join(text.split()) for text in said) if line]
        kept = [line[:MAX_TEXT_CHARS] for line in trimmed if is_readable(line)][:MAX_PAGE_LINES]
        unread += sum(not is_readable(line) for line in trimmed)
        if kept:
            lines[place] = kept
    return Dialogue(lines, unread)


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, Iterable) else []


def _json(content: bytes, name: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BookError(f"{name} is not JSON: {error}", _HINT) from None
