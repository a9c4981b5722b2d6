"""What every stored result says of the machine it was measured on, and how a result is written."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from mmr_runtime.files import write_file
from mmr_runtime.sessions import allowed_cores

SCHEMA = 1
_MATTERING = {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
"""Instructions that the kernels of onnxruntime and OpenBLAS are chosen by."""


def fingerprint() -> dict[str, Any]:
    """Processor, cores, memory, system, Python and the versions that speed depends on (docs/benchmarks.md)."""
    processor, flags = _processor()
    versions = {}
    for name in ("numpy", "onnxruntime", "onnxruntime-gpu", "torch", "pillow", "soundfile"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "allowed_cores": allowed_cores(),
        "instructions": sorted(flags & _MATTERING),
        "memory_mib": _memory_mib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def make_result(benchmark: str, figures: dict[str, Any]) -> dict[str, Any]:
    """The content of a result: figures of a benchmark, with schema and host."""
    return {"schema": SCHEMA, "benchmark": benchmark, "host": fingerprint(), "figures": figures}


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, (json.dumps(result, indent=1, sort_keys=True) + "\n").encode())


def _processor() -> tuple[str, set[str]]:
    """Name and flags of the first core."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            elif name.strip() in ("flags", "Features"):
                flags = set(value.split())
            elif not name.strip():
                break
    return model, flags


def _memory_mib() -> int | None:
    """Physical memory, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (AttributeError, ValueError, OSError):  # Windows
        return None
