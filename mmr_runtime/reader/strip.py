"""The whole volume as a strip: a colour for each segment's mood, and where the reader is."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QToolTip, QWidget

from mmr_runtime.moods import MOODS
from mmr_runtime.report.style import COLOURS
from mmr_runtime.soundtrack import Part

_GROUND = 0.2
"""How much of the text's colour the strip has where no soundtrack is known: seen on light ground and on dark."""


class Strip(QWidget):
    """Shows the planned soundtrack; a click goes to a page."""

    chosen = Signal(int)
    """A page, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: tuple[Part, ...] = ()
        self._count, self._page = 1, 0
        self.right_to_left = True
        self.setFixedHeight(26)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_book(self, count: int) -> None:
        """A book of so many pages, whose soundtrack is not known yet."""
        self._count, self._parts = count, ()
        self.update()

    def show_parts(self, parts: tuple[Part, ...]) -> None:
        """Its soundtrack."""
        self._parts = parts
        self.update()

    def show_page(self, page: int) -> None:
        """Where the reader is."""
        self._page = page
        self.update()

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Draw segments and the place."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        ground = self.palette().text().color()
        ground.setAlphaF(_GROUND)
        painter.setBrush(ground)
        painter.drawRoundedRect(QRectF(0, 8, self.width(), 10), 4, 4)
        for part in self._parts:
            painter.setBrush(QColor(colour(part)))
            place = self._place(part.first, part.last + 1).adjusted(1, 0, -1, 0)
            painter.drawRoundedRect(place, 3, 3)
        painter.setBrush(self.palette().text())
        at = self._place(self._page, self._page + 1)
        painter.drawRoundedRect(QRectF(at.center().x() - 2, 3, 4, 20), 2, 2)

    def _place(self, first: int, end: int) -> QRectF:
        step = self.width() / self._count
        left = self.width() - end * step if self.right_to_left else first * step
        return QRectF(left, 8, (end - first) * step, 10)

    def _page_at(self, x: float) -> int:
        share = min(max(x / max(self.width(), 1), 0.0), 0.999999)
        return int((1 - share if self.right_to_left else share) * self._count)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Go there."""
        self.chosen.emit(min(self._page_at(event.position().x()), self._count - 1))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Tell what plays there."""
        page = self._page_at(event.position().x())
        part = next((p for p in self._parts if p.first <= page <= p.last), None)
        text = f"page {page + 1}" + (f": {part.song.title}" if part else "")
        QToolTip.showText(event.globalPosition().toPoint(), text, self)


def colour(part: Part) -> str:
    """Of the mood that the song of a part has most."""
    moods = part.song.moods or ()
    return COLOURS[MOODS[max(range(len(moods)), key=lambda i: moods[i])]] if len(moods) == len(MOODS) else "#888"
