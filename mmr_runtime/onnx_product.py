"""An ONNX graph of one matrix product, written without the onnx package.

The dense front end is one product with a constant matrix. onnxruntime lays that matrix out once, knows instructions
that NumPy's BLAS does not use on some processors (AVX-512 on AMD's: half the time), and keeps to a session's threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INPUT, OUTPUT = "x", "y"
_IR_VERSION, _OPSET, _FLOAT = 8, 17, 1


def product_graph(matrix: NDArray[np.float32]) -> bytes:
    """A serialized ModelProto (onnx.proto of ONNX 1.x): x (n, k) becomes y = x @ matrix (n, columns), float32.

    Args:
        matrix: float32 (k, columns).
    """
    weight = b"".join(
        [
            *(_number(1, size) for size in matrix.shape),
            _number(2, _FLOAT),
            _bytes(8, b"w"),
            _bytes(9, np.ascontiguousarray(matrix, "<f4").tobytes()),
        ]
    )
    node = _bytes(1, INPUT.encode()) + _bytes(1, b"w") + _bytes(2, OUTPUT.encode()) + _bytes(4, b"MatMul")
    graph = b"".join(
        [
            _bytes(1, node),
            _bytes(2, b"product"),
            _bytes(5, weight),
            _bytes(11, _value(INPUT, matrix.shape[0])),
            _bytes(12, _value(OUTPUT, matrix.shape[1])),
        ]
    )
    return _number(1, _IR_VERSION) + _bytes(8, _bytes(1, b"") + _number(2, _OPSET)) + _bytes(7, graph)


def _value(name: str, columns: int) -> bytes:
    """ValueInfoProto of a float32 matrix with any number of rows."""
    shape = _bytes(1, _bytes(2, b"n")) + _bytes(1, _number(1, columns))
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
