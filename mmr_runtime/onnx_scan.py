"""Whether an ONNX graph keeps tensors in other files, told without the onnx package.

A graph that names external data makes onnxruntime open whatever path stands in it. Such names are found by walking the
protobuf encoding: only the messages in which a tensor can lie are entered, everything else, the weights above all, is
skipped by its length.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

# message -> field number -> the message that the field holds (onnx.proto of ONNX 1.x; numbers never change)
_NESTED = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GRAPH_FIELD = 7


def has_external_data(path: Path) -> bool:
    """Whether any tensor of the graph lies in another file.

    Raises:
        ValueError: the file is not an ONNX model.
    """
    if not path.stat().st_size:
        raise ValueError("the file is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        has_graph = False
        todo = [("model", 0, len(data))]
        while todo:
            message, start, end = todo.pop()
            for number, kind, low, high in _fields(data, start, end):
                if message == "tensor" and (
                    (number == _EXTERNAL_DATA and kind == _BYTES) or (number == _DATA_LOCATION and low)
                ):
                    return True
                has_graph |= message == "model" and number == _GRAPH_FIELD
                inner = _NESTED[message].get(number)
                if inner and kind == _BYTES:
                    todo.append((inner, low, high))
    if not has_graph:
        raise ValueError("it holds no graph")
    return False


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Fields of a message: number, wire type, then (value, 0) of a varint or (start, end) of bytes."""
    while at < end:
        key, at = _varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at, end)
            yield number, kind, value, 0
        elif kind == _BYTES:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise ValueError("it is cut off")
            yield number, kind, at, at + size
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
            yield number, kind, 0, 0
        else:
            raise ValueError("it is not protobuf")
    if at != end:
        raise ValueError("it is cut off")


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it is not protobuf")
