"""The same protocol for many clients of one machine and one user, for readers that can do no more than start commands.

Where the system has them, on a Unix socket that only its owner may use. Elsewhere (Windows) on a port of the loopback
address: a file in the user's folder, readable by its owner alone, tells the port and a secret that a client must send
first.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from pathlib import Path

from mmr_runtime.ctl import connect, told_port
from mmr_runtime.errors import UsageError
from mmr_runtime.serve.server import Server

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")
_GREETING_SECONDS = 5.0


def serve_socket(server: Server, path: Path, *, port: bool = not HAS_UNIX_SOCKETS) -> None:
    """Serve all who connect, until one says `shutdown`; they share the book and what plays.

    Args:
        server: the reader.
        path: of the socket, or of the file that tells the port; it is made and, at the end, removed.
        port: listen on a port of the loopback address.

    Raises:
        UsageError: another server has it, a file of somebody else lies there, or it cannot be made.
    """
    if _is_alive(path):
        raise UsageError(f"another server listens on {path}", "end it: mmr-ctl shutdown")
    if not _may_be_replaced(path):
        raise UsageError(f"{path} is there and is no socket", "choose another --socket")
    ended, secret = threading.Event(), secrets.token_hex(16) if port else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener = _on_port(path, secret) if port else _on_socket(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"no socket can be made at {path}: {reason}", "choose another --socket") from error
    with contextlib.closing(listener):
        try:
            while not ended.is_set():
                connection, _ = listener.accept()
                work = (server, connection, secret, path, ended)
                threading.Thread(target=_serve, args=work, daemon=True).start()
        finally:
            path.unlink(missing_ok=True)


def _on_socket(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Made under a mask, so that there is no moment at which others could connect.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _on_port(path: Path, secret: str) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    told = json.dumps({"port": listener.getsockname()[1], "secret": secret})
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(told)
    except BaseException:
        listener.close()
        raise
    return listener


def _serve(server: Server, connection: socket.socket, secret: str, path: Path, ended: threading.Event) -> None:
    # A client that went away may leave something unsent, which closing would send.
    with (
        contextlib.suppress(OSError),
        connection,
        connection.makefile("rb") as read,
        connection.makefile("wb") as write,
    ):
        if secret:
            connection.settimeout(_GREETING_SECONDS)
            if not secrets.compare_digest(read.readline(len(secret) + 2).strip(), secret.encode()):
                return
            connection.settimeout(None)
        if server.serve(read, write):
            ended.set()
            _is_alive(path)  # lets the listener look up


def _is_alive(path: Path) -> bool:
    """Whether somebody listens."""
    try:
        connect(str(path)).close()
    except OSError:
        return False
    return True


def _may_be_replaced(path: Path) -> bool:
    """Whether nothing is lost with what lies there: nothing, or what an earlier server left."""
    if path.is_file():
        try:
            told_port(str(path))
        except OSError:
            return False
        return True
    return path.is_socket() or not path.exists()
