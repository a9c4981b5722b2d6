"""Pages as images, decoded beside the window's thread and kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal
from PySide6.QtGui import QImage

from mmr_runtime.books import Book
from mmr_runtime.errors import MmrError
from mmr_runtime.image import load_image

_KEPT = 12
_LONG_SIDE = 2400
"""Pixels; what a large screen shows of a page."""


class Pages(QObject):
    """Decodes pages of a book.

    Args:
        book: stays open while this lives.
    """

    ready = Signal(int)
    """A page, from 0, can be had."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self._book = book
        self._images: OrderedDict[int, QImage | str] = OrderedDict()
        self._wanted: set[int] = set()
        self._pool = QThreadPool()
        self._pool.setMaxThreadCount(2)
        self._done.connect(self._keep)

    _done = Signal(int, object)

    def get(self, number: int) -> QImage | str | None:
        """A page, why there is none, or None where it is not decoded yet; then `ready` tells when it is."""
        if number in self._images:
            self._images.move_to_end(number)
            return self._images[number]
        self.fetch(number)
        return None

    def fetch(self, number: int) -> None:
        """Decode a page if that was not done."""
        if 0 <= number < len(self._book) and number not in self._images and number not in self._wanted:
            self._wanted.add(number)
            self._pool.start(_Decoding(self._book, number, self._done.emit))

    def close(self) -> None:
        """Wait for what is being decoded."""
        self._pool.clear()
        self._pool.waitForDone()

    def _keep(self, number: int, image: QImage | str) -> None:
        self._wanted.discard(number)
        self._images[number] = image
        while len(self._images) > _KEPT:
            self._images.popitem(last=False)
        self.ready.emit(number)


class _Decoding(QRunnable):
    def __init__(self, book: Book, number: int, done: Callable[[int, object], None]) -> None:
        super().__init__()
        self._book, self._number, self._tell = book, number, done

    def run(self) -> None:
        try:
            image = load_image(self._book.image(self._number)).convert("RGBA")
            image.thumbnail((_LONG_SIDE, _LONG_SIDE))
            width, height = image.size
            # A copy: the bytes are gone with this function.
            made = QImage(image.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
            result: QImage | str = made
        except MmrError as error:
            result = error.message
        self._tell(self._number, result)
