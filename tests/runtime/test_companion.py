"""The reader's companion: what plays while pages are turned, by one worker, with the newest turn first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmr_runtime.books import Book
from mmr_runtime.companion import Decision, Session
from mmr_runtime.errors import CancelledError, UsageError
from mmr_runtime.library import Library
from mmr_runtime.soundtrack import Options, plan
from tests.runtime.fake_engine import FakeEngine, write_song

TASTE = Options(change=0.8, min_pages=2, rest=0, smoothing=0, min_seconds=0, skim_seconds=2)


class Clock:
    """Ten seconds a page."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


class ReaderEngine(FakeEngine):
    """Counts how often it was unloaded; may be held up while it embeds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.closed = 0
        self.unloaded = threading.Event()
        self.gate: Callable[[], None] | None = None

    def embed_images(self, images: Any, *, spread: str = "auto") -> np.ndarray:
        if self.gate:
            self.gate()
        return super().embed_images(images, spread=spread)

    @contextmanager
    def held(self) -> Iterator[threading.Event]:
        """The next page to be embedded waits until this ends; the event tells that one does."""
        entered, release = threading.Event(), threading.Event()

        def hold() -> None:
            self.gate = None
            entered.set()
            assert release.wait(20)

        self.gate = hold
        try:
            yield entered
        finally:
            release.set()

    def close(self) -> None:
        self.closed += 1
        self.unloaded.set()


@pytest.fixture
def engine() -> ReaderEngine:
    return ReaderEngine()


@pytest.fixture
def library(tmp_path: Path, engine: ReaderEngine) -> Iterator[Library]:
    for i in range(5):
        write_song(tmp_path / "songs" / f"{i}.wav", 200 + 700 * i, 4.0)
    with Library.open(tmp_path / "songs", engine, tmp_path / "index") as library:  # type: ignore[arg-type]
        library.update()
        yield library


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """Twelve pages; in the middle they turn from light above to light below. The fourth is broken."""
    (tmp_path / "book").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = np.zeros((32, 32), np.uint8)
        half = slice(0, 16) if number < 6 else slice(16, 32)
        pixels[half] = rng.integers(190, 210, (16, 32))
        Image.fromarray(pixels).save(tmp_path / "book" / f"{number:02d}.png")
    (tmp_path / "book" / "03.png").write_bytes(b"no image")
    with Book.open(tmp_path / "book") as book:
        yield book


@pytest.fixture
def session(engine: ReaderEngine, library: Library, book: Book) -> Iterator[Session]:
    with Session(engine, library, options=TASTE, clock=Clock()) as session:  # type: ignore[arg-type]
        session.open_book(book).result()
        yield session


def test_the_first_page_begins_a_song_and_the_next_keeps_it(session: Session) -> None:
    first, second = session.turn(0), session.turn(1)
    assert first.action == "switch"
    assert second.action == "keep"
    assert first.track == second.track
    assert first.reason
    assert 0 <= first.confidence <= 1
    assert len(first.alternatives) == 3
    assert first.track not in [choice.track for choice in first.alternatives]
    scores = [choice.score for choice in first.alternatives]
    assert scores == sorted(scores, reverse=True)


def test_another_scene_changes_the_music_and_turning_back_restores_it(session: Session) -> None:
    before = [session.turn(page) for page in (0, 1, 2, 4, 5)]
    after = [session.turn(page) for page in range(6, 12)]
    assert {d.track for d in before} == {before[0].track}
    assert after[-1].track != before[0].track
    assert 1 <= [d.action for d in after].count("switch") <= 2
    back = session.turn(1)
    assert (back.action, back.track) == ("switch", before[0].track)


def test_a_page_that_cannot_be_read_changes_nothing(session: Session) -> None:
    first = session.turn(2)
    broken = session.turn(3)
    assert (broken.action, broken.track) == ("unsure", first.track)
    assert "no image" in broken.reason
    assert session.turn(4).action == "keep"


def test_skimming_freezes(engine: ReaderEngine, library: Library, book: Book) -> None:
    with Session(engine, library, options=TASTE, clock=lambda: 5.0) as session:  # type: ignore[arg-type]
        session.open_book(book).result()
        first = session.turn(0)
        assert {session.turn(page).track for page in range(4, 12)} == {first.track}


def test_the_newest_turn_wins(session: Session, engine: ReaderEngine) -> None:
    with engine.held() as entered:
        running = session.turn_async(0)
        assert entered.wait(10)
        waiting, newest = session.turn_async(1), session.turn_async(2)
    assert newest.result(10).page == 2
    with pytest.raises(FutureCancelled):
        waiting.result(0)
    # The fake has no graph that could end in its middle: what had begun is done.
    assert running.done()


def test_callbacks_run_on_the_worker(session: Session) -> None:
    names: list[str] = []
    done = threading.Event()

    def note(_: Any) -> None:
        names.append(threading.current_thread().name)
        done.set()

    engine_is_busy = session.prefetch([5])
    future = session.turn_async(0)
    future.add_done_callback(note)
    assert done.wait(10)
    engine_is_busy.exception(10) if not engine_is_busy.cancelled() else None
    assert names in (["mmr"], [threading.current_thread().name])  # the latter where it was done before


def test_pages_read_ahead_are_not_embedded_again(session: Session, engine: ReaderEngine) -> None:
    session.prefetch([0, 1, 2, 3, 99]).result(10)
    engine.embedded.clear()
    assert session.turn(1).action == "switch"
    assert engine.embedded == []


def test_never_again_is_kept_and_changes_what_plays(session: Session, library: Library) -> None:
    first = session.turn(0)
    assert first.track
    now = session.never(first.track).result(10)
    assert (now.action, now.track == first.track) == ("switch", False)
    assert library.bans == [first.track.path]
    assert session.turn(1).track != first.track


def test_more_of_a_song_is_kept_and_brings_it_forward(
    session: Session, engine: ReaderEngine, library: Library, book: Book
) -> None:
    second = session.turn(0).alternatives[0]
    session.more(second.track).result(10)
    with Session(engine, library, options=TASTE, clock=Clock()) as other:  # type: ignore[arg-type]
        other.open_book(book).result()
        later = other.turn(0)
        found = {choice.track: choice.score for choice in later.alternatives}
        raised = found.get(second.track)
        assert later.track == second.track or (raised is not None and raised > second.score)


def test_a_pin_is_kept_for_the_book(session: Session, engine: ReaderEngine, library: Library, book: Book) -> None:
    last = session.turn(0).alternatives[-1].track
    now = session.pin(last, 0, 1).result(10)
    assert (now.action, now.track) == ("switch", last)
    with Session(engine, library, options=TASTE, clock=Clock()) as other:  # type: ignore[arg-type]
        other.open_book(book).result()
        assert other.turn(1).track == last
        with pytest.raises(UsageError, match="pages 1 to 12"):
            other.pin(last, 11, 12).result(10)


def test_what_cannot_be_is_said(engine: ReaderEngine, library: Library, book: Book) -> None:
    session = Session(engine, library)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no book"):
        session.turn(0)
    session.open_book(book).result(10)
    with pytest.raises(UsageError, match="no page 13"):
        session.turn(12)
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.turn(0)


def test_without_songs_the_music_stops(tmp_path: Path, engine: ReaderEngine, book: Book) -> None:
    (tmp_path / "none").mkdir()
    with (
        Library.open(tmp_path / "none", engine, tmp_path / "other") as library,  # type: ignore[arg-type]
        Session(engine, library) as session,  # type: ignore[arg-type]
    ):
        session.open_book(book).result(10)
        assert session.turn(0) == Decision(0, "stop", reason="there are no songs")


def test_networks_are_unloaded_after_a_while_and_loaded_again(
    engine: ReaderEngine, library: Library, book: Book
) -> None:
    with Session(engine, library, idle_seconds=0.05) as session:  # type: ignore[arg-type]
        assert engine.closed == 0
        session.open_book(book).result(10)
        session.turn(0)
        assert engine.unloaded.wait(10)
        assert session.turn(1).track
    assert engine.closed >= 1


def test_closing_cancels_what_waits(engine: ReaderEngine, library: Library, book: Book) -> None:
    session = Session(engine, library)  # type: ignore[arg-type]
    session.open_book(book).result(10)
    with engine.held() as entered:
        session.turn_async(0)
        assert entered.wait(10)
        waiting = session.prefetch([1])
        closing = threading.Thread(target=session.close)
        closing.start()
    closing.join(10)
    with pytest.raises((FutureCancelled, CancelledError)):
        waiting.result(0)


def test_a_plan_is_played_and_skimming_freezes_it(session: Session, library: Library, book: Book) -> None:
    soundtrack = plan(book, library, TASTE)
    session.use(soundtrack).result(10)
    paths = [str(session.turn(page).track.path) for page in range(12) if page != 3]  # type: ignore[union-attr]
    planned = soundtrack.paths()
    assert paths == planned[:3] + planned[4:]


def test_skimming_through_a_plan_changes_nothing(engine: ReaderEngine, library: Library, book: Book) -> None:
    now = [0.0]
    with Session(engine, library, options=TASTE, clock=lambda: now[0]) as session:  # type: ignore[arg-type]
        session.open_book(book).result()
        soundtrack = plan(book, library, TASTE)
        assert len({part.song.path for part in soundtrack.parts}) > 1
        session.use(soundtrack).result(10)
        first = session.turn(0).track
        assert {session.turn(page).track for page in range(1, 12)} == {first}
        now[0] = 30.0
        assert str(session.turn(11).track.path) == soundtrack.paths()[11]  # type: ignore[union-attr]


def test_a_plan_of_another_book_is_refused(session: Session, library: Library, book: Book) -> None:
    soundtrack = plan(book, library, TASTE)
    shorter = replace(soundtrack, pages=soundtrack.pages[:1], parts=(replace(soundtrack.parts[0], last=0),))
    with pytest.raises(UsageError, match="1 pages"):
        session.use(shorter).result(10)
