"""Songs are listened to by many processes, on this machine or on a cluster: Ray Data (extra `ray`).

The workers read the files themselves, by the same paths: on a cluster the songs lie on a disk that all machines share.
Each has the model open, with one thread. The index is written by this process alone, song by song, as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import AudioError, DeviceError, InputError
from mmr_runtime.library.indexing import Look, Looks, PassingError, content_hash
from mmr_runtime.library.scan import FoundFile
from mmr_runtime.library.store import Embedded

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine

_BATCH = 4
"""Songs of one task: a fifth of a second each."""


def by_ray(files: Sequence[FoundFile], engine: Engine, have: set[bytes]) -> Looks:
    """Look into songs with all processors that Ray knows, in the order in which they are finished.

    Args:
        files: songs.
        engine: its model is opened by every worker.
        have: contents whose vectors are known.

    Raises:
        DeviceError: ray is not installed, or cannot be started.
    """
    try:
        import ray
    except ImportError as error:
        raise DeviceError("indexing by Ray needs the package ray", "pip install 'mmr-runtime[ray]'") from error
    if not files:
        return
    started = not ray.is_initialized()
    try:
        if started:
            _start(ray)
        ray.data.DataContext.get_current().enable_progress_bars = False
        known = ray.put(frozenset(have))
        workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        rows = ray.data.from_items([{"number": i, "path": file.path} for i, file in enumerate(files)])
        looked = rows.repartition(-(-len(files) // _BATCH)).map_batches(
            _Listener,
            fn_constructor_args=(str(engine.bundle.folder), engine.precision, known),
            batch_size=_BATCH,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=1,
        )
        for row in looked.iter_rows():
            yield files[int(row["number"])], partial(_look, row, engine.embedding_size)
    finally:
        if started:
            ray.shutdown()


def _start(ray: Any) -> None:
    try:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    except Exception as error:  # of its own kinds, or plain ones
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeviceError(f"Ray cannot be started: {reason}", "try again, or index without --engine ray") from error


class _Listener:
    """A worker: paths become rows of plain values, as Ray sends them."""

    def __init__(self, model: str, precision: str, known: Any) -> None:
        import ray

        from mmr_runtime.engine import Engine

        self._engine = Engine.open(model, device="cpu", precision=precision, threads=1)
        self._known: frozenset[bytes] = ray.get(known)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, list[Any]]:
        """Look into a batch of songs."""
        found = [self._row(int(n), str(p)) for n, p in zip(batch["number"], batch["path"], strict=True)]
        return {name: [row[name] for row in found] for name in found[0]}

    def _row(self, number: int, path: str) -> dict[str, Any]:
        row: dict[str, Any] = {"number": number, "content": b"", "problem": "", "passing": ""}
        row |= {"vectors": b"", "starts": b"", "seconds": 0.0, "loudness": np.nan}
        try:
            content = row["content"] = content_hash(Path(path))
            if content not in self._known:
                song = self._engine.embed_audio(path, measure=True)
                row["vectors"] = np.concatenate([song.vector[None], song.windows]).astype("<f4").tobytes()
                row["starts"] = song.starts.astype("<f8").tobytes()
                row["seconds"] = song.seconds
                row["loudness"] = np.nan if song.loudness is None else song.loudness
        except InputError as error:
            row["problem"] = error.message
        except PassingError as error:
            row["passing"] = str(error)
        return row


def _look(row: dict[str, Any], size: int) -> Look:
    if row["passing"]:
        raise PassingError(row["passing"])
    if row["problem"]:
        raise AudioError(row["problem"], "leave it out")
    if not row["vectors"]:
        return Look(row["content"], None)
    vectors = np.frombuffer(row["vectors"], "<f4").reshape(-1, size)
    starts = np.frombuffer(row["starts"], "<f8")
    loudness = None if np.isnan(row["loudness"]) else float(row["loudness"])
    return Look(row["content"], Embedded(vectors[0], vectors[1:], starts, float(row["seconds"]), loudness))
