"""Lines in and out: read under a cap, taken apart with types checked, answered exactly once."""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from mmr_runtime.errors import MmrError, UsageError
from mmr_runtime.limits import MAX_IMAGE_BYTES, MAX_LINE_BYTES

T = TypeVar("T")
Id = str | int | None

_CODES = {2: "usage", 3: "input", 4: "model", 5: "device", 6: "index", 130: "cancelled"}
"""Exit codes of the command line by what an error is called here; anything else is `internal`."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a client asks.

    Attributes:
        id: comes back with the answer; None: no answer is wanted.
        method: what to do.
        params: with what.
        out: where the answer goes.
    """

    id: Id
    method: str
    params: dict[str, Any]
    out: Writer

    def answer(self, result: dict[str, Any]) -> None:
        """Answer it."""
        if self.id is not None:
            self.out.send({"id": self.id, "result": result})

    def fail(self, error: BaseException) -> None:
        """Say that it failed."""
        self.out.error(self.id, error)

    def get(self, name: str, kind: type[T], default: T | None = None) -> T:
        """A parameter of this type.

        Raises:
            UsageError: it is missing and has no default, or is something else.
        """
        value = self.params.get(name)
        if value is None and default is not None:
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            wanted = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
            raise UsageError(f"{self.method}: {name} must be {wanted.get(kind, 'an object')}", "see docs/protocol")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts, by default empty."""
        values = self.get(name, list, [])
        if not all(isinstance(value, str) for value in values):
            raise UsageError(f"{self.method}: {name} must be a list of texts", "see docs/protocol")
        return values


def load(line: bytes) -> dict[str, Any]:
    """The object of one line.

    Raises:
        UsageError: it is none.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the line is not JSON: {error}", "send one JSON object a line") from None
    if not isinstance(found, dict):
        raise UsageError("the line is no object", 'send {"id": 1, "method": "ping", "params": {}}')
    return found


def parse(found: dict[str, Any], out: Writer) -> Request:
    """The request that an object is; its answer goes to `out`.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(found.get("method"), str):
        raise UsageError("the object names no method", 'send {"id": 1, "method": "ping", "params": {}}')
    params = found.get("params", {})
    if not isinstance(params, dict):
        raise UsageError(f"{found['method']}: params must be an object", "see docs/protocol")
    return Request(identity(found.get("id")), found["method"], params, out)


def identity(value: Any) -> Id:
    """An id as it may be: a text or a whole number, else None."""
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines until the end; None for one that is too long, which is read over."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            if line.strip():
                yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
        yield None


def decoded_image(text: str) -> bytes:
    """An image that came in base64.

    Raises:
        UsageError: it is not base64, or too large.
    """
    if len(text) * 3 // 4 > MAX_IMAGE_BYTES:
        raise UsageError(f"an image has more than {MAX_IMAGE_BYTES} bytes", "send its path")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"an image is not base64: {error}", "send its path, or base64 without line ends") from None


class Writer:
    """Puts objects on the stream, a line each; threads may share it. A client that is gone is no error."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, content: dict[str, Any]) -> None:
        """Send one object."""
        # ASCII: no client need think of encodings, and lone surrogates of file names come through.
        data = json.dumps(content, allow_nan=False).encode() + b"\n"
        with self._lock:
            try:
                self._stream.write(data)
                self._stream.flush()
            except (OSError, ValueError):
                return

    def error(self, request_id: Id, error: BaseException) -> None:
        """Say that a request failed; a line without an id gets its answer with the id null."""
        if isinstance(error, MmrError):
            told = {"code": _CODES.get(error.exit_code, "internal"), "message": error.message, "hint": error.hint}
        else:
            told = {"code": "internal", "message": f"{type(error).__name__}: {error}", "hint": "this is a bug"}
        self.send({"id": request_id, "error": told})
