"""How long the graphs of a bundle take on this machine, for its quality report."""

from __future__ import annotations

import time

import numpy as np

from mmr_export.samples import Sources
from mmr_runtime.bundle import PRECISIONS, TOWERS, Bundle, Tower
from mmr_runtime.sessions import Session

Milliseconds = dict[Tower, dict[str, float]]
"""tower -> precision -> median of one input"""

_WARM_UP, _ROUNDS = 2, 9


def measure_latencies(bundle: Bundle) -> Milliseconds:
    """Median milliseconds of every graph for one generated input, one thread.

    The precisions of a tower take turns, so that a busy machine slows all of them alike.

    Raises:
        BundleError: a graph cannot be loaded.
    """
    sources = Sources.of(bundle)
    found: Milliseconds = {}
    for tower in TOWERS:
        graphs = bundle.manifest.graphs.get(tower, {})
        if not graphs:
            continue
        row = sources.rows(tower, "selection", 2)[-1]  # the first sound is next to silent
        sessions = {p: Session(bundle.graph(tower, p)) for p in PRECISIONS if p in graphs}
        times: dict[str, list[float]] = {p: [] for p in sessions}
        for _ in range(_WARM_UP + _ROUNDS):
            for precision, session in sessions.items():
                start = time.perf_counter()
                session.run(row)
                times[precision].append((time.perf_counter() - start) * 1e3)
        found[tower] = {p: float(np.median(values[_WARM_UP:])) for p, values in times.items()}
    return found
