"""The window: pages above, and below what plays, why, and what can be said about it."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QAction, QCloseEvent, QKeySequence
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from mmr_runtime.books import Book, VectorCache
from mmr_runtime.companion import Decision, Session
from mmr_runtime.errors import MmrError
from mmr_runtime.library import Library, Track
from mmr_runtime.moods import MOODS
from mmr_runtime.reader.music import Music
from mmr_runtime.reader.pages import Pages
from mmr_runtime.reader.strip import Strip
from mmr_runtime.reader.view import View
from mmr_runtime.reader.work import Work
from mmr_runtime.soundtrack import Options, Soundtrack

_AHEAD = 3
_SETTLE_MS = 400
_STAY_MS = 1700
"""A page on which the reader stays so long was not skimmed: it is told again, and counts."""


class Window(QMainWindow):
    """A book with music.

    Args:
        book: to read.
        library: of songs.
        start_page: from 0; None: where it was left.
    """

    decided = Signal(object)

    def __init__(self, book: Book, library: Library, start_page: int | None = None) -> None:
        super().__init__()
        self._book, self._library = book, library
        self._cache = VectorCache()
        self._session: Session | None = None
        self._decision: Decision | None = None
        self._options = Options()
        self._double = False
        kept = library.recall(f"page {book.key}")
        first = start_page if start_page is not None else int(kept or 0)
        self._page = min(max(first, 0), len(book) - 1)

        self.pages, self.view, self.strip, self.music, self.work = Pages(book), View(), Strip(), Music(), Work()
        rtl = book.info.right_to_left is not False
        self.view.right_to_left = self.strip.right_to_left = rtl
        self.view.open(self.pages)
        self.view.turned.connect(self.turn)
        self.strip.show_book(len(book))
        self.strip.chosen.connect(self.go)
        self.decided.connect(self._show_decision)
        self.work.progress.connect(self._show_progress)
        self.work.indexed.connect(self._begin)
        self.work.planned.connect(self._show_plan)
        self.work.failed.connect(lambda text: self.why.setText(text))
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLE_MS)
        self._settled.timeout.connect(self._replan)
        self._stayed = QTimer(self)
        self._stayed.setSingleShot(True)
        self._stayed.setInterval(_STAY_MS)
        self._stayed.timeout.connect(self._tell_page)
        self._lay_out()
        self._name_keys()
        self.setWindowTitle(f"{book.title} · mmr")
        self.resize(900, 1000)
        self.go(self._page)
        self.work.index(library)

    # -- the look ----------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.switch = QPushButton("♪ off")
        self.switch.setCheckable(True)
        self.switch.setToolTip("Music on or off (M)")
        self.switch.toggled.connect(self._switch_music)
        self.title, self.why = QLabel(), QLabel()
        self.title.setStyleSheet("font-weight: 600")
        for label in (self.title, self.why):
            label.setTextFormat(Qt.TextFormat.PlainText)  # titles come from files
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.others = _button("others", "What else would fit; choosing one pins it to these pages")
        self.others.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.others.setMenu(QMenu(self))
        self.pin = _button("pin", "Play this song on these pages whenever the book is read (P)")
        self.pin.clicked.connect(self._pin_here)
        self.never = _button("never", "Never play this song again")
        self.never.clicked.connect(self._never)
        self._enable_corrections(False)
        self.change = QSlider(Qt.Orientation.Horizontal)
        self.change.setToolTip("How readily the music changes")
        self.change.setRange(0, 100)
        self.change.setValue(50)
        self.change.setFixedWidth(110)
        self.change.valueChanged.connect(lambda _: self._settled.start())
        self.place = QLabel()
        self.bar = QProgressBar()
        self.bar.setFixedWidth(210)
        self.stop = _button("✕", "Stop; what is done is kept")
        self.stop.clicked.connect(self.work.cancel)
        self.bar.hide()
        self.stop.hide()

        playing = QVBoxLayout()
        playing.setSpacing(0)
        playing.addWidget(self.title)
        playing.addWidget(self.why)
        row = QHBoxLayout()
        row.setContentsMargins(10, 2, 10, 8)
        row.setSpacing(9)
        row.addWidget(self.switch)
        row.addLayout(playing, 1)
        for widget in (self.bar, self.stop, self.others, self.pin, self.never, self.change, self.place):
            row.addWidget(widget)
        whole = QVBoxLayout()
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self.view, 1)
        whole.addWidget(self.strip)
        whole.addLayout(row)
        centre = QWidget()
        centre.setLayout(whole)
        self.setCentralWidget(centre)

    def _name_keys(self) -> None:
        forward, back = ("Left", "Right") if self.view.right_to_left else ("Right", "Left")
        keys = {
            (forward, "Space", "PgDown", "Down"): partial(self.turn, 1),
            (back, "Backspace", "PgUp", "Up"): partial(self.turn, -1),
            ("Home",): partial(self.go, 0),
            ("End",): lambda: self.go(len(self._book) - 1),
            ("M",): self.switch.toggle,
            ("D",): self._toggle_double,
            ("P",): self._pin_here,
            ("F", "F11"): self._toggle_full_screen,
            ("Q", "Escape"): self.close,
        }
        for names, act in keys.items():
            action = QAction(self)
            action.setShortcuts([QKeySequence(name) for name in names])
            action.triggered.connect(lambda _=False, act=act: act())
            self.addAction(action)

    def _toggle_double(self) -> None:
        self._double = not self._double
        self.go(self._page)

    def _toggle_full_screen(self) -> None:
        self.showNormal() if self.isFullScreen() else self.showFullScreen()

    # -- reading -----------------------------------------------------------------------------------------------------

    def turn(self, steps: int) -> None:
        """Forward or back by so many pages, or pairs of pages."""
        self.go(self._page + steps * (2 if self._double else 1))

    def go(self, page: int) -> None:
        """Show a page, and ask what plays there."""
        if not 0 <= page < len(self._book):
            return
        self._page = page
        numbers = [page, page + 1] if self._double and page + 1 < len(self._book) else [page]
        self.view.show_pages(numbers)
        self.strip.show_page(page)
        self.place.setText(f"{page + 1}/{len(self._book)}")
        for number in range(page, page + 1 + _AHEAD):
            self.pages.fetch(number)
        self._tell_page()
        self._stayed.start()
        if self._session:
            self._session.prefetch(range(page + 1, page + 1 + _AHEAD))

    def _tell_page(self) -> None:
        if self._session:
            self._ask(self._session.turn_async(self._page))

    def _begin(self, songs: int) -> None:
        """The library is up to date: follow the reader."""
        if not songs:
            self.why.setText("there are no songs in the library")
        if self._session:
            self._session.close()
        self._session = Session(self._library.engine, self._library, options=self._options, cache=self._cache)
        self._session.open_book(self._book)
        self.go(self._page)
        if songs:
            self.work.plan(self._book, self._library, self._options)

    def _replan(self) -> None:
        """The taste or a correction changed."""
        self._options = Options(change=self.change.value() / 100)
        if self._session and not self.bar.isVisible():
            self._begin(len(self._library))

    def _ask(self, future: Future[Decision]) -> None:
        """Hand the answer over to this thread: callbacks run on the session's worker."""

        def tell(done: Future[Decision]) -> None:
            try:
                self.decided.emit(done.result())
            except (CancelledError, MmrError):
                return  # a newer turn took its place

        future.add_done_callback(tell)

    # -- music -------------------------------------------------------------------------------------------------------

    def _show_decision(self, decision: Decision) -> None:
        self._decision = decision
        self.music.follow(decision)
        track = decision.track
        self.title.setText(f"{track.title}{f' · {track.artist}' if track.artist else ''}" if track else "")
        strongest = sorted(zip(decision.moods, MOODS, strict=False), reverse=True)[:2]
        seen = ", ".join(f"{mood.lower()} {100 * share:.0f}%" for share, mood in strongest)
        self.why.setText(" · ".join(filter(None, (f"this page: {seen}" if seen else "", decision.reason))))
        menu = self.others.menu()
        menu.clear()
        for choice in decision.alternatives:
            menu.addAction(choice.track.title).triggered.connect(partial(self._pin_track, choice.track))
        self._enable_corrections(track is not None)

    def _enable_corrections(self, on: bool) -> None:
        """There is something to correct only where something plays."""
        for widget in (self.pin, self.never, self.others):
            widget.setEnabled(on)

    def _switch_music(self, on: bool) -> None:
        self.music.switch(on)
        self.switch.setText("♪ on" if on else "♪ off")
        if on and not self.music.has_device:
            self.why.setText("there is no sound device here")

    def _pin_here(self) -> None:
        if self._decision and self._decision.track:
            self._pin_track(self._decision.track)

    def _pin_track(self, track: Track, *_: object) -> None:
        if self._session:
            self._ask(self._session.pin(track, self._page, min(self._page + 3, len(self._book) - 1)))
            self._settled.start()

    def _never(self) -> None:
        if self._session and self._decision and self._decision.track:
            self._ask(self._session.never(self._decision.track))
            self._settled.start()

    # -- long work ---------------------------------------------------------------------------------------------------

    def _show_progress(self, what: str, done: int, count: int) -> None:
        for widget in (self.bar, self.stop):
            widget.setVisible(bool(count))
        self.bar.setMaximum(max(count, 1))
        self.bar.setValue(done)
        self.bar.setFormat(f"{what} %v/%m")

    def _show_plan(self, soundtrack: Soundtrack) -> None:
        self.strip.show_parts(soundtrack.parts)
        if self._session:
            self._session.use(soundtrack)
            self._ask(self._session.turn_async(self._page))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """Remember the page, end all work."""
        for timer in (self._settled, self._stayed):
            timer.stop()
        self.work.cancel()
        self.music.switch(False)
        if self._session:
            self._session.close()
        self.pages.close()
        self._cache.close()
        with suppress(MmrError):  # an index that cannot be written: the next reading begins at the first page
            self._library.remember(f"page {self._book.key}", str(self._page))
        event.accept()


def _button(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    return button
