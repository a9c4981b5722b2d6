"""Pages of a PDF, drawn by pypdfium2 (extra `pdf`)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mmr_runtime.books.sources import Member
from mmr_runtime.errors import BookError
from mmr_runtime.limits import MAX_BOOK_MEMBERS

if TYPE_CHECKING:
    from PIL.Image import Image

_LONG_SIDE = 1600
"""Pixels; twice what any image tower looks at."""


class Pdf:
    """An open PDF.

    Raises:
        BookError: it cannot be read, or what reads it is missing.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pypdfium2
        except ImportError as error:
            raise BookError(f"{path.name} needs what reads PDF", "pip install 'mmr-runtime[pdf]'") from error
        try:
            self._document = pypdfium2.PdfDocument(path)
            self._count = len(self._document)
        except pypdfium2.PdfiumError as error:
            hint = "save it without a password" if "assword" in str(error) else "download or make it again"
            raise BookError(f"{path.name} cannot be read: {error}", hint) from error
        if not 0 < self._count <= MAX_BOOK_MEMBERS:
            self.close()
            raise BookError(f"{path.name} has {self._count} pages", f"a book has 1 to {MAX_BOOK_MEMBERS}")
        self._lock = threading.Lock()  # pdfium is not safe for threads

    def __len__(self) -> int:
        return self._count

    def draw(self, number: int) -> Image:
        """A page, counted from 0, in RGB, its longer side about 1,600 pixels.

        Raises:
            BookError: the page is damaged.
        """
        import pypdfium2

        with self._lock:
            try:
                page = self._document[number]
                width, height = page.get_size()
                if not (width > 0 and height > 0):
                    raise BookError(f"page {number + 1} has no size", "it is damaged")
                drawn: Image = page.render(scale=_LONG_SIDE / max(width, height)).to_pil()
            except pypdfium2.PdfiumError as error:
                raise BookError(f"page {number + 1} cannot be drawn: {error}", "it is damaged") from error
        return drawn.convert("RGB")

    def members(self) -> list[Member]:
        """None: its pages are drawn."""
        return []

    def read(self, name: str, limit: int = 0) -> bytes:  # noqa: ARG002 (of `Source`)
        """Nothing that could be read."""
        raise BookError(f"a PDF has no file {name}")

    def close(self) -> None:
        """Close the file."""
        self._document.close()
