"""`mmr-reader`: pages turn at once, music follows, and the window never waits for a network."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QT_LOGGING_RULES", "*=false")
pytest.importorskip("PySide6.QtWidgets", reason="needs the extra reader and its system libraries", exc_type=ImportError)
pytest.importorskip("PySide6.QtMultimedia", reason="needs the system's sound libraries", exc_type=ImportError)

from PySide6.QtCore import QEvent, QPointF, Qt, QTimer
from PySide6.QtGui import QColor, QMouseEvent, QPalette
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from mmr_runtime import Engine
from mmr_runtime.books import Book
from mmr_runtime.library import Library
from mmr_runtime.reader.app import make_ready, reader
from mmr_runtime.reader.strip import Strip
from mmr_runtime.reader.window import Window
from tests.runtime.fake_engine import write_song

SECONDS = 40


@pytest.fixture(scope="module")
def application() -> QApplication:
    return QApplication.instance() or QApplication([])  # type: ignore[return-value]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i in range(6):
        write_song(tmp_path / "songs" / f"{i}.wav", 200 + 600 * i, 6.0)
    with Engine.open(threads=1) as engine, Library.open(tmp_path / "songs", engine, tmp_path / "index") as library:
        make_ready(engine)
        yield library
    gc.unfreeze()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    (tmp_path / "book").mkdir()
    rng = np.random.default_rng(0)
    for number in range(10):
        pixels = rng.integers(0, 256, (900, 640), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "book" / f"{number}.png")
    (tmp_path / "book" / "6.png").write_bytes(b"no image")
    with Book.open(tmp_path / "book") as book:
        yield book


def until(application: QApplication, condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        application.processEvents()
        time.sleep(0.002)


@pytest.fixture
def window(application: QApplication, book: Book, library: Library) -> Iterator[Window]:
    window = Window(book, library)
    window.show()
    yield window
    window.close()
    application.processEvents()


def press(window: Window, key: Qt.Key) -> None:
    action = next(a for a in window.actions() if any(s[0].key() == key for s in a.shortcuts()))
    action.trigger()


def test_music_follows_the_pages(window: Window, application: QApplication) -> None:
    until(application, lambda: window.title.text())
    assert "this page: " in window.why.text()
    until(application, lambda: window.strip._parts)
    assert window.strip._parts[-1].last == 9
    press(window, Qt.Key.Key_Left)  # manga: left is forward
    assert window.place.text() == "2/10"
    press(window, Qt.Key.Key_Right)
    press(window, Qt.Key.Key_Right)
    assert window.place.text() == "1/10"
    press(window, Qt.Key.Key_End)
    assert window.place.text() == "10/10"
    until(application, lambda: window._decision and window._decision.page == 9)


def test_clicks_turn_pages_and_two_may_be_shown(window: Window) -> None:
    def click(share: float) -> None:
        place = QPointF(window.view.width() * share, 50)
        kind, button = QEvent.Type.MouseButtonPress, Qt.MouseButton.LeftButton
        window.view.mousePressEvent(QMouseEvent(kind, place, place, button, button, Qt.KeyboardModifier.NoModifier))

    click(0.2)
    assert window.place.text() == "2/10"
    click(0.8)
    assert window.place.text() == "1/10"
    press(window, Qt.Key.Key_D)
    assert window.view._shown == [0, 1]
    click(0.2)
    assert window.view._shown == [2, 3]
    window.strip.chosen.emit(9)
    assert window.view._shown == [9]


def test_a_broken_page_says_so(window: Window, application: QApplication) -> None:
    window.go(6)
    until(application, lambda: isinstance(window.pages.get(6), str))
    assert not window.grab().isNull()


def test_the_page_is_remembered(application: QApplication, book: Book, library: Library) -> None:
    for expected in ("1/10", "5/10"):
        window = Window(book, library)
        window.show()
        assert window.place.text() == expected
        window.go(4)
        window.close()
        application.processEvents()


def test_never_and_pin_change_what_plays(window: Window, application: QApplication, library: Library) -> None:
    until(application, lambda: window.title.text())
    first = window.title.text()
    window.never.click()
    until(application, lambda: window.title.text() != first)
    assert [path.stem for path in library.bans] == [first]
    assert window._decision
    other = window._decision.alternatives[0].track
    window._pin_track(other)
    until(application, lambda: window.title.text() == other.title)


def test_music_is_off_until_it_is_switched_on_and_needs_no_device(window: Window, application: QApplication) -> None:
    until(application, lambda: window.title.text())
    assert not window.music.is_on
    press(window, Qt.Key.Key_M)
    assert window.music.is_on
    application.processEvents()
    press(window, Qt.Key.Key_M)
    assert not window.music.is_on


def test_nothing_can_be_corrected_before_something_plays(window: Window, application: QApplication) -> None:
    corrections = (window.pin, window.never, window.others)
    assert not any(widget.isEnabled() for widget in corrections)
    until(application, lambda: window.title.text())
    assert all(widget.isEnabled() for widget in corrections)


def test_a_book_is_read_by_keys_corrected_and_read_again(
    application: QApplication, book: Book, library: Library
) -> None:
    """Real keys, from the first page to the last; then the reader is started anew."""
    window = Window(book, library)
    window.show()
    window.activateWindow()
    until(application, lambda: window.title.text() and window.isActiveWindow())
    QTest.keyClick(window, Qt.Key.Key_M)
    assert window.music.is_on
    for page in range(2, 11):
        QTest.keyClick(window, Qt.Key.Key_Left)
        assert window.place.text() == f"{page}/10"
    QTest.keyClick(window, Qt.Key.Key_M)
    assert not window.music.is_on
    QTest.keyClick(window, Qt.Key.Key_Home)
    until(application, lambda: window._decision and window._decision.page == 0 and window._decision.alternatives)
    assert window._decision
    other = window._decision.alternatives[-1].track.title
    next(action for action in window.others.menu().actions() if action.text() == other).trigger()
    until(application, lambda: window.title.text() == other)
    QTest.keyClick(window, Qt.Key.Key_Q)
    assert not window.isVisible()
    again = Window(book, library)
    again.show()
    until(application, lambda: again.title.text() == other)
    assert again.place.text() == "1/10"
    again.close()


def test_a_window_that_was_closed_asks_for_nothing_more(
    application: QApplication, book: Book, library: Library
) -> None:
    window = Window(book, library)
    window.show()
    until(application, lambda: window.title.text())
    window.go(3)
    window.change.setValue(60)
    assert window._stayed.isActive()
    assert window._settled.isActive()
    window.close()
    assert not window._stayed.isActive()
    assert not window._settled.isActive()


@pytest.mark.parametrize(("button", "ground"), [("#35322f", "#232120"), ("#efefef", "#efefef")], ids=["dark", "light"])
def test_the_strip_is_seen_on_any_ground(application: QApplication, button: str, ground: str) -> None:
    strip = Strip()
    strip.setPalette(QPalette(QColor(button), QColor(ground)))
    strip.resize(100, 26)
    image = strip.grab().toImage()
    apart = abs(image.pixelColor(20, 13).lightness() - image.pixelColor(20, 1).lightness())
    assert apart > 20


class Meter:
    """Finds the longest time for which no event was handled, seconds."""

    def __init__(self) -> None:
        self.gap = 0.0
        self._last = time.perf_counter()
        self.timer = QTimer()
        self.timer.setInterval(4)
        self.timer.timeout.connect(self.tick)
        self.timer.start()

    def tick(self) -> None:
        now = time.perf_counter()
        self.gap = max(self.gap, now - self._last)
        self._last = now


def test_the_window_never_waits(window: Window, application: QApplication) -> None:
    """No gap of 50 ms between events while pages are turned and embedded; the median of the worst of five runs."""
    until(application, lambda: window.title.text())
    worst = []
    for first in range(0, 10, 2):
        meter = Meter()
        end = time.monotonic() + 1.0
        window.go(first)
        while time.monotonic() < end:
            application.processEvents()
        meter.timer.stop()
        worst.append(meter.gap)
    assert sorted(worst)[2] < 0.054


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(reader, [str(tmp_path)])
    assert result.exit_code == 2
