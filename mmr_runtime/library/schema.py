"""The tables of an index, how one is made, and how an older one is brought up to date."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmr_runtime.errors import LibraryError
from mmr_runtime.library.records import Kind

SCHEMA = 2
APPLICATION_ID = 0x6D6D7231  # "mmr1": tells an index from any other SQLite file

# What a person said: songs (by content) that never play, and texts by name, such as the soundtrack of a book.
_KEPT = (
    "CREATE TABLE ban (content BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)

# file.content is null where the file cannot be used; then `reason` says why, and `decoder` what tried.
# file.gain is its ReplayGain in dB, item.loudness in LUFS; null where there is none.
# Vectors stand apart from windows: building the matrix reads the former alone.
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE file (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content BLOB,"
    " title TEXT NOT NULL DEFAULT '', artist TEXT NOT NULL DEFAULT '', album TEXT NOT NULL DEFAULT '',"
    " genre TEXT NOT NULL DEFAULT '', gain REAL, reason TEXT, decoder TEXT) WITHOUT ROWID",
    "CREATE INDEX file_content ON file (content)",
    "CREATE TABLE item (id INTEGER PRIMARY KEY, content BLOB NOT NULL, model TEXT NOT NULL, seconds REAL NOT NULL,"
    " loudness REAL, vector BLOB NOT NULL)",
    "CREATE UNIQUE INDEX item_key ON item (content, model)",
    "CREATE TABLE window (item INTEGER PRIMARY KEY REFERENCES item (id), starts BLOB NOT NULL, vectors BLOB NOT NULL)",
    *_KEPT,
)


def _to_second(connection: sqlite3.Connection) -> None:
    """Songs of before have neither genre nor loudness until they change."""
    connection.execute("ALTER TABLE file ADD COLUMN genre TEXT NOT NULL DEFAULT ''")
    connection.execute("ALTER TABLE file ADD COLUMN gain REAL")
    connection.execute("ALTER TABLE item ADD COLUMN loudness REAL")
    for statement in _KEPT:
        connection.execute(statement)


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _to_second}
"""By the version they start from; each leads to the next and runs in one transaction with it."""


def create(path: Path, kind: Kind) -> None:
    """Make an empty index at this path, whole or not at all; one that is already there stays."""
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            # The journal mode is part of the file: readers need not change it. Network disks have no WAL.
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                connection.execute(statement)
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [("kind", kind), ("uuid", secrets.token_bytes(16)), ("generation", 0)],
            )
            _set_pragma(connection, "application_id", APPLICATION_ID)
            _set_pragma(connection, "user_version", SCHEMA)
            connection.execute("COMMIT")
        finally:
            connection.close()
        _publish(fresh, path)
    finally:
        for leftover in (fresh, fresh.with_name(fresh.name + "-wal"), fresh.with_name(fresh.name + "-shm")):
            leftover.unlink(missing_ok=True)


def check(connection: sqlite3.Connection, path: Path, kind: Kind) -> bool:
    """Whether this index has to be migrated.

    Raises:
        LibraryError: it is not an index, is damaged, holds another kind, or comes from a newer mmr.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LibraryError(f"{path} is not an index of mmr", "move it away, or keep the index elsewhere with --index")
    _check_size(connection, path)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise LibraryError(
            f"the index {path} was written by a newer mmr (schema {version}, this one knows {SCHEMA})",
            "update mmr, or keep another index with --index",
        )
    if version == SCHEMA:
        held = connection.execute("SELECT value FROM meta WHERE key = 'kind'").fetchone()
        if held is None or held[0] != kind:
            raise LibraryError(
                f"the index {path} holds {held[0] if held else 'nothing'}, not {kind}", "name another one with --index"
            )
    return bool(version < SCHEMA)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring an older index up to date, after a copy of it was put beside it.

    Raises:
        LibraryError: it is older than anything this mmr knows.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    backup = path.with_name(f"{path.name}.schema-{version}.backup")
    copy = sqlite3.connect(backup)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    while version < SCHEMA:
        if version not in MIGRATIONS:
            raise LibraryError(
                f"the index {path} has schema {version}, too old for this mmr", "move it away, and index again"
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[version](connection)
            version += 1
            _set_pragma(connection, "user_version", version)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _set_pragma(connection: sqlite3.Connection, name: str, value: int) -> None:
    connection.execute(f"PRAGMA {name} = {value:d}")  # pragmas take no parameters


def _check_size(connection: sqlite3.Connection, path: Path) -> None:
    """Find a file that was cut off at once, not when its missing pages are asked for."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        return  # pages may stand in the log as yet
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    if path.stat().st_size < pages * size:
        raise sqlite3.DatabaseError("cut off")


def _publish(fresh: Path, path: Path) -> None:
    """Give the new file its name, unless another process was faster."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            with suppress(FileExistsError):  # Windows replaces nothing
                fresh.rename(path)
