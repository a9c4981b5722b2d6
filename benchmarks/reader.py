"""`mmr-reader` through a whole volume: `xvfb-run -a python benchmarks/reader.py --book DIR --library DIR` (Linux).

Somebody reads: the library is indexed, every page is turned by key while the volume is read ahead, the music is
switched on and muted, a song is banned and another one pinned; then the reader is started again. Measured on the way:
the gaps between two events of the window's thread (a timer of 4 ms that should come and does not), pages until what
plays there is decided, and processor time at rest. `--pictures` keeps what the screen showed.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from host import store
from PySide6.QtCore import QElapsedTimer, QEventLoop, Qt, QTimer
from PySide6.QtGui import QColor, QPalette, QPixmap
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from mmr_runtime import Book, Decision, Engine, Library
from mmr_runtime.reader.app import make_ready
from mmr_runtime.reader.window import Window

TICK_MS = 4
PAGE_SECONDS = 1.0
IDLE_SECONDS = 10.0
SECONDS = 120.0
LONG_MS = 50.0


@dataclass
class Meter:
    """Gaps between two events of the window's thread by what is going on: milliseconds, and of the processor."""

    phase: str = "start"
    gaps: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = QElapsedTimer()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.setInterval(TICK_MS)
        self.timer.timeout.connect(self.tick)

    def enter(self, phase: str) -> None:
        """From now on something else is going on."""
        self.phase = phase
        self._begin()
        self.timer.start()

    def leave(self) -> None:
        """From now on nothing is measured."""
        self.timer.stop()

    def tick(self) -> None:
        """An event came."""
        gap, work = self.clock.nsecsElapsed() / 1e6, 1000 * (time.process_time() - self._used)
        self.gaps.setdefault(self.phase, []).append((gap, work))
        self._begin()

    def _begin(self) -> None:
        self.clock.start()
        self._used = time.process_time()

    def told(self) -> dict[str, Any]:
        """Of each phase the distribution, and the longest gap with what this process did in it.

        A long gap in which the process hardly ran is the machine's: something else had the processor.
        """
        found = {}
        for phase, gaps in self.gaps.items():
            work = max(gaps)[1]
            long = [gap for gap, _ in gaps if gap > LONG_MS]
            own = {"above 50": len(long), "processor ms in the longest": round(work, 1)}
            found[phase] = {**spread([gap for gap, _ in gaps]), **own}
        return found


def wait(milliseconds: float) -> None:
    """Let the window work, blocked in its event loop as it is when nobody drives it."""
    loop = QEventLoop()
    QTimer.singleShot(round(milliseconds), loop.quit)
    loop.exec()


def until(condition: Callable[[], Any], what: str) -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise click.ClickException(f"{what} did not come about within {SECONDS:.0f} s")
        wait(5)


class Reading:
    """A window and who sits before it."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.shown: dict[str, QPixmap] = {}
        self.decisions: list[Decision] = []
        window.decided.connect(self.decisions.append)
        window.show()
        window.activateWindow()  # only then keys arrive, and a bare X server has nobody who would do it

    def press(self, key: Qt.Key) -> None:
        """A key, down and up."""
        QTest.keyClick(self.window, key)

    def picture(self, name: str) -> None:
        """Remember what the window shows."""
        self.shown[name] = self.window.grab()

    def keep_pictures(self, folder: Path) -> None:
        """Write them to files, which takes longer than a window may wait."""
        for name, picture in self.shown.items():
            picture.save(str(folder / f"{name}.png"))

    def plays(self) -> str:
        """The song of the line below the page."""
        return str(self.window.title.text())


@contextmanager
def reading(book: Path, library: Library) -> Iterator[Reading]:
    """A reader from its start to its end."""
    with Book.open(book) as opened:
        reading = Reading(Window(opened, library))
        try:
            yield reading
        finally:
            reading.window.close()
            wait(10)


def first_reading(reading: Reading, meter: Meter) -> dict[str, Any]:
    """From an empty index to the last page."""
    window = reading.window
    meter.enter("indexing")
    until(lambda: window.bar.isVisible(), "the index")
    wait(300)
    reading.picture("indexing")
    until(reading.plays, "the first decision")
    reading.press(Qt.Key.Key_M)
    waits = []
    meter.enter("turning, while the volume is read ahead")
    last = int(window.place.text().split("/")[1])
    for page in range(1, last):
        count, start = len(reading.decisions), time.perf_counter()
        reading.press(Qt.Key.Key_Left if window.view.right_to_left else Qt.Key.Key_Right)
        until(lambda count=count, page=page: any(d.page == page for d in reading.decisions[count:]), f"page {page + 1}")
        waits.append(1000 * (time.perf_counter() - start))
        wait(1000 * PAGE_SECONDS)
        if page == last // 2:
            reading.picture("middle")
    until(lambda: not window.bar.isVisible(), "the plan")
    meter.enter("turning, planned")
    for _ in range(last - 1):
        reading.press(Qt.Key.Key_Right if window.view.right_to_left else Qt.Key.Key_Left)
        wait(60)
    return {"pages": last, "milliseconds until a page's song is decided": spread(waits)}


def correct(reading: Reading, meter: Meter) -> dict[str, Any]:
    """Mute, ban what plays, pin another song; what was said is told."""
    window = reading.window
    meter.enter("correcting")
    reading.press(Qt.Key.Key_M)
    assert not window.music.is_on
    window.strip.chosen.emit(5)
    wait(2000)
    banned = reading.plays()
    window.never.click()
    until(lambda: reading.plays() != banned, "another song")
    wait(1500)
    until(lambda: not window.bar.isVisible() and reading.decisions[-1].alternatives, "the new plan")
    other = reading.decisions[-1].alternatives[0].track.title
    next(action for action in window.others.menu().actions() if action.text() == other).trigger()
    until(lambda: reading.plays() == other, "the pinned song")
    wait(1500)
    until(lambda: not window.bar.isVisible(), "the plan with the pin")
    reading.press(Qt.Key.Key_D)
    wait(800)
    reading.picture("two pages")
    meter.leave()
    return {"banned": banned, "pinned": other, "page": window.place.text()}


def second_reading(reading: Reading, meter: Meter, said: dict[str, Any]) -> dict[str, Any]:
    """After a restart: place, ban and pin are as they were; then nobody does anything."""
    window = reading.window
    meter.enter("restarted")
    until(lambda: reading.plays() and not window.bar.isVisible(), "the plan")
    wait(2000)
    kept = {"page": window.place.text() == said["page"], "pin": reading.plays() == said["pinned"]}
    window.strip.chosen.emit(0)
    played = set()
    for _ in range(int(window.place.text().split("/")[1])):
        wait(80)
        played.add(reading.plays())
        reading.press(Qt.Key.Key_Left if window.view.right_to_left else Qt.Key.Key_Right)
    kept["ban"] = said["banned"] not in played
    meter.leave()
    wait(2500)
    before = time.process_time()
    wait(1000 * IDLE_SECONDS)
    return {"kept": kept, "processor seconds in ten idle ones": round(time.process_time() - before, 4)}


def spread(values: list[float]) -> dict[str, float]:
    """Number, median, 95th and 99th percentile, and the greatest."""
    names = ("median", "p95", "p99", "max")
    return {"n": len(values)} | {
        name: round(float(v), 1) for name, v in zip(names, np.percentile(values, (50, 95, 99, 100)), strict=True)
    }


@click.command()
@click.option("--book", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--library", "songs", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--pictures", type=click.Path(file_okay=False, path_type=Path), help="Folder for screenshots.")
@click.option("--dark", is_flag=True, help="As on a dark desktop.")
def main(book: Path, songs: Path, pictures: Path | None, dark: bool) -> None:
    """Read, measure and store results/reader.json."""
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    application = QApplication([])
    QApplication.setStyle("Fusion")
    if dark:  # a bare X server has no scheme to follow
        application.setPalette(QPalette(QColor("#35322f"), QColor("#232120")))
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"  # nothing is prepared, nothing known of the pages
        figures = read_and_measure(book, songs, Path(name) / "index", pictures)
    figures["platform"] = application.platformName()
    click.echo(json.dumps(figures, indent=1))
    click.echo(f"stored {store('reader', figures)}", err=True)


def read_and_measure(book: Path, songs: Path, index: Path, pictures: Path | None) -> dict[str, Any]:
    """All figures."""
    meter = Meter()
    with Engine.open() as engine, Library.open(songs, engine, index) as library:
        make_ready(engine)
        with reading(book, library) as first:
            read = first_reading(first, meter)
            said = correct(first, meter)
            if pictures:
                first.keep_pictures(pictures)
        with reading(book, library) as second:
            rest = second_reading(second, meter, said)
        return {
            "model": engine.model_id,
            "book": book.name,
            "songs": len(library),
            **read,
            "corrected": said,
            **rest,
            "switches while turning": sum(d.action == "switch" for d in first.decisions),
            "milliseconds between events": meter.told(),
        }


if __name__ == "__main__":
    main()
