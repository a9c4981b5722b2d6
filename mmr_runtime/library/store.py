"""The truth about a library: a SQLite file in its index folder. One transaction for every finished file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import LibraryError
from mmr_runtime.library import schema
from mmr_runtime.library.lock import writer_lock
from mmr_runtime.library.records import Kind
from mmr_runtime.library.scan import FoundFile
from mmr_runtime.library.tags import Tags

Floats = NDArray[np.float32]


class FileFacts(NamedTuple):
    """A usable file; `gain` in dB and `loudness` in LUFS are None where they are not known."""

    path: str
    title: str
    artist: str
    album: str
    genre: str
    gain: float | None
    seconds: float
    loudness: float | None


_BUSY_SECONDS = 10.0
_DAMAGED = "move it away to index anew, or keep another index with --index"


@dataclass(frozen=True)
class FileRow:
    """What is known of a file; `content` is None where it cannot be used, and `reason` says why."""

    size: int
    mtime_ns: int
    content: bytes | None
    reason: str | None
    decoder: str | None


@dataclass(frozen=True, eq=False)
class Embedded:
    """What is kept of one song or page: vector (d,), windows (w, d), starts (w,) seconds; pages have no windows.

    `loudness` is in LUFS, None where it is not known.
    """

    vector: Floats
    windows: Floats
    starts: NDArray[np.float64]
    seconds: float
    loudness: float | None = None


class Store:
    """An open index. Threads may share it; processes too: one writes (`writing`), the others read."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, folder: Path, kind: Kind) -> Self:
        """Open the index in this folder; make it where there is none.

        Raises:
            LibraryError: it cannot be made, read, or understood.
        """
        path = folder / "index.db"
        with _explained(path):
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                schema.create(path, kind)
            if path.stat().st_size == 0:
                raise LibraryError(f"the index {path} is empty", _DAMAGED)
            connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA synchronous = FULL")
                # macOS only, where fsync leaves what it writes in the disk's own memory.
                connection.execute("PRAGMA fullfsync = ON")
                if schema.check(connection, path, kind):
                    with writer_lock(folder / "index.lock"):
                        if schema.check(connection, path, kind):
                            schema.migrate(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(folder, connection)

    def close(self) -> None:
        """Close the file; what was written is safe already."""
        with self._lock:
            self._connection.close()

    # -- reading -----------------------------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside belongs together, whatever another process writes meanwhile."""
        with self._reading():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def state(self) -> tuple[bytes, int]:
        """Identity of this index, and a number that grows with every change."""
        with self._reading():
            found = dict(self._connection.execute("SELECT key, value FROM meta WHERE key IN ('uuid', 'generation')"))
        return bytes(found["uuid"]), int(found["generation"])

    def files(self) -> dict[str, FileRow]:
        """All that is known of files, by path."""
        with self._reading():
            rows = self._connection.execute("SELECT path, size, mtime_ns, content, reason, decoder FROM file")
            return {os.fsdecode(row[0]): FileRow(*row[1:]) for row in rows}

    def contents(self, model: str) -> set[bytes]:
        """Content hashes that have vectors of this model."""
        with self._reading():
            return {row[0] for row in self._connection.execute("SELECT content FROM item WHERE model = ?", (model,))}

    def tracks(self, model: str) -> list[tuple[int, FileFacts]]:
        """Item id and facts of every usable file that is not banned, ordered by path."""
        query = (
            "SELECT item.id, file.path, title, artist, album, genre, gain, seconds, loudness FROM file JOIN item"
            " ON item.content = file.content AND item.model = ?"
            " WHERE NOT EXISTS (SELECT 1 FROM ban WHERE ban.content = file.content) ORDER BY file.path"
        )
        with self._reading():
            rows = self._connection.execute(query, (model,))
            return [(row[0], FileFacts(os.fsdecode(row[1]), *row[2:])) for row in rows]

    def tracks_of(self, ids: Sequence[int]) -> list[tuple[int, FileFacts]]:
        """As `tracks`, of these items alone."""
        found = []
        query = (
            "SELECT file.path, title, artist, album, genre, gain, seconds, loudness FROM item JOIN file"
            " ON file.content = item.content WHERE item.id = ? ORDER BY file.path"
        )
        with self._reading():
            for item in ids:
                rows = self._connection.execute(query, (item,))
                found += [(item, FileFacts(os.fsdecode(row[0]), *row[1:])) for row in rows]
        return found

    def vectors_of(self, ids: Sequence[int], size: int) -> Floats:
        """Vectors float32 (n, size) of these items."""
        query = "SELECT vector FROM item WHERE id = ?"
        with self._reading():
            rows = [self._connection.execute(query, (item,)).fetchone()[0] for item in ids]
        return np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), size)

    def vectors(self, model: str, size: int) -> tuple[NDArray[np.int64], Floats]:
        """Ids (n,), ascending, and vectors float32 (n, size) of all items that a file has.

        Raises:
            LibraryError: vectors of this model have another size.
        """
        query = (
            "SELECT id, vector FROM item WHERE model = ?"
            " AND EXISTS (SELECT 1 FROM file WHERE file.content = item.content) ORDER BY id"
        )
        with self._reading():
            rows = self._connection.execute(query, (model,)).fetchall()
        if any(len(vector) != 4 * size for _, vector in rows):
            raise LibraryError(
                f"the index {self.folder} holds vectors of another model that is also called {model}",
                "keep another index with --index",
            )
        ids = np.array([row[0] for row in rows], np.int64)
        return ids, np.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(len(rows), size)

    def windows(self, items: Sequence[int], size: int) -> list[tuple[Floats, NDArray[np.float64]]]:
        """Windows' vectors (w, size) and starts (w,) of these items; w may be 0."""
        found = []
        with self._reading():
            for item in items:
                row = self._connection.execute("SELECT vectors, starts FROM window WHERE item = ?", (item,)).fetchone()
                vectors, starts = row or (b"", b"")
                found.append((np.frombuffer(vectors, "<f4").reshape(-1, size), np.frombuffer(starts, "<f8")))
        return found

    # -- what a person said ------------------------------------------------------------------------------------------

    def bans(self) -> list[str]:
        """Paths of files that never play, ordered."""
        query = "SELECT path FROM file WHERE EXISTS (SELECT 1 FROM ban WHERE ban.content = file.content) ORDER BY path"
        with self._reading():
            return [os.fsdecode(row[0]) for row in self._connection.execute(query)]

    def ban(self, path: str, *, banned: bool) -> bool:
        """Ban the content of a file, or lift its ban; whether the file is known."""
        statement = (
            "INSERT OR IGNORE INTO ban SELECT content FROM file WHERE path = ? AND content NOT NULL"
            if banned
            else "DELETE FROM ban WHERE content = (SELECT content FROM file WHERE path = ?)"
        )
        with self._transaction() as connection:
            query = "SELECT 1 FROM file WHERE path = ? AND content NOT NULL"
            is_known = connection.execute(query, (os.fsencode(path),)).fetchone() is not None
            connection.execute(statement, (os.fsencode(path),))
        return is_known

    def recall(self, key: str) -> str | None:
        """The text that was kept under this name, or None."""
        with self._reading():
            row = self._connection.execute("SELECT value FROM memory WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def remember(self, key: str, text: str) -> None:
        """Keep a text under this name."""
        with self._reading():
            self._connection.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (key, text))

    # -- writing -----------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer.

        Raises:
            LibraryError: another process is.
        """
        with writer_lock(self.folder / "index.lock"):
            yield

    def add_item(self, content: bytes, model: str, embedded: Embedded, file: FoundFile, tags: Tags, was: str) -> None:
        """Keep a finished file: its vectors and what is known of it, in one transaction.

        Args:
            content: hash of the file's bytes.
            model: what made the vectors.
            embedded: the vectors.
            file: where it is.
            tags: what it says of itself.
            was: path that it had before, or empty.
        """
        with self._transaction() as connection:
            vector = np.ascontiguousarray(embedded.vector, "<f4").tobytes()
            item = connection.execute(
                "INSERT INTO item (content, model, seconds, loudness, vector) VALUES (?, ?, ?, ?, ?)",
                (content, model, float(embedded.seconds), embedded.loudness, vector),
            ).lastrowid
            if len(embedded.windows):
                starts = np.ascontiguousarray(embedded.starts, "<f8").tobytes()
                windows = np.ascontiguousarray(embedded.windows, "<f4").tobytes()
                connection.execute("INSERT INTO window VALUES (?, ?, ?)", (item, starts, windows))
            self._put_file(connection, file, content, tags, was)

    def add_file(self, content: bytes, file: FoundFile, tags: Tags, was: str) -> None:
        """Keep a file whose vectors are known: a copy, or one that was moved."""
        with self._transaction() as connection:
            self._put_file(connection, file, content, tags, was)

    def touch(self, file: FoundFile) -> None:
        """Keep the new size and time of a file whose content is as before."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE file SET size = ?, mtime_ns = ? WHERE path = ?",
                (file.size, file.mtime_ns, os.fsencode(file.path)),
            )

    def skip(self, file: FoundFile, reason: str, decoder: str) -> None:
        """Remember that a file cannot be used."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO file (path, size, mtime_ns, reason, decoder) VALUES (?, ?, ?, ?, ?)",
                (os.fsencode(file.path), file.size, file.mtime_ns, reason, decoder),
            )

    def forget(self, paths: Sequence[str]) -> None:
        """Forget files that are gone; their vectors stay, should they come back."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM file WHERE path = ?", [(os.fsencode(path),) for path in paths])

    @staticmethod
    def _put_file(connection: sqlite3.Connection, file: FoundFile, content: bytes, tags: Tags, was: str) -> None:
        if was:
            connection.execute("DELETE FROM file WHERE path = ?", (os.fsencode(was),))
        connection.execute(
            "INSERT OR REPLACE INTO file (path, size, mtime_ns, content, title, artist, album, genre, gain)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (os.fsencode(file.path), file.size, file.mtime_ns, content, *astuple(tags)),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside, and a new generation, or nothing."""
        with self._reading():
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
                connection.execute("COMMIT")
            except BaseException:
                # After a full disk SQLite may have rolled back by itself.
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, _explained(self.folder / "index.db"):
            yield


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into a LibraryError."""
    elsewhere = "make room or the folder writable, or keep the index elsewhere with --index"
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise LibraryError(f"the index {path} is damaged ({error})", _DAMAGED) from error
        if code == sqlite3.SQLITE_FULL:
            raise LibraryError(f"the disk is full: {path} cannot grow", elsewhere) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise LibraryError(f"the index {path} cannot be opened for writing ({error})", elsewhere) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LibraryError(f"the index {path} is in use by another process", "try again in a moment") from error
        raise LibraryError(f"the index {path} cannot be used ({error})", _DAMAGED) from error
    except OSError as error:
        raise LibraryError(f"the index {path} cannot be used: {error.strerror or error}", elsewhere) from error
