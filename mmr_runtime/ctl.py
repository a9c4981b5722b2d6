"""`mmr-ctl`: one request to a server on a socket. Standard library alone: it starts in a few hundredths of a second.

mmr serve --socket --library ~/Music &
mmr-ctl open_book path=/comics/volume.cbz
mmr-ctl turn page=11
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys

_MOST_TOLD = 200
"""Characters of the file that tells a port, more than it has."""

USAGE = """usage: mmr-ctl [--socket PATH] METHOD [NAME=VALUE ...]

Asks a running `mmr serve --socket` and prints the result as JSON. A VALUE is JSON where it can be read as such, else a
text.

  mmr-ctl open_book path=/comics/volume.cbz
  mmr-ctl turn page=11
  mmr-ctl soundtrack path=/comics/volume.cbz change=0.7
  mmr-ctl shutdown

exit codes: 0 done, 1 the server said no, 2 wrong use, 5 no server"""


def default_socket() -> str:
    """Where server and client meet unless they are told: the user's runtime folder, else the cache folder."""
    # pathlib would cost a quarter of the time that the command takes.
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return os.path.join(os.environ.get("XDG_RUNTIME_DIR") or f"{cache}/mmr", "mmr.sock")  # noqa: PTH118


def main(words: list[str] | None = None) -> int:
    """Run it; the exit code."""
    words = sys.argv[1:] if words is None else words
    path = default_socket()
    if words[:1] == ["--socket"] and len(words) > 1:
        path, words = words[1], words[2:]
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    pairs = [word.partition("=") for word in words[1:]]
    if any(not found for _, found, _ in pairs):
        print("error: parameters are NAME=VALUE", file=sys.stderr)  # noqa: T201
        return 2
    request = {"id": 1, "method": words[0], "params": {name: _value(text) for name, _, text in pairs}}
    try:
        answer = _ask(path, json.dumps(request).encode() + b"\n")
    except OSError as error:
        reason = error.strerror or error
        print(f"error: no server listens on {path}: {reason}\nhint: mmr serve --socket", file=sys.stderr)  # noqa: T201
        return 5
    if "result" in answer:
        try:
            print(json.dumps(answer["result"], indent=1), flush=True)  # noqa: T201
        except BrokenPipeError:  # who closed the pipe has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    refused = answer.get("error", {"message": "the server ended", "hint": ""})
    print(f"error: {refused['message']}\nhint: {refused['hint']}", file=sys.stderr)  # noqa: T201
    return 1


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def told_port(path: str) -> tuple[int, str]:
    """Port and secret that the file of a server tells.

    Raises:
        OSError: it cannot be read, or is no such file.
    """
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            told = json.loads(file.read(_MOST_TOLD))
        return int(told["port"]), str(told["secret"])
    except (ValueError, TypeError, KeyError):
        raise FileExistsError(errno.EEXIST, "that file is no server's", path) from None


def connect(path: str) -> socket.socket:
    """A connection to the server of this socket, or of the file that tells its port.

    Raises:
        OSError: there is no server.
    """
    if os.path.isfile(path):  # noqa: PTH113
        port, secret = told_port(path)
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(secret.encode() + b"\n")
        return connection
    if not hasattr(socket, "AF_UNIX"):
        raise FileNotFoundError(2, "there is none", path)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _ask(path: str, line: bytes) -> dict[str, dict[str, str]]:
    with connect(path) as connection:
        connection.sendall(line)
        with connection.makefile("rb") as answers:
            for answer in answers:
                try:
                    found: dict[str, dict[str, str]] = json.loads(answer)
                except ValueError:  # another program has the port of a server that was killed
                    raise ConnectionError("what listens there speaks otherwise") from None
                if "event" not in found:
                    return found
    return {}


if __name__ == "__main__":
    sys.exit(main())
