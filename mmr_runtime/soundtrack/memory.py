"""What was set by hand for a book, and its last soundtrack: kept in the index of the library, by the book's key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mmr_runtime.errors import InputError
from mmr_runtime.soundtrack.soundtrack import Corrections, Soundtrack
from mmr_runtime.soundtrack.stored import from_json, to_json

if TYPE_CHECKING:
    from mmr_runtime.books import Book
    from mmr_runtime.library import Library


def recall_corrections(library: Library, book: Book) -> Corrections:
    """Pins and bans of this book; none where nothing was said."""
    text = library.recall(f"corrections {book.key}")
    if text is None:
        return Corrections()
    kept = json.loads(text)
    return Corrections(tuple((int(page), str(path)) for page, path in kept["pins"]), tuple(map(str, kept["bans"])))


def remember_corrections(library: Library, book: Book, corrections: Corrections) -> None:
    """Keep pins and bans of this book.

    Raises:
        LibraryError: the index cannot be written.
    """
    text = json.dumps({"pins": corrections.pins, "bans": corrections.bans})
    library.remember(f"corrections {book.key}", text)


def recall_soundtrack(library: Library, book: Book) -> Soundtrack | None:
    """The soundtrack that was last made for this book; None where there is none, or it is a newer version's."""
    text = library.recall(f"soundtrack {book.key}")
    try:
        return None if text is None else from_json(text)
    except InputError:
        return None


def remember_soundtrack(library: Library, book: Book, soundtrack: Soundtrack) -> None:
    """Keep it until another is made.

    Raises:
        LibraryError: the index cannot be written.
    """
    library.remember(f"soundtrack {book.key}", to_json(soundtrack).decode())
