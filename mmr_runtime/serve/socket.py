"""The same protocol on a socket that only its owner may use, for readers that can do no more than start commands."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

from mmr_runtime.errors import UsageError
from mmr_runtime.serve.server import Server


def serve_socket(server: Server, path: Path) -> None:
    """Serve all who connect, until one says `shutdown`; they share the book and what plays.

    Args:
        server: the reader.
        path: of the socket, which is made and, at the end, removed.

    Raises:
        UsageError: another server has it, or it cannot be made.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("this system has no such sockets", "use mmr serve --stdio")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if _is_alive(path):
            raise UsageError(f"another server listens on {path}", "end it: mmr-ctl shutdown")
        path.unlink()
    ended = threading.Event()
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        # Made under a mask, so that there is no moment at which others could connect.
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise UsageError(f"no socket can be made at {path}: {error.strerror}", "choose another --socket") from error
        finally:
            os.umask(mask)
        listener.listen()
        try:
            while not ended.is_set():
                connection, _ = listener.accept()
                threading.Thread(target=_serve, args=(server, connection, path, ended), daemon=True).start()
        finally:
            path.unlink(missing_ok=True)


def _serve(server: Server, connection: socket.socket, path: Path, ended: threading.Event) -> None:
    # A client that went away may leave something unsent, which closing would send.
    with (
        contextlib.suppress(OSError),
        connection,
        connection.makefile("rb") as read,
        connection.makefile("wb") as write,
    ):
        if server.serve(read, write):
            ended.set()
            _is_alive(path)  # lets the listener look up


def _is_alive(path: Path) -> bool:
    """Whether somebody listens."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
