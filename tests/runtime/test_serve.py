"""`mmr serve --stdio`: every line is answered once, nothing ends the server but the client."""

from __future__ import annotations

import base64
import io
import json
import os
import queue
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from mmr_runtime import ctl
from mmr_runtime.errors import UsageError
from mmr_runtime.library import Library
from mmr_runtime.limits import MAX_LINE_BYTES
from mmr_runtime.serve import Server, serve_socket
from mmr_runtime.serve.messages import lines
from tests.runtime.test_companion import ReaderEngine, write_song

DOCS = Path(__file__).resolve().parents[2] / "docs" / "protocol"
SCHEMA = jsonschema.Draft202012Validator(json.loads((DOCS / "protocol.schema.json").read_text(encoding="utf-8")))
SECONDS = 20


class Client:
    """Talks to a server in this process through pipes; every line is held to the schema."""

    def __init__(self, engine: Any, library: Library) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self._write = os.fdopen(ours_out, "wb", buffering=0)
        self._read = os.fdopen(ours_in, "rb")
        self._streams = os.fdopen(theirs_in, "rb"), os.fdopen(theirs_out, "wb")
        self._served = Server(engine, library, "1.2.3")
        self.server = threading.Thread(target=self._served.serve, args=self._streams)
        self.server.start()
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()
        self._count = 0

    def _listen(self) -> None:
        for line in self._read:
            message = json.loads(line)
            SCHEMA.validate(message)
            self.messages.put(message)

    def raw(self, data: bytes) -> None:
        self._write.write(data)

    def send(self, method: str, **params: Any) -> int:
        self._count += 1
        self.raw(json.dumps({"id": self._count, "method": method, "params": params}).encode() + b"\n")
        return self._count

    def next(self) -> dict[str, Any]:
        return self.messages.get(timeout=SECONDS)

    def answer(self, number: Any) -> dict[str, Any]:
        """The answer to a request; events before it are dropped."""
        while True:
            message = self.next()
            if message.get("id") == number and "event" not in message:
                return message

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        answer = self.answer(self.send(method, **params))
        assert "result" in answer, answer
        return dict(answer["result"])

    def close(self) -> None:
        self._write.close()
        self.server.join(SECONDS)
        assert not self.server.is_alive()
        self._served.close()
        self._streams[1].close()
        self._reader.join(SECONDS)
        self._streams[0].close()
        self._read.close()


@pytest.fixture
def engine() -> ReaderEngine:
    return ReaderEngine()


@pytest.fixture
def client(tmp_path: Path, engine: ReaderEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i in range(5):
        write_song(tmp_path / "songs" / f"{i}.wav", 200 + 700 * i, 2.0)
    with Library.open(tmp_path / "songs", engine, tmp_path / "index") as library:  # type: ignore[arg-type]
        library.update()
        client = Client(engine, library)
        assert client.next()["event"] == "ready"
        yield client
        client.close()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "book").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 24), np.uint8)).save(tmp_path / "book" / f"{number}.png")
    return tmp_path / "book"


def test_a_book_is_read_with_music(client: Client, book: Path) -> None:
    opened = client.ask("open_book", path=str(book), change=0.8)
    assert opened["pages"] == [f"{number}.png" for number in range(6)]
    first = client.ask("turn", page=0)
    assert first["action"] == "switch"
    assert Path(first["track"]["path"]).is_file()
    client.ask("prefetch", pages=[1, 2])
    assert client.ask("turn", page=1)["page"] == 1


def test_feedback_is_taken(client: Client, book: Path) -> None:
    client.ask("open_book", path=str(book))
    first = client.ask("turn", page=0)
    other = first["alternatives"][-1]["track"]["path"]
    assert client.ask("feedback", kind="pin", path=other, first=0)["track"]["path"] == other
    assert client.ask("feedback", kind="more", path=other) == {}
    now = client.ask("feedback", kind="never", path=other)
    assert now["track"]["path"] != other
    for params in ({"kind": "loud", "path": first["track"]["path"]}, {"kind": "never", "path": "x"}):
        assert client.answer(client.send("feedback", **params))["error"]["code"] == "usage"


def test_pages_come_by_path_by_bytes_and_from_archives(client: Client, book: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", book)
    page = book / "1.png"
    sources = [
        {"path": str(page)},
        {"base64": base64.b64encode(page.read_bytes()).decode()},
        {"archive": archive, "member": "1.png"},
    ]
    answers = [client.ask("rank", pages=[source], top=3)["matches"] for source in sources]
    assert answers[0] == answers[1] == answers[2]
    assert [match["rank"] for match in answers[0]] == [1, 2, 3]
    assert client.ask("rank", text="rain")["matches"]
    for wrong in ({"pages": [3]}, {"pages": [{"archive": archive, "member": "x"}]}, {}, {"pages": {"a": 1}}):
        assert client.answer(client.send("rank", **wrong))["error"]["code"] == "usage"


def test_a_soundtrack_and_an_index_tell_how_far_they_are(client: Client, book: Path, tmp_path: Path) -> None:
    number = client.send("soundtrack", path=str(book), min_pages=2)
    progress = []
    while "event" in (message := client.next()):
        progress.append((message["id"], message["done"], message["total"]))
    assert progress == [(number, done, 6) for done in range(7)]
    found = message["result"]["soundtrack"]
    assert (found["kind"], found["segments"][-1]["pages"][1]) == ("mmr soundtrack", 6)
    client.ask("open_book", path=str(book))
    write_song(tmp_path / "songs" / "new.wav", 3900, 2.0)
    assert client.ask("index") == {"added": 1, "kept": 5, "moved": 0, "removed": 0, "skipped": [], "songs": 6}
    assert client.ask("turn", page=0)["action"] == "switch"


def test_the_newest_turn_wins_and_each_is_answered_once(client: Client, book: Path, engine: ReaderEngine) -> None:
    client.ask("open_book", path=str(book))
    answers = {}
    with engine.held() as entered:
        first = client.send("turn", page=0)
        assert entered.wait(SECONDS)
        second, third = client.send("turn", page=1), client.send("turn", page=2)
        answers[second] = client.answer(second)
        assert client.ask("ping") == {"protocol": 1}  # heard while a page is looked at
    for _ in range(2):
        message = client.next()
        answers[message["id"]] = message
    assert answers[second]["error"]["code"] == "cancelled"
    assert answers[third]["result"]["page"] == 2
    assert first in answers


def test_what_waits_can_be_cancelled(client: Client, book: Path, engine: ReaderEngine) -> None:
    with engine.held() as entered:
        running, waiting = client.send("soundtrack", path=str(book)), client.send("index")
        assert entered.wait(SECONDS)
        cancelled = [client.send("cancel", id=number) for number in (waiting, running)]
        assert all(client.answer(number)["result"] == {"found": True} for number in cancelled)
    assert client.answer(running)["error"]["code"] == "cancelled"
    assert client.answer(waiting)["error"]["code"] == "cancelled"


def test_an_id_in_use_is_refused(client: Client, book: Path, engine: ReaderEngine) -> None:
    with engine.held() as entered:
        number = client.send("soundtrack", path=str(book))
        assert entered.wait(SECONDS)
        client.raw(json.dumps({"id": number, "method": "index"}).encode() + b"\n")
        assert client.answer(number)["error"]["code"] == "usage"
    assert "result" in client.answer(number)


def matches(expected: Any, found: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(k in found and matches(v, found[k]) for k, v in expected.items())
    return bool(expected == found)


def test_the_conformance_session(client: Client) -> None:
    steps = [json.loads(line) for line in (DOCS / "conformance.jsonl").read_text(encoding="utf-8").splitlines()]
    for step in steps[1:]:  # the fixture has met the ready event
        if "send" in step:
            client.raw(json.dumps(step["send"]).encode() + b"\n")
        elif "send raw" in step:
            client.raw(step["send raw"].encode() + b"\n")
        else:
            found = client.next()
            assert matches(step["expect"], found), (step, found)
    client.server.join(SECONDS)
    assert not client.server.is_alive()


def test_long_lines_are_read_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_LINE_BYTES > 256 * 2**20 * 4 / 3
    monkeypatch.setattr("mmr_runtime.serve.messages.MAX_LINE_BYTES", 10)
    stream = io.BytesIO(b"short\n" + b"x" * 35 + b"\n\nlast")
    assert list(lines(stream)) == [b"short\n", None, b"last"]


# -- the socket -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["socket", "port"])
def listening(
    request: pytest.FixtureRequest, tmp_path: Path, engine: ReaderEngine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i in range(4):
        write_song(tmp_path / "songs" / f"{i}.wav", 200 + 700 * i, 2.0)
    path = tmp_path / "run" / "mmr.sock"
    with (
        Library.open(tmp_path / "songs", engine, tmp_path / "index") as library,  # type: ignore[arg-type]
        Server(engine, library) as server,  # type: ignore[arg-type]
    ):
        library.update()
        thread = threading.Thread(target=serve_socket, args=(server, path), kwargs={"port": request.param})
        thread.start()
        while not path.exists():
            thread.join(0.01)
        yield path
        ctl.main(["--socket", str(path), "shutdown"])
        thread.join(SECONDS)
        assert not thread.is_alive()
        assert not path.exists()


def test_commands_share_one_reader(listening: Path, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, Any]:
        code = ctl.main(["--socket", str(listening), *words])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else None

    assert stat.S_IMODE(listening.stat().st_mode) == 0o600
    assert run("turn", "page=0") == (1, None)
    assert run("open_book", f"path={book}", "change=0.7")[1]["title"] == "book"
    code, first = run("turn", "page=0")
    assert (code, first["action"]) == (0, "switch")
    assert run("turn", "page=1")[1]["page"] == 1
    assert run("no_such_method")[0] == 1
    with Server(ReaderEngine(), None) as second, pytest.raises(UsageError, match="another server"):  # type: ignore[arg-type]
        serve_socket(second, listening)
    if listening.is_file():
        port = json.loads(listening.read_text())["port"]
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"guess\n" + b'{"id": 1, "method": "ping"}\n')
            assert stranger.makefile("rb").read() == b""


def test_without_a_server_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["--socket", str(tmp_path / "none.sock"), "ping"]) == 5
    assert "mmr serve --socket" in capsys.readouterr().err
    assert ctl.main([]) == 2
    assert ctl.main(["turn", "page"]) == 2
    assert ctl.main(["--help"]) == 0


def test_the_command_loads_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import mmr_runtime.ctl; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['mmr_runtime']"


# -- the program ------------------------------------------------------------------------------------------------------


def start(tmp_path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mmr_runtime.cli", "serve", "--stdio"]
    command += ["--library", str(tmp_path / "songs"), "--index", str(tmp_path / "index")]
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, **pipes)  # type: ignore[call-overload]


def test_the_program_speaks_only_the_protocol_and_ends_with_its_client(tmp_path: Path, book: Path) -> None:
    for i in range(3):
        write_song(tmp_path / "songs" / f"{i}.wav", 300 + 900 * i, 6.0)
    requests = [
        {"id": 1, "method": "index"},
        {"id": 2, "method": "open_book", "params": {"path": str(book)}},
        {"id": 3, "method": "soundtrack", "params": {"path": str(book), "one_song": True}},
    ]
    process = start(tmp_path)
    sent = b"".join(json.dumps(request).encode() + b"\n" for request in requests)
    assert process.stdin
    assert process.stdout
    process.stdin.write(sent)
    process.stdin.flush()
    found: dict[Any, Any] = {}
    while len(found) < 3:
        message = json.loads(process.stdout.readline())
        SCHEMA.validate(message)
        if "event" not in message:
            found[message["id"]] = message
    assert found[1]["result"]["songs"] == 3
    assert found[3]["result"]["soundtrack"]["segments"][0]["pages"] == [1, 6]
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (0, b"")
    assert b"Traceback" not in err


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_node_client_reads_a_book(tmp_path: Path, book: Path) -> None:
    for i in range(3):
        write_song(tmp_path / "songs" / f"{i}.wav", 300 + 900 * i, 6.0)
    server = (
        f"{sys.executable} -m mmr_runtime.cli serve --stdio --library {tmp_path / 'songs'} --index {tmp_path / 'i'}"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        ["node", str(DOCS / "client.mjs"), server, str(book)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    head, *pages = done.stdout.splitlines()
    assert head == "protocol 1, book, 6 pages"
    assert pages[0].startswith("1: switch")
    assert len(pages) == 6
