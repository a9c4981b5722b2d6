"""The server: requests in, answers and events out; work on two threads, so that turning pages never waits for the rest.

Turns, prefetching and feedback run on the session's worker. Opening, ranking, soundtracks and indexing run one after
the other on a second one. The thread that reads lines does nothing else, so that `cancel` and `ping` are heard at once.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from mmr_runtime.books import Book, VectorCache, embed_book
from mmr_runtime.companion import Choice, Decision, Session
from mmr_runtime.errors import CancelledError, UsageError
from mmr_runtime.moods import MOODS
from mmr_runtime.rank import Query
from mmr_runtime.serve.messages import Request, Writer, decoded_image, identity, lines, load, parse
from mmr_runtime.soundtrack import Options, plan
from mmr_runtime.soundtrack.memory import recall_corrections
from mmr_runtime.soundtrack.stored import to_json

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine
    from mmr_runtime.library import Library, Match, Progress, Track

PROTOCOL = 1


class Server:
    """One reader: a book, what plays, and whoever asks about it. Close it when nobody does any more.

    Args:
        engine: the model; nothing of it is loaded before it is needed.
        library: of songs.
        version: told in the ready event.
    """

    def __init__(self, engine: Engine, library: Library, version: str = "") -> None:
        self._engine, self._library, self._version = engine, library, version
        self._cache = VectorCache()
        self._book: Book | None = None
        self._session: Session | None = None
        self._options = Options()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mmr-serve")
        self._running: dict[Any, Callable[[], object]] = {}
        self._lock = threading.Lock()
        self._quick: dict[str, Callable[[Request], None]] = {
            "ping": lambda request: request.answer({"protocol": PROTOCOL}),
            "cancel": self._cancel,
            "turn": self._turn,
            "prefetch": self._prefetch,
            "feedback": self._feedback,
        }
        self._slow: dict[str, Callable[[Request, threading.Event], dict[str, Any]]] = {
            "open_book": self._open_book,
            "rank": self._rank,
            "soundtrack": self._soundtrack,
            "index": self._index,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self, read: BinaryIO, write: BinaryIO) -> bool:
        """Serve a client until its stream ends; whether it said `shutdown`.

        Args:
            read: lines come from here.
            write: lines go here.
        """
        out = Writer(write)
        methods = [*self._quick, *self._slow, "shutdown"]
        ready = {"event": "ready", "protocol": PROTOCOL, "version": self._version, "methods": methods}
        out.send({**ready, "model": self._engine.model_id})
        for line in lines(read):
            request_id = None
            try:
                if line is None:
                    raise UsageError("the line is too long", "send images by path")
                content = load(line)
                request_id = identity(content.get("id"))
                request = parse(content, out)
                if request.method == "shutdown":
                    request.answer({})
                    return True
                self._dispatch(request)
            except Exception as error:  # an error is a reply, never an exit
                out.error(request_id, error)
        return False

    def _dispatch(self, request: Request) -> None:
        if request.method in self._quick:
            self._quick[request.method](request)
        elif request.method in self._slow:
            self._later(request, self._slow[request.method])
        else:
            known = ", ".join([*self._quick, *self._slow, "shutdown"])
            raise UsageError(f"there is no method {request.method!r:.60}", f"there are {known}")

    def close(self) -> None:
        """End all work; engine and library stay open."""
        with self._lock:
            stops = list(self._running.values())
        for stop in stops:
            stop()
        if self._session:
            self._session.close()
        self._pool.shutdown(cancel_futures=True)
        if self._book:
            self._book.close()
        self._cache.close()

    # -- on the session's worker -------------------------------------------------------------------------------------

    def _turn(self, request: Request) -> None:
        session = self._opened()
        self._answer(request, session, session.turn_async(request.get("page", int)), _decision)

    def _prefetch(self, request: Request) -> None:
        pages = request.get("pages", list)
        if not all(isinstance(page, int) and not isinstance(page, bool) for page in pages):
            raise UsageError("prefetch: pages must be a list of whole numbers", "see docs/protocol")
        session = self._opened()
        self._answer(request, session, session.prefetch(pages), lambda _: {})

    def _feedback(self, request: Request) -> None:
        session, kind, path = self._opened(), request.get("kind", str), request.get("path", str)
        track = next((t for t in self._library.tracks() if str(t.path) == path), None)
        if track is None:
            raise UsageError(f"feedback: {path} is not in the library", "give the path of a track of a decision")
        if kind == "never":
            self._answer(request, session, session.never(track), _decision)
        elif kind == "more":
            self._answer(request, session, session.more(track), lambda _: {})
        elif kind == "pin":
            first = request.get("first", int)
            pinned = session.pin(track, first, request.get("last", int, first))
            self._answer(request, session, pinned, _decision)
        else:
            raise UsageError(f"feedback: there is no kind {kind!r:.40}", "there are never, more and pin")

    def _answer(
        self, request: Request, session: Session, future: Future[Any], shape: Callable[[Any], dict[str, Any]]
    ) -> None:
        self._register(request, lambda: session.cancel(future))

        def reply(done: Future[Any]) -> None:
            self._forget(request)
            try:
                request.answer(shape(done.result()))
            except FutureCancelled:
                request.fail(CancelledError("a newer request took its place, or it was cancelled"))
            except Exception as error:
                request.fail(error)

        future.add_done_callback(reply)

    def _opened(self) -> Session:
        if self._session is None:
            raise UsageError("no book is open", "send open_book first, and wait for its answer")
        return self._session

    # -- on the second worker ----------------------------------------------------------------------------------------

    def _later(self, request: Request, work: Callable[[Request, threading.Event], dict[str, Any]]) -> None:
        stop = threading.Event()
        self._register(request, stop.set)

        def run() -> None:
            try:
                if stop.is_set():
                    raise CancelledError("it was cancelled before it began")
                request.answer(work(request, stop))
            except Exception as error:
                request.fail(error)
            finally:
                self._forget(request)

        self._pool.submit(run)

    def _open_book(self, request: Request, _: threading.Event) -> dict[str, Any]:
        book = Book.open(request.get("path", str))
        change = request.get("change", float, self._options.change)
        self._options = Options(change, min_seconds=request.get("min_seconds", float, self._options.min_seconds))
        self._follow(book)
        return {
            "title": book.title,
            "pages": [page.name for page in book.pages],
            "right_to_left": book.info.right_to_left,
            "spoken": sorted(book.dialogue.lines),
            "notes": book.notes,
        }

    def _follow(self, book: Book) -> None:
        """Begin anew with this book, with the songs and the taste of now."""
        if self._session:
            self._session.close()
        if self._book and self._book is not book:
            self._book.close()
        self._book = book
        self._session = Session(self._engine, self._library, options=self._options, cache=self._cache)
        self._session.open_book(book).result()

    def _rank(self, request: Request, _: threading.Event) -> dict[str, Any]:
        sources = [self._image(request, page) for page in request.get("pages", list, [])]
        text = request.get("text", str, "") or None
        top = request.get("top", int, 10)
        if not sources and text is None:
            raise UsageError("rank: there is nothing to search for", "give pages, or a text")
        vectors = self._engine.embed_images(sources) if sources else None
        query = None if vectors is None else Query("image", vectors)
        return {"matches": [_match(match) for match in self._library.rank(query, text=text, top=top)]}

    def _image(self, request: Request, page: Any) -> str | bytes:
        """A page by path, as base64, or as a member of an archive or folder."""
        if isinstance(page, dict):
            if isinstance(page.get("base64"), str):
                return decoded_image(page["base64"])
            if isinstance(page.get("archive"), str) and isinstance(page.get("member"), str):
                with Book.open(page["archive"]) as book:
                    names = [member.name for member in book.pages]
                    if page["member"] not in names:
                        raise UsageError(f"there is no page {page['member']} in {book.path}", "name a member as listed")
                    content = book.image(names.index(page["member"]))
                    if isinstance(content, bytes):
                        return content
            elif isinstance(page.get("path"), str):
                return str(page["path"])
        raise UsageError(f"{request.method}: a page is an object with path, base64, or archive and member", "")

    def _soundtrack(self, request: Request, stop: threading.Event) -> dict[str, Any]:
        options = Options(
            request.get("change", float, self._options.change),
            request.get("min_pages", int, self._options.min_pages),
            one_song=request.get("one_song", bool, False),
        )
        with Book.open(request.get("path", str)) as book:
            embedding = embed_book(
                book, self._engine, self._cache, progress=self._progress(request), cancel=stop.is_set
            )
            corrections = recall_corrections(self._library, book)
            soundtrack = plan(book, self._library, options, corrections=corrections, embedding=embedding)
        return {"soundtrack": json.loads(to_json(soundtrack))}

    def _index(self, request: Request, stop: threading.Event) -> dict[str, Any]:
        told = self._progress(request)

        def progress(news: Progress) -> None:
            told(news.done, news.total)

        report = self._library.update(progress=progress, cancel=stop)
        counts = {name: getattr(report, name) for name in ("added", "kept", "moved", "removed")}
        skipped = [{"path": str(path), "reason": reason} for path, reason in report.skipped]
        if self._book:
            self._follow(self._book)  # with the songs that are there now
        return {**counts, "skipped": skipped, "songs": len(self._library)}

    def _progress(self, request: Request) -> Callable[[int, int], None]:
        def tell(done: int, total: int) -> None:
            if request.id is not None:
                request.out.send({"event": "progress", "id": request.id, "done": done, "total": total})

        return tell

    # -- cancelling --------------------------------------------------------------------------------------------------

    def _cancel(self, request: Request) -> None:
        with self._lock:
            stop = self._running.get((request.out, identity(request.params.get("id"))))
        if stop:
            stop()
        request.answer({"found": stop is not None})

    def _register(self, request: Request, stop: Callable[[], object]) -> None:
        if request.id is None:
            return
        with self._lock:
            if (request.out, request.id) in self._running:
                raise UsageError(f"the id {request.id!r:.40} is in use", "give each request its own")
            self._running[request.out, request.id] = stop

    def _forget(self, request: Request) -> None:
        with self._lock:
            self._running.pop((request.out, request.id), None)


def _track(track: Track) -> dict[str, Any]:
    facts = asdict(track)
    return {**facts, "path": str(track.path)}


def _choice(choice: Choice) -> dict[str, Any]:
    return {"track": _track(choice.track), "score": choice.score}


def _decision(decision: Decision) -> dict[str, Any]:
    names = ("page", "action", "start_s", "end_s", "loop", "gain_db", "fade_s", "confidence", "reason")
    return {
        **{name: getattr(decision, name) for name in names},
        "track": None if decision.track is None else _track(decision.track),
        "moods": dict(zip(MOODS, decision.moods, strict=False)),
        "alternatives": [_choice(choice) for choice in decision.alternatives],
    }


def _match(match: Match) -> dict[str, Any]:
    return {
        "rank": match.rank,
        "score": match.score,
        "track": _track(match.track),
        "start_s": match.start_s,
        "moods": dict(zip(MOODS, match.moods, strict=False)),
        "reasons": list(match.reasons),
    }
