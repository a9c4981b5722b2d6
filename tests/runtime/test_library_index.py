"""An index survives kills, full disks, other processes, other versions and damage; nothing of it is ever deleted."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mmr_runtime.errors import LibraryError
from mmr_runtime.library import Library, matrix, schema
from mmr_runtime.library.lock import writer_lock
from tests.runtime.fake_engine import FakeEngine, write_song

ROOT = Path(__file__).resolve().parents[2]
SONGS = 6

CHILD = """
import os, signal, sys
from mmr_runtime.library import Library
from tests.runtime.fake_engine import FakeEngine

folder, index, point, number = sys.argv[1:]
seen = 0

def at(name):
    global seen
    if name == point:
        seen += 1
        if seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

class Engine(FakeEngine):
    def embed_audio(self, song, *, windows=8, measure=False):
        at("embed")
        return super().embed_audio(song, windows=windows, measure=measure)

with Library.open(folder, Engine(), index) as library:
    def trace(statement):
        word = statement.split()[0]
        if word == "COMMIT":
            at("commit")
        if "INTO window" in statement:
            at("middle")
    library._store._connection.set_trace_callback(trace)
    if point == "wait":
        library.update(lambda p: (print("writing", flush=True), sys.stdin.readline()) if p.done == 1 else None)
    else:
        library.update(lambda p: at("between"))
"""


def child(folder: Path, index: Path, point: str, number: int = 1, **options: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(folder), str(index), point, str(number)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    for number in range(SONGS):
        write_song(tmp_path / "songs" / f"{number}.wav", 300 + 400 * number, seconds=0.3)
    return tmp_path / "songs"


@pytest.fixture
def index(songs: Path) -> Path:
    """An index of all songs."""
    with Library.open(songs, FakeEngine(), songs.parent / "index") as library:
        library.update()
    return songs.parent / "index"


def answers(songs: Path, index: Path) -> list[tuple[str, float]]:
    with Library.open(songs, FakeEngine(), index) as library:
        return [(m.track.path.name, m.score) for m in library.rank(None, text="x")]


# -- kills -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
@pytest.mark.parametrize(
    ("point", "number", "finished"),
    [("embed", 1, 0), ("embed", 4, 3), ("middle", 3, 2), ("commit", 5, 4), ("between", 4, 3)],
)
def test_kill_9_loses_at_most_the_song_in_work(songs: Path, point: str, number: int, finished: int) -> None:
    index = songs.parent / "index"
    process = child(songs, index, point, number)
    assert process.wait(60) == -signal.SIGKILL
    engine = FakeEngine()
    with Library.open(songs, engine, index) as library:
        assert len(library) == finished
        report = library.update()
        assert (report.kept, report.added) == (finished, SONGS - finished)
        assert len(engine.embedded) == SONGS - finished
        assert len(library) == SONGS
    with sqlite3.connect(index / "index.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT COUNT(*), COUNT(DISTINCT content) FROM item").fetchone() == (SONGS, SONGS)
    connection.close()


# -- two at once -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="uses a pipe and signals")
def test_one_writes_and_others_read_and_a_dead_owners_lock_is_taken_over(songs: Path) -> None:
    index = songs.parent / "index"
    process = child(songs, index, "wait", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "writing\n"
    with Library.open(songs, FakeEngine(), index) as library:
        assert len(library) == 1  # a reader sees what is finished
        with pytest.raises(LibraryError, match=f"process {process.pid}") as caught:
            library.update()
        assert caught.value.exit_code == 6
        process.kill()
        process.wait(60)
        process.stdin.close()
        process.stdout.close()
        assert str(process.pid) in (index / "index.lock").read_text()
        assert library.update().added == SONGS - 1
        assert len(library) == SONGS


def test_who_has_nothing_to_write_needs_no_lock(songs: Path, index: Path) -> None:
    with writer_lock(index / "index.lock"), Library.open(songs, FakeEngine(), index) as library:
        assert library.update().kept == SONGS
        (songs / "0.wav").unlink()
        with pytest.raises(LibraryError, match=f"process {os.getpid()}"):
            library.update()


def test_an_index_made_by_another_process_at_the_same_time_stays(tmp_path: Path) -> None:
    schema.create(tmp_path / "index.db", "songs")
    before = (tmp_path / "index.db").read_bytes()
    schema.create(tmp_path / "index.db", "songs")
    assert (tmp_path / "index.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["index.db"]


# -- disks -------------------------------------------------------------------------------------------------------------


class LongSongs(FakeEngine):
    """Each song needs pages of its own in the database."""

    def embed_audio(self, song: str | Path, *, windows: int = 8, measure: bool = False) -> SimpleNamespace:
        embedded = super().embed_audio(song, windows=windows, measure=measure)
        embedded.windows = np.repeat(embedded.windows, 200, axis=0)
        embedded.starts = np.repeat(embedded.starts, 200)
        return embedded


def test_a_full_disk_is_named_and_what_was_finished_stays(songs: Path) -> None:
    with Library.open(songs, LongSongs(), songs.parent / "index") as library:
        connection = library._store._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 12}")
        with pytest.raises(LibraryError, match="disk is full") as caught:
            library.update()
        assert "--index" in caught.value.hint
        finished = len(library)
        assert 0 < finished < SONGS
        connection.execute("PRAGMA max_page_count = 100000")
        report = library.update()
        assert (report.kept, report.added) == (finished, SONGS - finished)


def test_without_room_for_the_matrix_answers_are_the_same(
    songs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(matrix, "_write", full)
    expected = answers(songs, index)
    monkeypatch.undo()
    assert not list(index.glob("vectors-*"))
    assert answers(songs, index) == expected


@pytest.mark.parametrize("place", ["file.txt", "file.txt/index"])
def test_a_place_that_cannot_hold_an_index_is_named(songs: Path, place: str) -> None:
    (songs.parent / "file.txt").write_text("not a folder")
    with pytest.raises(LibraryError) as caught:
        Library.open(songs, FakeEngine(), songs.parent / place)
    assert "--index" in caught.value.hint


def test_a_database_that_cannot_be_written_is_named(songs: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_song(songs / "new.wav", 500)
    with Library.open(songs, FakeEngine(), index) as library:
        library._store._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(LibraryError, match="writing") as caught:
            library.update()
        assert caught.value.hint


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(songs: Path) -> None:
    place = songs.parent / "locked"
    place.mkdir(mode=0o500)
    with pytest.raises(LibraryError, match="Permission denied"):
        Library.open(songs, FakeEngine(), place / "index")


def test_where_wal_is_not_to_be_had_the_index_works_with_a_rollback_journal(
    songs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    class NoWal(sqlite3.Connection):
        def execute(self, statement: str, *parameters: object) -> sqlite3.Cursor:  # type: ignore[override]
            if "journal_mode = WAL" in statement:
                raise sqlite3.OperationalError("locking protocol")
            return super().execute(statement, *parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=NoWal, **k))
    index = songs.parent / "index"
    with Library.open(songs, FakeEngine(), index) as library:
        assert library._store._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert library.update().added == SONGS
        assert len(library) == SONGS


def test_the_index_uses_wal_and_full_synchronisation_where_it_can(songs: Path, index: Path) -> None:
    with Library.open(songs, FakeEngine(), index) as library:
        execute = library._store._connection.execute
        assert execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert execute("PRAGMA synchronous").fetchone() == (2,)


# -- damage and versions -----------------------------------------------------------------------------------------------


def damaged(how: str, data: bytes) -> bytes:
    if how == "empty":
        return b""
    if how == "garbage":
        return b"this is no database" * 500
    if how == "header":
        return data[:60]
    if how == "half":
        return data[: len(data) // 2]
    assert how == "pages"
    return data[:4096] + bytes(len(data) - 4096)


@pytest.mark.parametrize("how", ["empty", "garbage", "header", "half", "pages"])
def test_a_damaged_index_is_named_and_left_as_it_is(songs: Path, index: Path, how: str) -> None:
    path = index / "index.db"
    broken = damaged(how, path.read_bytes())
    path.write_bytes(broken)
    with pytest.raises(LibraryError) as caught, Library.open(songs, FakeEngine(), index) as library:
        library.update()
    assert str(path) in caught.value.message
    assert "move it away" in caught.value.hint
    assert path.read_bytes() == broken


def test_another_programs_database_is_refused(songs: Path) -> None:
    index = songs.parent / "index"
    index.mkdir()
    with sqlite3.connect(index / "index.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(LibraryError, match="not an index of mmr"):
        Library.open(songs, FakeEngine(), index)


def test_an_index_of_the_other_kind_is_refused(songs: Path, index: Path) -> None:
    with pytest.raises(LibraryError, match="holds songs, not pages"):
        Library.open(songs, FakeEngine(), index, kind="pages")


def test_vectors_of_another_size_under_the_same_name_are_refused(songs: Path, index: Path) -> None:
    engine = FakeEngine()
    engine.embedding_size = 8
    with pytest.raises(LibraryError, match="another model"), Library.open(songs, engine, index) as library:
        len(library)


def test_an_index_from_a_newer_version_is_refused_untouched(songs: Path, index: Path) -> None:
    connection = sqlite3.connect(index / "index.db", isolation_level=None)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA + 1}")
    connection.close()
    before = (index / "index.db").read_bytes()
    with pytest.raises(LibraryError, match="newer mmr") as caught:
        Library.open(songs, FakeEngine(), index)
    assert "update mmr" in caught.value.hint
    assert (index / "index.db").read_bytes() == before


def test_an_older_index_is_migrated_after_a_backup(songs: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(songs, index)
    current = schema.SCHEMA
    with contextlib.closing(sqlite3.connect(index / "index.db")) as connection:
        columns = len(connection.execute("PRAGMA table_info(file)").fetchall())
    monkeypatch.setattr(schema, "SCHEMA", current + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", {current: lambda c: c.execute("ALTER TABLE file ADD COLUMN colour TEXT")})
    assert answers(songs, index) == expected
    backup = f"index.db.schema-{current}.backup"
    for name, version, count in (("index.db", current + 1, columns + 1), (backup, current, columns)):
        connection = sqlite3.connect(index / name)
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        assert len(connection.execute("PRAGMA table_info(file)").fetchall()) == count
        assert connection.execute("SELECT COUNT(*) FROM item").fetchone() == (SONGS,)
        connection.close()


def test_a_migration_that_fails_changes_nothing(songs: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE window")
        connection.execute("SELECT nonsense")

    expected = answers(songs, index)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", {schema.SCHEMA: fails})
        patched.setattr(schema, "SCHEMA", schema.SCHEMA + 1)
        with pytest.raises(LibraryError):
            Library.open(songs, FakeEngine(), index)
        patched.setattr(schema, "MIGRATIONS", {})
        with pytest.raises(LibraryError, match="too old"):
            Library.open(songs, FakeEngine(), index)
    assert answers(songs, index) == expected


# -- the matrix beside the database ------------------------------------------------------------------------------------


def test_the_matrix_is_used_while_it_is_current(songs: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(songs, index)
    assert len(list(index.glob("vectors-*.f32"))) == 1
    monkeypatch.setattr("mmr_runtime.library.store.Store.vectors", lambda *_: pytest.fail("the matrix was not used"))
    assert answers(songs, index) == expected


@pytest.mark.parametrize("how", ["gone", "cut", "garbage", "of another index", "stale"])
def test_a_matrix_that_disagrees_is_made_anew(songs: Path, index: Path, how: str) -> None:
    expected = answers(songs, index)
    (path,) = index.glob("vectors-*.f32")
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-4])
    elif how == "garbage":
        path.write_bytes(b"\0" * len(data))
    else:
        at = 8 if how == "of another index" else 24
        data[at] ^= 1
        data[-64:] = np.zeros(16, np.float32).tobytes()
        path.write_bytes(data)
    assert answers(songs, index) == expected
    assert len(list(index.glob("vectors-*.f32"))) == 1


def test_nothing_but_the_index_lies_in_its_folder(songs: Path, index: Path) -> None:
    answers(songs, index)
    left = sorted(path.name.split("-")[0] for path in index.iterdir())
    assert left == ["index.db", "index.lock", "vectors"]


def test_importing_the_library_loads_nothing_that_only_indexing_needs() -> None:
    heavy = ["PIL", "av", "onnxruntime", "platformdirs", "scipy", "soundfile", "tinytag"]
    code = f"import sys, mmr_runtime.library, mmr_runtime.audio; print([m for m in {heavy} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- schema 1 ----------------------------------------------------------------------------------------------------------

FIRST = (
    "CREATE TABLE file_1 (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content BLOB,"
    " title TEXT NOT NULL DEFAULT '', artist TEXT NOT NULL DEFAULT '', album TEXT NOT NULL DEFAULT '',"
    " reason TEXT, decoder TEXT) WITHOUT ROWID",
    "INSERT INTO file_1 SELECT path, size, mtime_ns, content, title, artist, album, reason, decoder FROM file",
    "DROP TABLE file",
    "ALTER TABLE file_1 RENAME TO file",
    "CREATE INDEX file_content ON file (content)",
    "ALTER TABLE item DROP COLUMN loudness",
    "DROP TABLE ban",
    "DROP TABLE memory",
    "PRAGMA user_version = 1",
)


def test_an_index_of_schema_1_goes_on(songs: Path, index: Path) -> None:
    expected = answers(songs, index)
    connection = sqlite3.connect(index / "index.db", isolation_level=None)
    for statement in FIRST:
        connection.execute(statement)
    connection.close()
    assert answers(songs, index) == expected
    with Library.open(songs, FakeEngine(), index) as library:
        assert library.update().added == 0
        library.remember("a", "b")
        library.ban(library.tracks()[0].path)
        assert {track.gain_db for track in library.tracks()} == {None}
        assert len(library) == SONGS - 1
