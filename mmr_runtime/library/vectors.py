"""Vectors of a library kept elsewhere than in memory: in Milvus (extra `milvus`), for libraries past one machine.

What is searched is the inner product of `rank.Ranker.inner_products`: scores, hub correction and all, are the same as
those of the local search up to rounding. The index (SQLite) stays the truth; a collection holds what it knew at one
generation, and is made anew when it disagrees.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import DeviceError, LibraryError, UsageError

Floats = NDArray[np.float32]
SCHEME = "milvus://"
_BATCH = 5_000
MOST = 16_384
"""Hits of one search, by Milvus's own limit."""


class VectorStore(Protocol):
    """Collections of rows that are searched by inner product."""

    def has(self, name: str) -> bool:
        """Whether a collection is there, complete."""

    def put(self, name: str, ids: NDArray[np.int64], rows: Floats) -> None:
        """Make a collection; others of the same beginning (up to the last underscore) go."""

    def search(self, name: str, vector: Floats, count: int) -> list[tuple[int, float]]:
        """Ids and scores of the best, best first."""

    def close(self) -> None:
        """Close the connection."""


class Milvus:
    """A Milvus server (`milvus://host:19530`, `milvus://user:password@host:19530/database`) or, embedded, a file
    (`milvus:///home/me/vectors.db`, Milvus Lite).

    Raises:
        UsageError: the address cannot be read.
        DeviceError: pymilvus is not installed.
        LibraryError: the server cannot be reached.
    """  # noqa: D205 (two kinds of address)

    def __init__(self, address: str) -> None:
        place = address.removeprefix(SCHEME)
        if place == address or not place:
            raise UsageError(f"{address} is no store that mmr knows", "write milvus://host:19530 or milvus:///file.db")
        try:
            from pymilvus import MilvusClient
        except ImportError as error:
            raise DeviceError("a store in Milvus needs pymilvus", "pip install 'mmr-runtime[milvus]'") from error
        self._address = address
        if place.startswith("/"):
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._client: Any = MilvusClient(place if place.startswith("/") else f"http://{place}")

    def has(self, name: str) -> bool:
        """Whether a collection is there; one that was not finished has another name."""
        with self._explained():
            return bool(self._client.has_collection(name))

    def put(self, name: str, ids: NDArray[np.int64], rows: Floats) -> None:
        """Make a collection, under another name until it is complete."""
        from pymilvus import DataType

        family, part = name.rpartition("_")[0], f"{name}_part"
        with self._explained():
            client = self._client
            if client.has_collection(part):
                client.drop_collection(part)
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=rows.shape[1])
            index = client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="IP")
            client.create_collection(part, schema=schema, index_params=index)
            for start in range(0, len(rows), _BATCH):
                batch = slice(start, start + _BATCH)
                pairs = zip(ids[batch].tolist(), rows[batch].tolist(), strict=True)
                client.insert(part, [{"id": key, "vector": row} for key, row in pairs])
            client.flush(part)
            client.rename_collection(part, name)
            for other in client.list_collections():
                if other.startswith(f"{family}_") and other != name:
                    client.drop_collection(other)

    def search(self, name: str, vector: Floats, count: int) -> list[tuple[int, float]]:
        """Ids and scores of the best, best first."""
        with self._explained():
            self._client.load_collection(name)  # of no effect where it is loaded
            found = self._client.search(name, data=[vector.tolist()], limit=min(count, MOST))[0]
        return [(int(hit["id"]), float(hit["distance"])) for hit in found]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever gRPC and pymilvus raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise LibraryError(f"the store {self._address} cannot be used: {reason}", "check that it runs") from error
