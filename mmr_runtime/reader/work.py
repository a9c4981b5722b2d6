"""Long work beside the window's thread: bringing the library up to date, and planning the soundtrack of a volume."""

from __future__ import annotations

import threading
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from mmr_runtime.books import Book, VectorCache, embed_book
from mmr_runtime.errors import CancelledError, MmrError
from mmr_runtime.library import Library, Progress
from mmr_runtime.soundtrack import Options, Soundtrack, plan
from mmr_runtime.soundtrack.memory import recall_corrections


class Work(QObject):
    """One piece of work at a time, on a thread of its own; signals arrive on the window's."""

    progress = Signal(str, int, int)
    """What is done, how many of it are done, how many there are."""

    indexed = Signal(int)
    """The library is up to date and holds so many songs."""

    planned = Signal(object)
    """A `Soundtrack`."""

    failed = Signal(str)
    """Something did not work."""

    def __init__(self) -> None:
        super().__init__()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def index(self, library: Library) -> None:
        """Bring a library up to date."""

        def work() -> None:
            def tell(news: Progress) -> None:
                if news.total:
                    self.progress.emit("listening to songs", news.done, news.total)

            library.update(progress=tell, cancel=self._stop)
            self.indexed.emit(len(library))

        self._start(work)

    def plan(self, book: Book, library: Library, options: Options) -> None:
        """Plan the soundtrack of a volume."""

        def work() -> None:
            cache = VectorCache()
            try:
                embedding = embed_book(
                    book,
                    library.engine,
                    cache,
                    progress=lambda done, count: self.progress.emit("reading ahead", done, count),
                    cancel=self._stop.is_set,
                )
            finally:
                cache.close()
            corrections = recall_corrections(library, book)
            soundtrack: Soundtrack = plan(book, library, options, corrections=corrections, embedding=embedding)
            self.planned.emit(soundtrack)

        self._start(work)

    def cancel(self) -> None:
        """End what runs; what is finished of it is kept."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._stop.clear()

    def _start(self, work: Callable[[], None]) -> None:
        self.cancel()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except CancelledError:
            pass
        except MmrError as error:
            self.failed.emit(error.message)
        finally:
            self.progress.emit("", 0, 0)
