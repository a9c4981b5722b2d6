"""The page, or two side by side, as large as fits."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from mmr_runtime.reader.pages import Pages

_GAP = 2.0
_WHEEL_STEP = 120


class View(QWidget):
    """Shows pages; a click on the side that is read next turns forward, on the other one back."""

    turned = Signal(int)
    """Steps: 1 forward, -1 back."""

    def __init__(self) -> None:
        super().__init__()
        self._pages: Pages | None = None
        self._shown: list[int] = []
        self.right_to_left = True
        self._wheel = 0
        self.setAttribute(Qt.WidgetAttribute.WA_AcceptTouchEvents)
        self.setMinimumSize(320, 240)

    def open(self, pages: Pages) -> None:
        """Show pages of this book."""
        self._pages = pages
        pages.ready.connect(lambda number: self.update() if number in self._shown else None)

    def show_pages(self, numbers: list[int]) -> None:
        """Show one page, or two in the order in which they are read."""
        self._shown = numbers
        self.update()

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Draw the pages that are there, and a word for those that are not."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor("#1c1b1a") if _is_dark(self) else QColor("#e9e5dd"))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if self._pages is None:
            return
        found = [self._pages.get(number) for number in self._shown]
        ordered = found[::-1] if self.right_to_left else found
        sizes = [QSizeF(f.size()) if isinstance(f, QImage) else QSizeF(700, 1000) for f in ordered]
        if not sizes:
            return
        tallest = max(size.height() for size in sizes)
        widths = [size.width() * tallest / size.height() for size in sizes]
        scale = min((self.width() - _GAP) / sum(widths), self.height() / tallest)
        left = (self.width() - sum(widths) * scale - _GAP * (len(widths) - 1)) / 2
        top = (self.height() - tallest * scale) / 2
        for image, width in zip(ordered, widths, strict=True):
            place = QRectF(QPointF(left, top), QSizeF(width * scale, tallest * scale))
            if isinstance(image, QImage):
                painter.drawImage(place, image)
            else:
                painter.setPen(QColor("#8a8378"))
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, image or "…")
            left += width * scale + _GAP

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Turn a page; touch comes as mouse presses, too."""
        if event.button() == Qt.MouseButton.LeftButton:
            on_left = event.position().x() < self.width() / 2
            self.turned.emit(1 if on_left == self.right_to_left else -1)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Down is forward."""
        self._wheel -= event.angleDelta().y()
        while abs(self._wheel) >= _WHEEL_STEP:
            step = 1 if self._wheel > 0 else -1
            self._wheel -= step * _WHEEL_STEP
            self.turned.emit(step)


def _is_dark(widget: QWidget) -> bool:
    return widget.palette().window().color().lightness() < 128
