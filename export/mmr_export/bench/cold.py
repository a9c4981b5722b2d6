"""Whole processes, from their start to their end: the first ranked page in every state of the cache, and what is below.

All files are in the kernel's page cache: a machine that has just been switched on reads them first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from mmr_runtime.bundle import Manifest

from .inputs import Inputs
from .processes import environment, measure
from .timing import ANY, PYTORCH, Action, Sample, Variant

_INFER = "from mmr_runtime.cli import infer_main; infer_main()"
_INDEX = "from mmr_runtime.cli.index import index; index.main(prog_name='mmr index')"
_PYTORCH = "import sys; from mmr_export.bench.torch_side import rank_page; rank_page(*sys.argv[1:])"


def labels(sizes: Mapping[str, float]) -> dict[str, str]:
    """What each program is called in tables, in their order; `sizes` as a result tells them."""
    page = "start to the first ranked page"
    large = f"{page}, library of {sizes['large_library_songs']:,} songs"
    return {
        "python": "python alone",
        "imports": "python, numpy and onnxruntime",
        "first run": f"{page}, first run",
        "later run": f"{page}, later run",
        "prepared graphs deleted": f"{page}, prepared graphs deleted",
        "no writable cache": f"{page}, no writable cache folder",
        "large library": large,
        "large library, no update": f"{large}, without a look at its folder",
        "index": "start to one indexed song",
    }


def programs(
    model: str, manifest: Manifest, precisions: list[str], inputs: Inputs, *, threads: int, pytorch: bool
) -> dict[str, dict[Variant, Action]]:
    """The programs, each with an action that first brings about the state it needs, and then measures one process.

    What a tower lacks a precision for is left out. Every action leaves the cache filled, as the next run finds it; so
    one round that does not count makes them independent of their order.
    """
    cold = _Cold(model, inputs, threads)
    small, large = inputs.sizes.library_songs, inputs.sizes.large_library_songs
    blocks: dict[str, dict[Variant, Action]] = {name: {} for name in labels(vars(inputs.sizes))}
    floor = Variant(ANY, threads)
    blocks["python"][floor] = cold.floor("")
    blocks["imports"][floor] = cold.floor("import numpy, onnxruntime")
    for precision in precisions:
        variant, cache = Variant(precision, threads), inputs.folder / "cache" / "cold" / precision
        nowhere = Path(os.devnull) / "cache"
        if precision in manifest.graphs.get("image", {}):
            blocks["first run"][variant] = cold.rank(precision, cache, small, before=_without(cache))
            blocks["later run"][variant] = cold.rank(precision, cache, small)
            no_graphs = _without(cache / "mmr" / "prepared")
            blocks["prepared graphs deleted"][variant] = cold.rank(precision, cache, small, before=no_graphs)
            blocks["no writable cache"][variant] = cold.rank(precision, nowhere, small)
            blocks["large library"][variant] = cold.rank(precision, cache, large)
            blocks["large library, no update"][variant] = cold.rank(precision, cache, large, "--no-update")
        if precision in manifest.graphs.get("audio", {}):
            # A cache of its own: "first run" empties the other.
            blocks["index"][variant] = cold.index(precision, inputs.folder / "cache" / "index" / precision)
    if pytorch and "image" in manifest.graphs:
        blocks["later run"][Variant(PYTORCH, threads)] = cold.pytorch()
    return blocks


class _Cold:
    """Makes the actions; see `programs`."""

    def __init__(self, model: str, inputs: Inputs, threads: int) -> None:
        self._model = model
        self._inputs = inputs
        self._threads = threads

    def floor(self, code: str) -> Action:
        return self._action(["-c", code], self._inputs.folder)

    def rank(
        self, precision: str, cache: Path, songs: int, *more: str, before: Callable[[], object] | None = None
    ) -> Action:
        where = ["--library", str(self._inputs.library(songs)), "--index", str(self._inputs.index(songs))]
        words = [str(self._inputs.page), *where, "--json", *more]
        return self._action(["-c", _INFER, *words, *self._engine(precision)], cache, before)

    def index(self, precision: str, cache: Path) -> Action:
        index = self._inputs.folder / "index-song"
        words = [str(self._inputs.song.parent), "--index", str(index), *self._engine(precision)]
        return self._action(["-c", _INDEX, *words], cache, _without(index))

    def pytorch(self) -> Action:
        return self._action(["-c", _PYTORCH, str(self._inputs.folder), str(self._threads)], self._inputs.folder)

    def _engine(self, precision: str) -> list[str]:
        return ["--model", self._model, "--device", "cpu", "--threads", str(self._threads), "--precision", precision]

    def _action(self, arguments: list[str], cache: Path, before: Callable[[], object] | None = None) -> Action:
        environ = environment(self._threads, cache)

        def run() -> Sample:
            if before:
                before()
            return measure(arguments, environ)

        return run


def _without(folder: Path) -> Callable[[], object]:
    return lambda: shutil.rmtree(folder, ignore_errors=True)
