"""A reader's companion inside a host: which song plays while pages are turned (DESIGN sections 3 and 11).

One worker thread does all work. A page turned while another is still looked at takes its place (the newest wins): the
older one ends, also in the middle of a network. Nothing runs, polls or is written while nobody turns pages; after a
while the networks are unloaded.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from mmr_runtime.audio import quiet_start
from mmr_runtime.books import Book, VectorCache
from mmr_runtime.books.embedding import embed_lines, embed_page
from mmr_runtime.engine import unit_rows
from mmr_runtime.errors import InputError, UsageError
from mmr_runtime.rank import Ranker, reasons
from mmr_runtime.sessions import Stop
from mmr_runtime.soundtrack import Corrections, Follower, Options, Reading, Soundtrack, spread
from mmr_runtime.soundtrack.affinity import affinities, page_moods
from mmr_runtime.soundtrack.memory import recall_corrections, remember_corrections

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine, Floats
    from mmr_runtime.library import Library, Track

Action = Literal["keep", "switch", "stop", "unsure"]
FADE_SECONDS = 2.0
IDLE_SECONDS = 300.0
_MORE = 0.5
"""What "more of this" adds to a song on every page, in spreads of the affinities."""


@dataclass(frozen=True)
class Choice:
    """A song and how well it fits the page, in units of affinity."""

    track: Track
    score: float


@dataclass(frozen=True)
class Decision:
    """What a host does with its music after a page was turned.

    Attributes:
        page: that was turned to, from 0.
        action: `keep` what plays, `switch` to `track`, `stop` (there is no song), or `unsure`: the page could not be
            read, so that nothing changes.
        track: that plays from now on; None where none does.
        start_s: where in the song to begin, after a switch; seconds.
        end_s: where to end it, or None for its end.
        loop: begin again at its end.
        gain_db: what levels it, or None where that is not known.
        fade_s: length of the crossfade, seconds.
        confidence: 0 to 1: how far the song is ahead of the next one; 0.5 is level with it.
        reason: in words.
        moods: shares of the seven moods of the page, in the order of `mmr_runtime.MOODS`; empty where it was not seen.
        alternatives: the next best songs, best first.
    """

    page: int
    action: Action
    track: Track | None = None
    start_s: float = 0.0
    end_s: float | None = None
    loop: bool = True
    gain_db: float | None = None
    fade_s: float = FADE_SECONDS
    confidence: float = 0.0
    reason: str = ""
    moods: tuple[float, ...] = ()
    alternatives: tuple[Choice, ...] = ()


class Session:
    """Follows a reader through a book; open one with `Session(engine, library)` and close it.

    All methods may be called from any thread, and none blocks but `turn` and `close`. Callbacks of futures run on the
    worker thread: hand what they get to your own.

    Args:
        engine: the model.
        library: of songs, as it is indexed.
        options: the reader's taste.
        filters: which songs may play, see `library.Filters`.
        cache: vectors of pages from earlier runs; None: nothing is kept.
        idle_seconds: after so long without work the engine's networks are unloaded.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        engine: Engine,
        library: Library,
        *,
        options: Options | None = None,
        filters: Callable[[Track], bool] | None = None,
        cache: VectorCache | None = None,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._library, self._cache = engine, library, cache
        self._options, self._clock = options or Options(), clock
        self._songs = library.contents(filters)
        self._numbers = {str(track.path): number for number, track in enumerate(self._songs.tracks)}
        self._ranker = Ranker(engine, self._songs.vectors, "audio")
        self._book: Book | None = None
        self._corrections = Corrections()
        self._bans: set[int] = set()
        self._more: set[str] = set(json.loads(library.recall(_MORE_KEY) or "[]"))
        self._spread: float | None = None
        self._pages: dict[int, Floats] = {}
        self._spoken: dict[int, Floats] = {}
        self._about: Floats | None = None
        self._reading, self._playing = Reading(), -1
        self._plan: list[int] = []
        self._worker = _Worker(engine.close, idle_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the work and the worker; engine, library and book stay open."""
        self._worker.close()

    # -- reading -----------------------------------------------------------------------------------------------------

    def open_book(self, book: Book) -> Future[None]:
        """Follow this book from now on; what plays goes on until its first page is turned to."""

        def work(_: Stop) -> None:
            self._book = book
            self._pages, self._spoken, self._about = {}, {}, None
            self._reading, self._plan = Reading(), []
            self._corrections = recall_corrections(self._library, book)

        return self._worker.put(work, "book")

    def use(self, soundtrack: Soundtrack) -> Future[None]:
        """Play what was planned for this book from now on, instead of following page by page; pins still win.

        Pages that are left sooner than the taste's `skim_seconds` change nothing here either.
        """

        def work(_: Stop) -> None:
            if len(soundtrack.pages) != len(self._opened()):
                raise UsageError(f"the soundtrack has {len(soundtrack.pages)} pages", "plan it for the open book")
            self._plan = [self._numbers.get(path, -1) for path in soundtrack.paths()]

        return self._worker.put(work, "book")

    def turn(self, page: int) -> Decision:
        """What plays now that the reader is on this page (from 0); waits for it.

        Raises:
            CancelledError: another page was turned to meanwhile.
            UsageError: no book is open, it has no such page, or this is called on the worker, which would wait for
                itself.
        """
        if self._worker.is_current():
            raise UsageError("turn waits for the worker and was called on it", "call turn_async in callbacks")
        return self.turn_async(page).result()

    def turn_async(self, page: int) -> Future[Decision]:
        """As `turn`, at once; the future is cancelled, or holds a CancelledError, where a newer turn took its place."""
        now = self._clock()
        return self._worker.put(lambda stop: self._turn(page, now, stop), "turn")

    def prefetch(self, pages: Iterable[int]) -> Future[None]:
        """Look at these pages when nothing else is to be done; a newer call takes its place."""
        wanted = list(pages)

        def work(stop: Stop) -> None:
            for page in wanted:
                if self._book is not None and 0 <= page < len(self._book):
                    with suppress(InputError):
                        self._look_at(page, stop)

        return self._worker.put(work, "prefetch")

    def cancel(self, future: Future[Any]) -> None:
        """End this work, whether it waits or runs; its future is cancelled or holds a CancelledError."""
        self._worker.cancel(future)

    # -- what the reader says ----------------------------------------------------------------------------------------

    def never(self, track: Track) -> Future[Decision]:
        """Never play this song again, in any book; the future tells what plays now."""

        def work(stop: Stop) -> Decision:
            number = self._number(track)
            self._library.ban(track.path)
            self._bans.add(number)
            left = tuple(pin for pin in self._corrections.pins if pin[1] != str(track.path))
            if self._book is not None and left != self._corrections.pins:
                self._corrections = replace(self._corrections, pins=left)
                remember_corrections(self._library, self._book, self._corrections)
            if self._playing == number:  # what played there is forgotten, so that the page is decided anew
                page, self._reading = self._reading.page, Reading()
                return self._turn(page or 0, self._clock(), stop)
            return self._told("keep", self._reading.page or 0, "")

        return self._worker.put(work, "feedback")

    def more(self, track: Track) -> Future[None]:
        """Prefer this song from now on, in every book."""

        def work(_: Stop) -> None:
            self._number(track)
            self._more.add(str(track.path))
            self._library.remember(_MORE_KEY, json.dumps(sorted(self._more)))

        return self._worker.put(work, "feedback")

    def pin(self, track: Track, first: int, last: int | None = None) -> Future[Decision]:
        """Play this song on these pages of the book (from 0, inclusive) whenever it is read."""
        pages = range(first, (first if last is None else last) + 1)

        def work(stop: Stop) -> Decision:
            number, book = self._number(track), self._opened()
            if not 0 <= pages.start < pages.stop <= len(book):
                raise UsageError(f"the book has pages 1 to {len(book)}", "pin pages of the book")
            pins = dict(self._corrections.pins) | dict.fromkeys(pages, str(track.path))
            self._corrections = replace(self._corrections, pins=tuple(sorted(pins.items())))
            remember_corrections(self._library, book, self._corrections)
            self._bans.discard(number)
            page = self._reading.page
            if page is None or page not in pages:
                return self._told("keep", page or 0, "")
            played = {p: s for p, s in self._reading.played.items() if p not in pages}
            self._reading = Reading(played=played)
            return self._turn(page, self._clock(), stop)

        return self._worker.put(work, "feedback")

    # -- on the worker -----------------------------------------------------------------------------------------------

    def _turn(self, page: int, now: float, stop: Stop) -> Decision:
        book = self._opened()
        if not 0 <= page < len(book):
            raise UsageError(f"there is no page {page + 1}, the book has {len(book)}", "count pages from 0")
        if not len(self._songs.tracks):
            return Decision(page, "stop", reason="there are no songs")
        try:
            self._look_at(page, stop)
        except InputError as error:
            return self._told("unsure", page, error.message)
        affinity, shares = self._fit(page)
        number = self._numbers
        pins = {page: number[path] for page, path in self._corrections.pins if path in number}
        bans = self._bans | {number[path] for path in self._corrections.bans if path in number}
        planned = pins.get(page, self._plan[page] if self._plan else -1)
        if self._plan and planned >= 0 and planned not in bans:
            before = self._reading
            skims = before.page not in (None, page) and now - before.time < self._options.skim_seconds
            song = before.song if skims and before.song is not None else planned
            time_there = before.time if before.page == page else now
            self._reading = Reading(page, song, time_there, {**before.played, page: song})
            return self._decided(page, affinity, shares)
        follower = Follower(self._options, spread=self._known_spread(), pins=pins, bans=bans)
        try:
            self._reading = follower.turn(self._reading, page, affinity, max(now, self._reading.time))
        except UsageError as error:  # all songs are banned
            return self._told("unsure", page, error.message)
        return self._decided(page, affinity, shares)

    def _decided(self, page: int, affinity: Floats, shares: Floats) -> Decision:
        song = self._reading.song
        assert song is not None
        before, self._playing = self._playing, song
        track = self._songs.tracks[song]
        order = [int(i) for i in np.argsort(-affinity, kind="stable")[: len(self._bans) + 4]]
        others = [i for i in order if i != song and i not in self._bans][:3]
        ahead = float(affinity[song] - affinity[others[0]]) if others else np.inf
        width = max(self._known_spread(), 1e-6)
        moods = self._engine.moods(self._songs.vectors[[song]], "audio")[0]
        common = reasons(shares, moods)
        why = f"both {' and '.join(common)}" if common else "the best of what there is"
        return Decision(
            page,
            "keep" if song == before else "switch",
            track,
            0.0 if song == before else self._start(song, shares),
            gain_db=track.gain_db,
            confidence=float(1 / (1 + np.exp(-ahead / width))),
            reason=why,
            moods=tuple(map(float, shares)),
            alternatives=tuple(Choice(self._songs.tracks[i], float(affinity[i])) for i in others),
        )

    def _told(self, action: Action, page: int, reason: str) -> Decision:
        """Nothing changes."""
        track = self._songs.tracks[self._playing] if self._playing >= 0 else None
        return Decision(page, action, track, gain_db=track.gain_db if track else None, reason=reason)

    def _look_at(self, page: int, stop: Stop) -> None:
        book = self._opened()
        if page in self._pages:
            return
        if not book.pages[page].is_seen:
            raise InputError(f"page {page + 1} {book.pages[page].problem or 'is no page of the story'}")
        with stop.governing():
            vector = embed_page(book.image(page), self._engine, self._cache)
            lines = book.dialogue.lines.get(page)
            if lines:
                self._spoken[page] = embed_lines(lines, self._engine, self._cache)
            if self._about is None:
                about = book.info.about
                nothing = np.zeros((0, len(vector)), np.float32)
                self._about = embed_lines(about, self._engine, self._cache) if about else nothing
        self._pages[page] = vector

    def _fit(self, page: int) -> tuple[Floats, Floats]:
        """Affinity (songs,) of a page in the light of those that are known, and its mood shares (7,)."""
        known = sorted(self._pages)
        vectors = np.stack([self._pages[number] for number in known])
        moods = page_moods(self._engine, vectors, [self._spoken.get(n) for n in known], about=self._about)
        row = known.index(page)
        affinity = affinities(self._ranker, vectors, moods, rows=[row])[0]
        liked = [self._numbers[path] for path in self._more if path in self._numbers]
        affinity[liked] += _MORE * self._known_spread()
        shares = self._engine.mood_shares(moods[[row]].astype(np.float32))[0]
        return affinity, shares

    def _known_spread(self) -> float:
        """Of the affinities of the model's reference pages: what a book will bring is not known."""
        if self._spread is None:
            pages = self._engine.reference("image")
            if pages is None or not len(self._songs.tracks):
                self._spread = 1.0
            else:
                moods = page_moods(self._engine, pages, neighbour_weight=0)
                self._spread = spread(affinities(self._ranker, pages, moods, neighbour_weight=0))
        return self._spread

    def _start(self, song: int, shares: Floats) -> float:
        vectors, starts = self._library.windows(self._songs.ids[[song]])[0]
        if not len(vectors):
            return 0.0
        around = unit_rows(vectors.mean(axis=0, keepdims=True))
        fits = Ranker(self._engine, vectors, "audio").affinities(around, shares[None], "image")[0]
        return quiet_start(self._songs.tracks[song].path, float(starts[int(fits.argmax())]))

    def _opened(self) -> Book:
        if self._book is None:
            raise UsageError("no book is open", "call open_book first")
        return self._book

    def _number(self, track: Track) -> int:
        if str(track.path) not in self._numbers:
            raise UsageError(f"{track.path} is not among the songs", "give a track of a decision")
        return self._numbers[str(track.path)]


_MORE_KEY = "more"


class _Worker:
    """One thread and what it has to do: of each kind the newest, turns before all else."""

    _ORDER = ("feedback", "book", "turn", "prefetch")

    def __init__(self, idle: Callable[[], None], idle_seconds: float) -> None:
        self._idle, self._idle_seconds = idle, idle_seconds
        self._wake = threading.Condition()
        self._tasks: dict[str, list[tuple[Callable[[Stop], Any], Future[Any], Stop]]] = {k: [] for k in self._ORDER}
        self._running: tuple[str, Stop, Future[Any]] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="mmr", daemon=True)
        self._thread.start()

    def put(self, work: Callable[[Stop], Any], kind: str) -> Future[Any]:
        """Have something done; turns and prefetches that wait or run for nothing are ended."""
        future: Future[Any] = Future()
        replaced: list[Future[Any]] = []
        with self._wake:
            if self._closed:
                raise UsageError("the session is closed", "open a new one")
            if kind in ("turn", "prefetch"):
                replaced = [task[1] for task in self._tasks[kind]]
                self._tasks[kind].clear()
                # A turn is more than what is read ahead; that it interrupts goes on later, from what it had.
                if self._running and (self._running[0] == kind or (kind == "turn" and self._running[0] == "prefetch")):
                    self._running[1].ask()
            self._tasks[kind].append((work, future, Stop()))
            self._wake.notify()
        for old in replaced:
            old.cancel()
        return future

    def is_current(self) -> bool:
        """Whether this is its thread."""
        return threading.current_thread() is self._thread

    def cancel(self, future: Future[Any]) -> None:
        """End one task."""
        with self._wake:
            if self._running and self._running[2] is future:
                self._running[1].ask()
        future.cancel()

    def close(self) -> None:
        """Cancel what waits, end what runs."""
        with self._wake:
            self._closed = True
            waiting = [task[1] for tasks in self._tasks.values() for task in tasks]
            for tasks in self._tasks.values():
                tasks.clear()
            if self._running:
                self._running[1].ask()
            self._wake.notify()
        for future in waiting:
            future.cancel()
        if not self.is_current():
            self._thread.join()

    def _work(self) -> None:
        unloaded = True
        while True:
            with self._wake:
                while not self._closed and (kind := self._next()) is None:
                    if not self._wake.wait(None if unloaded else self._idle_seconds) and not unloaded:
                        self._idle()
                        unloaded = True
                if self._closed:
                    return
                assert kind is not None
                work, future, stop = self._tasks[kind].pop(0)
                self._running = kind, stop, future
            unloaded = False
            self._do(work, future, stop)
            with self._wake:
                self._running = None

    def _next(self) -> str | None:
        return next((kind for kind in self._ORDER if self._tasks[kind]), None)

    @staticmethod
    def _do(work: Callable[[Stop], Any], future: Future[Any], stop: Stop) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work(stop)
        except BaseException as error:  # whatever it is belongs to the one who waits
            with suppress(InvalidStateError):
                future.set_exception(error)
        else:
            with suppress(InvalidStateError):
                future.set_result(result)
