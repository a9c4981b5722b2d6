"""A library: folders, their index, and the order of their tracks for a query (DESIGN sections 3, 9 and 10)."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import InputError, MissingFileError, UsageError
from mmr_runtime.library import matrix
from mmr_runtime.library.indexing import Cluster, Plan, Update, decoder_name, make_plan
from mmr_runtime.library.query import make_query
from mmr_runtime.library.records import Contents, Kind, Match, Progress, Track, UpdateReport
from mmr_runtime.library.roots import Patterns, Roots, is_within
from mmr_runtime.library.scan import Scan, scan
from mmr_runtime.library.store import FileFacts, FileRow, Floats, Store
from mmr_runtime.loudness import level
from mmr_runtime.rank import Query, Ranker, query_moods, reasons, top

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine, Modality
    from mmr_runtime.library.vectors import VectorStore

Filter = Callable[[Track], bool]
_PATTERNS = "patterns"


@dataclass(frozen=True, eq=False)
class _Hit:
    """An item of the index that was found, by the first of its files; `vector` is float32 (d,)."""

    item: int
    score: float
    track: Track
    vector: Floats


@dataclass(frozen=True, eq=False)
class _View:
    """What is searched, as of one moment.

    Attributes:
        ids: (n,) of the store's items.
        vectors: float32 (n, d).
        rows: for every item its files, ordered by path.
        ranker: scores the vectors.
    """

    ids: NDArray[np.int64]
    vectors: Floats
    rows: list[list[FileFacts]]
    ranker: Ranker


class Library:
    """Folders of songs (or pages) that can be searched. Open it with `Library.open`; threads may share it.

    What another process writes while a library is open is seen when it is opened again, or updated.
    """

    def __init__(
        self, roots: Roots, engine: Engine, store: Store, kind: Kind, vectors: VectorStore | None = None
    ) -> None:
        self._vectors = vectors
        self._roots = roots
        self._engine = engine
        self._store = store
        self._kind: Kind = kind
        self._modality: Modality = "audio" if kind == "songs" else "image"
        self._view: _View | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        folders: str | Path | Iterable[str | Path],
        engine: Engine,
        index: str | Path | None = None,
        *,
        kind: Kind = "songs",
        vectors: VectorStore | None = None,
    ) -> Self:
        """Open a library as it was last indexed; `update` looks at the folders.

        Args:
            folders: one folder or several; playlists (M3U, M3U8, XSPF, JSPF) may stand among them.
            engine: the model; each has its own vectors in the index.
            index: folder that the index is kept in; by default one in the user's data folder, for just these folders.
                A named index may serve several sets of folders; only tracks in the folders given here are searched.
            kind: `songs`, or `pages` to search images.
            vectors: searches instead of this process; closed with the library.

        Raises:
            MissingFileError: a folder does not exist, and nothing is known of it.
            InputError: something else than a folder was given.
            LibraryError: the index cannot be opened.
        """
        named = [folders] if isinstance(folders, str | Path) else list(folders)
        if not named:
            raise UsageError("a library needs at least one folder", "name a folder of songs")
        if kind not in ("songs", "pages"):
            raise UsageError(f"there is no kind of library called {kind!r}", "songs or pages")
        roots = Roots.of(named)
        home = Path(index).expanduser() if index is not None else default_index(roots.names, kind)
        absent = [root for root in roots.folders if not Path(root).is_dir()]
        if absent and not (home / "index.db").exists():
            raise _missing(absent[0])
        store = Store.open(home, kind)
        library = cls(roots, engine, store, kind, vectors)
        try:
            for root in absent:
                if not any(is_within(path, [root]) for path in store.files()):
                    raise _missing(root)
        except BaseException:
            store.close()
            raise
        return library

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index; the engine stays open."""
        self._view = None
        self._store.close()
        if self._vectors is not None:
            self._vectors.close()

    @property
    def index(self) -> Path:
        """Folder of the index."""
        return self._store.folder

    @property
    def engine(self) -> Engine:
        """The model that embeds."""
        return self._engine

    @property
    def kind(self) -> Kind:
        """`songs` or `pages`."""
        return self._kind

    def __len__(self) -> int:
        """Different tracks that can be searched; files with equal bytes count once."""
        return len(self._loaded().ids)

    def tracks(self) -> list[Track]:
        """All tracks that can be searched, ordered by path."""
        return self.contents().tracks

    def contents(self, filters: Filter | None = None) -> Contents:
        """The tracks that a filter keeps, or all, with their vectors; ordered by path."""
        view = self._loaded()
        kept = sorted(_kept(view, filters), key=lambda item: str(item[1].path))
        rows = np.array([row for row, _ in kept], np.int64)
        return Contents([track for _, track in kept], view.ids[rows], view.vectors[rows])

    def windows(self, ids: Sequence[int] | NDArray[np.int64]) -> list[tuple[Floats, NDArray[np.float64]]]:
        """Vectors float32 (w, d) and starts (w,) in seconds of the windows of some tracks; w may be 0.

        Args:
            ids: of `Contents`.
        """
        return self._store.windows([int(item) for item in ids], self._engine.embedding_size)

    # -- indexing ----------------------------------------------------------------------------------------------------

    def update(
        self,
        progress: Callable[[Progress], None] | None = None,
        cancel: Callable[[], bool] | threading.Event | None = None,
        *,
        jobs: int = 1,
        cluster: Cluster | None = None,
    ) -> UpdateReport:
        """Look at the folders and embed what is new in them.

        Every finished file is safe at once: whatever ends this early, the next update goes on from there. Files that
        cannot be used are skipped, named, and not tried again until they or the decoders change. Where nothing has to
        be written, no lock is taken. Folders without any track are no error: `len(library)` is 0 then.

        Args:
            progress: called before each file that has to be looked into, and at the end.
            cancel: a function, or an event, that says when to stop.
            jobs: files that are looked into at once; as many are lost when the process is killed.
            cluster: looks into them instead (`mmr_runtime.library.cluster.by_ray`).

        Raises:
            CancelledError: `cancel` said so.
            UsageError: jobs is below 1.
            LibraryError: another process is writing the index, or it cannot be written.
        """
        if jobs < 1:
            raise UsageError(f"jobs must be at least 1, not {jobs}")
        cancelled = cancel.is_set if isinstance(cancel, threading.Event) else (cancel or _never)
        found = scan(self._roots, self._kind, self.patterns)
        plan, known = self._plan(found)
        if not plan.work and not plan.lost:
            return Update(self._store, self._engine, self._kind, plan, known, jobs, cluster).run(progress, cancelled)
        try:
            with self._store.writing():
                # Planned anew: another process may have finished files between the first look and the lock.
                plan, known = self._plan(found)
                return Update(self._store, self._engine, self._kind, plan, known, jobs, cluster).run(
                    progress, cancelled
                )
        finally:
            self._view = None

    def preview(self, patterns: Patterns | None = None) -> UpdateReport:
        """What an update would do, without doing it: `added` are files that it would look into, some of them moved.

        Args:
            patterns: as if these were set.
        """
        plan, _ = self._plan(scan(self._roots, self._kind, patterns or self.patterns))
        return UpdateReport(
            added=len(plan.work),
            kept=plan.kept,
            removed=len(plan.lost),
            skipped=tuple(sorted(plan.skipped)),
            unreachable=tuple(Path(root) for root in plan.unreachable),
        )

    def _plan(self, found: Scan) -> tuple[Plan, dict[str, FileRow]]:
        with self._store.snapshot():
            known = self._store.files()
            have = self._store.contents(self._engine.model_id)
        return make_plan(found, known, have, self._roots, decoder_name(self._kind)), known

    # -- what a person said ------------------------------------------------------------------------------------------

    def ban(self, path: str | Path) -> None:
        """Never choose this song again, nor a copy of it; where it is moved to, the ban follows.

        Raises:
            InputError: the library does not know the file.
            LibraryError: the index cannot be written.
        """
        self._ban(path, banned=True)

    def unban(self, path: str | Path) -> None:
        """Lift a ban; for the errors see `ban`."""
        self._ban(path, banned=False)

    def _ban(self, path: str | Path, *, banned: bool) -> None:
        try:
            if not self._store.ban(str(path), banned=banned):
                raise InputError(f"{path} is not in the library", "give its path as the library lists it")
        finally:
            self._view = None

    @property
    def bans(self) -> list[Path]:
        """Songs that are never chosen, ordered."""
        return [Path(path) for path in self._store.bans() if self._roots.hold(path)]

    @property
    def patterns(self) -> Patterns:
        """Which files are indexed, as it was last set."""
        kept = self._store.recall(_PATTERNS)
        return Patterns(**{name: tuple(values) for name, values in json.loads(kept).items()}) if kept else Patterns()

    @patterns.setter
    def patterns(self, patterns: Patterns) -> None:
        self._store.remember(_PATTERNS, json.dumps(asdict(patterns)))

    def remember(self, key: str, text: str) -> None:
        """Keep a text in the index under this name, such as what a person set by hand for a book.

        Raises:
            LibraryError: the index cannot be written.
        """
        self._store.remember(key, text)

    def recall(self, key: str) -> str | None:
        """The text that was kept under this name, or None."""
        return self._store.recall(key)

    # -- searching ---------------------------------------------------------------------------------------------------

    def rank(self, query: Any, *, text: str | None = None, top: int = 10, filters: Filter | None = None) -> list[Match]:
        """The tracks that fit a query best.

        Args:
            query: a page or a list of pages that belong together (paths, bytes, PIL images, uint8 arrays), the path of
                a song, a vector, a `rank.Query`, or None to search by text alone.
            text: dialogue of the page.
            top: how many at most.
            filters: keeps a track or not, asked before the best are chosen.

        Returns:
            matches, best first; empty where the library has no tracks. Equal scores are ordered by path.

        Raises:
            InputError: the query cannot be read.
            UsageError: an argument is out of range.
        """
        if top < 1:
            raise UsageError(f"top must be at least 1, not {top}")
        if self._vectors is None and not len(self):
            return []
        asked = make_query(self._engine, query, text, self._kind)
        found = self._here(asked, top, filters) if self._vectors is None else self._elsewhere(asked, top, filters)
        ids = [hit.item for hit in found]
        starts = self._best_starts(asked, ids)
        moods, why = self._moods(asked, np.array([hit.vector for hit in found], np.float32))
        return [Match(i + 1, hit.score, hit.track, starts[i], moods[i], why[i]) for i, hit in enumerate(found)]

    def _here(self, query: Query, count: int, filters: Filter | None) -> list[_Hit]:
        view = self._loaded()
        scores = view.ranker.scores(query)
        chosen = _choose(view, scores, count, filters)
        return [_Hit(int(view.ids[row]), float(scores[row]), track, view.vectors[row]) for row, track in chosen]

    def _elsewhere(self, query: Query, count: int, filters: Filter | None) -> list[_Hit]:
        """The best by the vector store; what filters leave out is made up for by asking for more."""
        from mmr_runtime.library.vectors import MOST

        assert self._vectors is not None
        nothing = np.zeros((0, self._engine.embedding_size), np.float32)
        vector = Ranker(self._engine, nothing, self._modality).query_vector(query)
        name, wanted = self._collection(query.modality), 4 * count
        while True:
            scored = dict(self._vectors.search(name, vector, wanted))
            tracks: dict[int, Track] = {}
            for item, facts in self._store.tracks_of(list(scored)):
                track = _track(facts)
                if item not in tracks and self._roots.hold(facts.path) and (filters is None or filters(track)):
                    tracks[item] = track
            if len(tracks) >= count or len(scored) < wanted or wanted >= MOST:
                best = sorted(tracks, key=lambda item: (-scored[item], str(tracks[item].path)))[:count]
                vectors = self._store.vectors_of(best, self._engine.embedding_size)
                return [_Hit(i, scored[i], tracks[i], v) for i, v in zip(best, vectors, strict=True)]
            wanted *= 4

    def _collection(self, modality: Modality) -> str:
        """Name of the collection for queries of this modality, which is made where it is not there."""
        assert self._vectors is not None
        uuid, generation = self._store.state()
        names = json.dumps([self._engine.model_id, *self._roots.names]).encode("utf-8", "surrogateescape")
        key = hashlib.blake2b(uuid + names, digest_size=8).hexdigest()
        name = f"mmr_{key}_{modality}_{generation}"
        if not self._vectors.has(name):
            view = self._loaded()
            self._vectors.put(name, view.ids, view.ranker.inner_products(modality))
        return name

    def publish(self, modalities: Iterable[Modality] = ("image", "text")) -> None:
        """Bring the vector store up to date, so that no query has to wait for it; without one nothing happens."""
        for modality in modalities if self._vectors is not None else ():
            self._collection(modality)

    def _best_starts(self, query: Query, items: Sequence[int]) -> list[float]:
        """Start in seconds of each item's window that fits the query best."""
        windows = self.windows(items)
        if not sum(len(vectors) for vectors, _ in windows):
            return [0.0] * len(items)
        stacked = np.concatenate([vectors for vectors, _ in windows])
        scores = Ranker(self._engine, stacked, self._modality).scores(query)
        best, at = [], 0
        for vectors, starts in windows:
            own = scores[at : at + len(vectors)]
            best.append(float(starts[int(np.argmax(own))]) if len(own) else 0.0)
            at += len(vectors)
        return best

    def _moods(self, query: Query, vectors: Floats) -> tuple[list[tuple[float, ...]], list[tuple[str, ...]]]:
        """Mood shares of each track, and what it has in common with the query; empty for a model without moods."""
        if "mood" not in self._engine.bundle.manifest.labels or not len(vectors):
            return [()] * len(vectors), [()] * len(vectors)
        asked = query_moods(self._engine, query)
        shares = self._engine.moods(vectors, self._modality)
        return [tuple(map(float, row)) for row in shares], [reasons(asked, row) for row in shares]

    def _loaded(self) -> _View:
        with self._lock:
            if self._view is None:
                self._view = self._load()
            return self._view

    def _load(self) -> _View:
        model = self._engine.model_id
        with self._store.snapshot():
            ids, vectors = matrix.load(self._store, model, self._engine.embedding_size)
            tracks = self._store.tracks(model)
        place = {item: row for row, item in enumerate(ids.tolist())}
        rows: list[list[FileFacts]] = [[] for _ in place]
        for item, facts in tracks:
            if self._roots.hold(facts.path):
                rows[place[item]].append(facts)
        if not all(rows):  # a named index that serves other folders too
            inside = [row for row, files in enumerate(rows) if files]
            ids, vectors, rows = ids[inside], vectors[inside], [rows[row] for row in inside]
        return _View(ids, vectors, rows, Ranker(self._engine, vectors, self._modality))


def default_index(roots: tuple[str, ...], kind: Kind) -> Path:
    """Where the index of these folders is kept unless the caller says otherwise."""
    from platformdirs import user_data_path

    # surrogateescape: names of folders need not be valid text.
    key = json.dumps([kind, *roots]).encode("utf-8", "surrogateescape")
    return user_data_path("mmr", appauthor=False) / "libraries" / hashlib.blake2b(key, digest_size=8).hexdigest()


def _choose(view: _View, scores: Floats, count: int, filters: Filter | None) -> list[tuple[int, Track]]:
    """Rows and tracks of the best, best first; of equal files the first by path that the filter keeps."""
    if filters is None:
        best = top(scores, [files[0].path for files in view.rows], count)
        return [(row, _track(view.rows[row][0])) for row in best.tolist()]
    kept = _kept(view, filters)
    rows = np.array([row for row, _ in kept], np.int64)
    best = top(scores[rows], [str(track.path) for _, track in kept], count)
    return [kept[i] for i in best.tolist()]


def _kept(view: _View, filters: Filter | None) -> list[tuple[int, Track]]:
    """Rows with the first of their files, by path, that the filter keeps."""
    if filters is None:
        return [(row, _track(files[0])) for row, files in enumerate(view.rows)]
    found = ((row, next((t for t in map(_track, files) if filters(t)), None)) for row, files in enumerate(view.rows))
    return [(row, track) for row, track in found if track is not None]


def _track(row: FileFacts) -> Track:
    path = Path(row.path)
    gain = level(row.loudness, row.gain)
    return Track(path, row.title or path.stem, row.artist, row.album, row.seconds, row.genre, gain)


def _missing(root: str) -> MissingFileError:
    return MissingFileError(f"there is no folder {root}", "check the path")


def _never() -> bool:
    return False
