"""Where results are stored that the project keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmr_export.bench.host import make_result, write_result

RESULTS = Path(__file__).resolve().parent / "results"


def store(name: str, figures: dict[str, Any]) -> Path:
    """Write results/NAME.json: schema, host and figures."""
    path = RESULTS / f"{name}.json"
    write_result(path, make_result(name, figures))
    return path
