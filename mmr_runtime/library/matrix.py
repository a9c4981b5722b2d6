"""All vectors of a library as one memory-mapped matrix: a cache of the store, told stale by its generation."""

from __future__ import annotations

import hashlib
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.files import write_whole
from mmr_runtime.library.store import Floats, Store

_MAGIC = b"mmrvec01"
_HEAD = struct.Struct("<8s16sQQQ16x")  # magic, uuid of the index, its generation, rows, columns; 64 bytes


def load(store: Store, model: str, size: int) -> tuple[NDArray[np.int64], Floats]:
    """Ids (n,) and vectors float32 (n, size) as they stand in the store, mapped from the cache where that is current.

    Call inside `store.snapshot()`.
    """
    uuid, generation = store.state()
    # The generation is in the name too: a file that another process has mapped is never written to.
    prefix = f"vectors-{hashlib.blake2b(model.encode(), digest_size=8).hexdigest()}-"
    path = store.folder / f"{prefix}{generation}.f32"
    found = _read(path, uuid, generation, size)
    if found is not None:
        return found
    ids, vectors = store.vectors(model, size)
    # A cache that cannot be written is done without.
    with suppress(OSError):
        _write(path, uuid, generation, ids, vectors)
        for old in store.folder.glob(f"{prefix}*.f32"):
            if old != path:
                with suppress(OSError):  # Windows keeps what somebody has mapped: the next generation removes it
                    old.unlink(missing_ok=True)
    return ids, vectors


def _read(path: Path, uuid: bytes, generation: int, size: int) -> tuple[NDArray[np.int64], Floats] | None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return None
            magic, of, at, rows, columns = _HEAD.unpack(head)
            if (magic, of, at, columns) != (_MAGIC, uuid, generation, size):
                return None
            if path.stat().st_size != _HEAD.size + 8 * rows + 4 * rows * size or not rows:
                return None
            raw = np.memmap(file, np.uint8, "r", offset=0).view(np.ndarray)
    except OSError:
        return None
    ids = raw[_HEAD.size : _HEAD.size + 8 * rows].view("<i8")
    return ids, raw[_HEAD.size + 8 * rows :].view("<f4").reshape(rows, size)


def _write(path: Path, uuid: bytes, generation: int, ids: NDArray[np.int64], vectors: Floats) -> None:
    head = _HEAD.pack(_MAGIC, uuid, generation, *vectors.shape)
    write_whole(path, [head, ids.astype("<i8").tobytes(), np.ascontiguousarray(vectors, "<f4").tobytes()])
