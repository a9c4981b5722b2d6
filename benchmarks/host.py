"""What the programs here share: where results are kept, and an engine with other rank parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmr_export.bench.host import make_result, write_result

if TYPE_CHECKING:
    from mmr_runtime import Engine

RESULTS = Path(__file__).resolve().parent / "results"


@contextmanager
def ranking(engine: Engine, **parameters: Any) -> Iterator[None]:
    """The engine with other rank parameters than its bundle's."""
    manifest = engine.bundle.manifest
    engine.bundle.manifest = replace(manifest, rank=replace(manifest.rank, **parameters))
    try:
        yield
    finally:
        engine.bundle.manifest = manifest


def store(name: str, figures: dict[str, Any]) -> Path:
    """Write results/NAME.json: schema, host and figures."""
    path = RESULTS / f"{name}.json"
    write_result(path, make_result(name, figures))
    return path
