"""What Windows and macOS do otherwise (docs/portability.md), as far as it can be acted out on Linux."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import errno
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr_runtime import ctl, files, prepared
from mmr_runtime.books import VectorCache, cache
from mmr_runtime.errors import LibraryError, UsageError
from mmr_runtime.files import comparable, rename, write_whole
from mmr_runtime.library import Filters, Library, Track
from mmr_runtime.library.lock import writer_lock
from mmr_runtime.library.playlists import read_playlist
from mmr_runtime.library.roots import Roots
from mmr_runtime.library.scan import scan
from mmr_runtime.serve import Server, serve_socket
from mmr_runtime.soundtrack.edit import correct
from mmr_runtime.soundtrack.soundtrack import Corrections
from tests.runtime.fake_engine import FakeEngine, write_song

ROOT = Path(__file__).resolve().parents[2]
COMPOSED, APART = unicodedata.normalize("NFC", "café.wav"), unicodedata.normalize("NFD", "café.wav")


@pytest.fixture
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For mmr; pytest has made its folder before."""
    monkeypatch.setattr(sys, "platform", "win32")


# -- renaming ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Path]]:
    """Renaming fails so many times, as while a scanner reads the new file; the list tells how often it was tried."""
    real = Path.replace

    def hold(times: int) -> list[Path]:
        tried: list[Path] = []

        def replace(path: Path, target: Path) -> Path:
            tried.append(path)
            if len(tried) <= times:
                raise PermissionError(errno.EACCES, "Access is denied", str(path))
            return real(path, target)

        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(files, "_PAUSES", (0, 0, 0))
        return tried

    return hold


@pytest.mark.usefixtures("windows")
def test_a_file_that_is_held_for_a_moment_gets_its_name_in_the_end(
    tmp_path: Path, held: Callable[[int], list[Path]]
) -> None:
    tried = held(3)
    write_whole(tmp_path / "a", [b"new"])
    assert len(tried) == 4
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.usefixtures("windows")
def test_a_file_that_stays_held_is_an_error_and_leaves_nothing(
    tmp_path: Path, held: Callable[[int], list[Path]]
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    held(99)
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "a", [b"new"])
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


def test_elsewhere_a_refusal_is_meant(tmp_path: Path, held: Callable[[int], list[Path]]) -> None:
    tried = held(1)
    (tmp_path / "a").touch()
    with pytest.raises(PermissionError):
        rename(tmp_path / "a", tmp_path / "b")
    assert len(tried) == 1


# -- spelling ---------------------------------------------------------------------------------------------------------


@given(st.text())
def test_both_spellings_of_a_name_compare_equal(name: str) -> None:
    apart = unicodedata.normalize("NFD", name)
    assert comparable(apart) == comparable(unicodedata.normalize("NFC", name)) == comparable(comparable(name))


def test_case_counts_where_files_are_told_apart_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert comparable("/a/B.ogg") != comparable("/a/b.ogg")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert comparable("/a/B.ogg") == comparable("/a/b.ogg")


def test_a_playlist_from_a_mac_names_songs_of_this_disk(tmp_path: Path) -> None:
    write_song(tmp_path / COMPOSED, 300)
    (tmp_path / "list.m3u8").write_text(f"{APART}\n", encoding="utf-8")
    kept = Filters.of(playlist=tmp_path / "list.m3u8")
    assert kept(Track(tmp_path / COMPOSED, "", "", "", 2.0))
    assert not kept(Track(tmp_path / "other.wav", "", "", "", 2.0))


def test_a_soundtrack_edited_on_a_mac_means_the_songs_of_this_disk() -> None:
    found = correct(Corrections(), [f"/music/{COMPOSED}", "/music/b.wav"], pins=[(0, 1, APART)])
    assert found.pins == ((0, f"/music/{COMPOSED}"), (1, f"/music/{COMPOSED}"))


def test_a_playlist_in_the_code_page_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: None) -> None:
    codecs.register(search := lambda name: codecs.lookup("cp932") if name == "mbcs" else None)
    try:
        (tmp_path / "list.m3u").write_bytes("戦い.mp3\r\n".encode("cp932") + "静か.mp3\r\n".encode())
        assert [path.name for path in read_playlist(tmp_path / "list.m3u")] == ["戦い.mp3", "静か.mp3"]
    finally:
        codecs.unregister(search)


def test_a_song_that_another_machine_shares_is_not_taken_for_one_of_this_disk(tmp_path: Path) -> None:
    (tmp_path / "list.m3u").write_text("file://nas/music/a.mp3\nfile://localhost/b.mp3\nfile:///c.mp3\n")
    assert [str(path) for path in read_playlist(tmp_path / "list.m3u")] == ["/b.mp3", "/c.mp3"]


def test_a_home_that_nobody_has_is_a_bad_input() -> None:
    with pytest.raises(Exception, match="cannot be resolved"):
        Roots.of(["~nobody-of-this-name/Music"])


# -- folders ----------------------------------------------------------------------------------------------------------


def test_folders_of_a_disk_without_numbers_are_all_walked_and_loops_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.wav", "b/2.wav", "b/c/3.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "back").symlink_to(tmp_path)
    real = Path.stat

    def without_number(path: Path, **how: Any) -> Any:
        facts = real(path, **how)
        return SimpleNamespace(st_dev=0, st_ino=0, st_mode=facts.st_mode)

    monkeypatch.setattr(Path, "stat", without_number)
    found = scan(Roots((str(tmp_path),)), "songs")
    assert [Path(file.path).name for file in found.files] == ["1.wav", "2.wav", "3.wav"]


# -- locks ------------------------------------------------------------------------------------------------------------


class Msvcrt:
    """Windows' locks of byte ranges: held until they are freed, whatever becomes of the file."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        self.held: set[tuple[int, int]] = set()

    def locking(self, handle: int, mode: int, count: int) -> None:
        place = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        assert count == 1
        if mode == self.LK_UNLCK:
            self.held.remove(place)
        elif place in self.held:
            raise OSError(errno.EACCES, "Permission denied")
        else:
            self.held.add(place)


@pytest.fixture
def msvcrt(monkeypatch: pytest.MonkeyPatch, windows: None) -> Msvcrt:
    monkeypatch.setitem(sys.modules, "msvcrt", found := Msvcrt())
    return found


def test_a_lock_of_windows_is_freed_at_once(tmp_path: Path, msvcrt: Msvcrt) -> None:
    for _ in range(2):
        with writer_lock(tmp_path / "index.lock"):
            assert {place for _, place in msvcrt.held} == {0}
            with (
                pytest.raises(LibraryError, match=f"process {os.getpid()}"),
                writer_lock(tmp_path / "index.lock"),
            ):
                pass
        assert not msvcrt.held


def test_a_lock_is_freed_when_the_work_fails(tmp_path: Path, msvcrt: Msvcrt) -> None:
    with pytest.raises(KeyError), writer_lock(tmp_path / "index.lock"):
        raise KeyError
    assert not msvcrt.held


def test_a_disk_without_locks_is_written_all_the_same(
    tmp_path: Path, msvcrt: Msvcrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(msvcrt, "locking", refuse)
    with writer_lock(tmp_path / "index.lock"):
        assert not msvcrt.held


# -- mapped files -----------------------------------------------------------------------------------------------------


def test_vectors_that_another_process_has_mapped_may_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two old matrices the one that Windows will not remove does not keep the other."""
    write_song(tmp_path / "songs" / "a.wav", 300)
    with Library.open(tmp_path / "songs", FakeEngine(), tmp_path / "index") as library:  # type: ignore[arg-type]
        library.update()
        assert len(library) == 1
    (name,) = (path.name for path in (tmp_path / "index").glob("vectors-*"))
    family = name.rpartition("-")[0]
    for number in (1000, 1001, 1002):
        (tmp_path / "index" / f"{family}-{number}.f32").touch()
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == f"{family}-1001.f32":
            raise PermissionError(errno.EACCES, "in use", str(path))
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    write_song(tmp_path / "songs" / "b.wav", 900)
    with Library.open(tmp_path / "songs", FakeEngine(), tmp_path / "index") as library:  # type: ignore[arg-type]
        library.update()
        assert len(library) == 2
    left = sorted(path.name for path in (tmp_path / "index").glob("vectors-*"))
    assert len(left) == 2
    assert f"{family}-1001.f32" in left


def test_a_damaged_cache_goes_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise SQLite would play what the log holds into the new file."""
    for end in ("", "-wal", "-shm"):
        (tmp_path / f"pages.db{end}").write_bytes(b"no database" * 1000)
    real, left = cache._opened, []

    def opened(path: Path) -> sqlite3.Connection:
        left.append(sorted(entry.name for entry in tmp_path.iterdir()))
        if len(left) == 1:
            raise sqlite3.DatabaseError("file is not a database")
        return real(path)

    monkeypatch.setattr(cache, "_opened", opened)
    kept = VectorCache(tmp_path / "pages.db")
    assert left == [["pages.db", "pages.db-shm", "pages.db-wal"], []]
    kept.put(b"key", np.ones((1, 4), np.float32))
    assert kept.get(b"key", 4) is not None
    kept.close()


# -- the processor ----------------------------------------------------------------------------------------------------


def test_macos_names_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def sysctlbyname(name: bytes, text: Any, size: Any, *_: object) -> int:
        assert name == b"machdep.cpu.brand_string"
        text.value = b"Apple M2"
        return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(sysctlbyname=sysctlbyname))
    monkeypatch.setattr(prepared, "Path", lambda _: Path(os.devnull))
    monkeypatch.delenv("PROCESSOR_IDENTIFIER", raising=False)
    assert prepared.processor_flags() == "Apple M2"
    monkeypatch.setenv("PROCESSOR_IDENTIFIER", "Intel64 Family 6")
    assert prepared.processor_flags() == "Intel64 Family 6"


# -- the side process -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"PK\3\4 a volume", b"[]", b'{"port": 1}', b"\xff\xfe"])
def test_a_file_in_the_place_of_the_socket_is_not_lost(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "volume.cbz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no socket"):
        serve_socket(_NOBODY, path)
    assert path.read_bytes() == content
    assert ctl.main(["--socket", str(path), "ping"]) == 5
    assert "no server's" in capsys.readouterr().err


def test_a_folder_in_the_place_of_the_socket_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no socket"):
        serve_socket(_NOBODY, tmp_path)


@pytest.fixture
def stranger() -> Iterator[int]:
    """Another program on the port of a server that was killed: its first words are no protocol."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError), connection.makefile("rb") as said:
                connection.sendall(b"220 mail ready\n")
                said.readline()

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(20)
        assert not thread.is_alive()


def test_a_stranger_on_an_old_port_is_no_server(
    tmp_path: Path, stranger: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mmr.sock").write_text(json.dumps({"port": stranger, "secret": "0" * 32}))
    assert ctl.main(["--socket", str(tmp_path / "mmr.sock"), "ping"]) == 5
    assert "speaks otherwise" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
def test_a_path_that_is_too_long_for_a_socket_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ("x" * 120)
    assert ctl.main(["--socket", str(path), "ping"]) == 5
    assert "too long" in capsys.readouterr().err
    with pytest.raises(UsageError, match="too long"):
        serve_socket(_NOBODY, path)


@pytest.mark.skipif(sys.platform == "win32", reason="by a shell")
def test_a_client_without_stderr_is_served(tmp_path: Path) -> None:
    """As a program without a console has none: nothing but the protocol comes out all the same."""
    write_song(tmp_path / "songs" / "a.wav", 300, 6.0)
    options = f"--library {tmp_path / 'songs'} --index {tmp_path / 'index'}"
    code = (
        "import os, mmr_runtime.serve as serve\n"
        "shout = lambda *_: os.write(1, b'from a library') + os.write(2, b'from a library')\n"
        "serve.Server._index = lambda self, *_: {'n': shout()}\n"
        "from mmr_runtime.cli import main; main()"
    )
    (tmp_path / "host.py").write_text(code)
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} {tmp_path / 'host.py'} serve --stdio {options} 2>&-"],
        input=b'{"id": 1, "method": "index"}\n',
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        timeout=60,
        check=False,
    )
    ready, answer = map(json.loads, done.stdout.splitlines())
    assert ready["event"] == "ready"
    assert answer == {"id": 1, "result": {"n": 28}}
    assert done.returncode == 0


_NOBODY: Server = None  # type: ignore[assignment]
"""No server is asked before the place is."""
