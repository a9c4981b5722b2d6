"""Vectors of pages and of what is spoken, by content: a book that was read once is read at once.

It is a cache: whatever is wrong with its file, the work is done again and no error is raised.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_TABLE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vectors BLOB NOT NULL) WITHOUT ROWID"
_BUSY_SECONDS = 5.0


class VectorCache:
    """An open cache; threads and processes may share it.

    Args:
        path: of its file; None: the one in the user's cache folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        path = path or _default_path()
        for _ in range(2):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = _opened(path)
                return
            except sqlite3.OperationalError:  # locked, or no place to write: it may well be whole
                return
            except sqlite3.DatabaseError:  # damaged: made anew
                for part in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))):
                    with suppress(OSError):
                        part.unlink()
            except OSError:
                return

    def get(self, key: bytes, size: int) -> Floats | None:
        """Rows (n, size) that were put under this key, or None."""
        row = self._run("SELECT vectors FROM vectors WHERE key = ?", (key,))
        if row is None or len(row[0]) % (4 * size):
            return None
        return np.frombuffer(row[0], "<f4").reshape(-1, size).astype(np.float32)

    def put(self, key: bytes, vectors: Floats) -> None:
        """Keep rows (n, size)."""
        self._run("INSERT OR REPLACE INTO vectors VALUES (?, ?)", (key, vectors.astype("<f4").tobytes()))

    def _run(self, statement: str, values: tuple[bytes, ...]) -> tuple[bytes] | None:
        with self._lock, suppress(sqlite3.Error):
            if self._connection is not None:
                found: tuple[bytes] | None = self._connection.execute(statement, values).fetchone()
                return found
        return None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def content_key(model_id: str, kind: str, content: bytes) -> bytes:
    """Name of a content's vectors by a model."""
    digest = hashlib.blake2b(content, digest_size=24)
    digest.update(f"\0{kind}\0{model_id}".encode())
    return digest.digest()


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # what a power cut takes is made again
        connection.execute(_TABLE)
    except BaseException:
        connection.close()
        raise
    return connection


def _default_path() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("mmr", appauthor=False) / "pages.db"
