"""The quality gate of int8 graphs (DESIGN section 8), and the search for an int8 form that passes it.

Three disjoint sets of inputs: ranges come from the calibration set; how ranges are chosen and what stays float32 is
decided on the selection set; the figures that are reported and judged come from the gate set, which nothing was fitted
on. Towers are judged by what retrieval sees: directions, and who is whose neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from mmr_runtime.bundle import Tower
from mmr_runtime.errors import ExportError
from mmr_runtime.sessions import default_threads, load_onnxruntime

from . import quantize
from .calibrate import activation_ranges, channel_peaks
from .equalize import equalized
from .samples import Rows, Sources, Use

Floats = NDArray[np.float32]

MIN_COSINE = 0.99
MIN_OVERLAP = 0.90
TOP = 10
COUNTS: dict[Use, int] = {"calibration": 32, "selection": 64, "gate": 64}
"""Inputs of each set."""
_MARGIN_COSINE, _MARGIN_OVERLAP = 0.991, 0.92
"""What the selection set must reach, so that the gate set does, too."""
_SENSITIVITY_ROWS = 8
_MAX_FLOAT_SHARE = 0.5
"""Beyond half of its nodes in float32, an int8 graph is none."""


@dataclass(frozen=True)
class Agreement:
    """How far two sets of vectors of the same inputs agree.

    Attributes:
        mean_cosine: of each vector with its counterpart.
        p1_cosine: 1st percentile of these.
        min_cosine: the least of these.
        top10_overlap: share of an input's ten nearest others that it keeps, mean over the inputs.
        noise: energy of the differences relative to the spread of the inputs; 0 is perfect.
    """

    mean_cosine: float
    p1_cosine: float
    min_cosine: float
    top10_overlap: float
    noise: float

    def passes(self, cosine: float = MIN_COSINE, overlap: float = MIN_OVERLAP) -> bool:
        """Whether both figures reach their bounds."""
        return self.mean_cosine >= cosine and self.top10_overlap >= overlap


def agreement(vectors: Floats, reference: Floats) -> Agreement:
    """Compare vectors (n, d) with those of the reference, row by row and by neighbourhood."""
    a, b = _unit(vectors), _unit(reference)
    cosines = (a * b).sum(axis=1)
    spread = np.square(b - b.mean(axis=0)).sum()
    return Agreement(
        mean_cosine=float(cosines.mean()),
        p1_cosine=float(np.quantile(cosines, 0.01)),
        min_cosine=float(cosines.min()),
        top10_overlap=_overlap(a, b),
        noise=float(np.square(a - b).sum() / max(spread, 1e-12)),
    )


def quantized_tower(
    graph: ModelProto,
    tower: Tower,
    sources: Sources,
    target: Path,
    calibration: Path | None = None,
    allow_degraded: bool = False,
) -> dict[str, Any]:
    """Write the int8 graph of a tower, if it passes the gate.

    Nodes whose rounding costs most are put back to float32 until the selection set agrees well enough.

    Args:
        graph: float32.
        tower: which one.
        sources: makes its inputs.
        target: file to write.
        calibration: folder of pages and songs, used before generated ones.
        allow_degraded: write it even if it does not pass.

    Returns:
        the report for the manifest.

    Raises:
        ExportError: the gate is not passed.
    """
    rows = {use: sources.rows(tower, use, count, calibration) for use, count in COUNTS.items()}
    graph = quantize.prepared(graph)
    forms = _forms(graph, tower, rows["calibration"])
    method, float_nodes = _search(graph, forms, rows["selection"])
    result = forms[method](float_nodes)
    found = agreement(_vectors(result, rows["gate"]), _vectors(graph, rows["gate"]))
    passed = found.passes()
    if not passed and not allow_degraded:
        raise ExportError(
            f"the {tower} tower in int8 does not pass the gate: mean cosine {found.mean_cosine:.4f} "
            f"(at least {MIN_COSINE}), top-{TOP} overlap {found.top10_overlap:.3f} (at least {MIN_OVERLAP})",
            "export fp32, give --calibration DIR with pages and songs like yours, or accept it with --allow-degraded",
        )
    target.write_bytes(result.SerializeToString(deterministic=True))
    figures = {name: round(value, 5) for name, value in vars(found).items()}
    inputs = {use: len(items) for use, items in rows.items()}
    return {**figures, "passed": passed, "method": method, "float_nodes": sorted(float_nodes), "inputs": inputs}


_Form = Callable[[Collection[str]], ModelProto]
"""Makes an int8 graph from the names of the nodes that stay float32."""


def _forms(graph: ModelProto, tower: Tower, rows: Rows) -> dict[str, _Form]:
    """The ways to quantize a tower, by name."""
    if tower == "text":
        return {"dynamic": partial(quantize.dynamic_int8, graph)}
    forms: dict[str, _Form] = {}
    for name, variant in (("", graph), ("equalized ", equalized(graph, channel_peaks(graph, rows)))):
        ranges = activation_ranges(variant, quantize.static_activations(variant), rows)
        forms |= {name + method: partial(quantize.static_int8, variant, chosen) for method, chosen in ranges.items()}
    return forms


def _search(graph: ModelProto, forms: dict[str, _Form], rows: Rows) -> tuple[str, list[str]]:
    """The method of choosing ranges that agrees best, and the nodes that must stay float32 with it."""
    reference = _vectors(graph, rows)

    def measure(form: _Form, floats: Sequence[str], count: int | None = None) -> Agreement:
        return agreement(_vectors(form(floats), rows[:count]), reference[:count])

    found = {name: measure(form, []) for name, form in forms.items()}
    method = min(found, key=lambda name: found[name].noise)
    if found[method].passes(_MARGIN_COSINE, _MARGIN_OVERLAP):
        return method, []
    nodes = quantize.weighted_nodes(graph)
    noises = {node: measure(forms[method], [node], _SENSITIVITY_ROWS).noise for node in nodes}
    worst_first = sorted(nodes, key=lambda node: noises[node])
    most = int(_MAX_FLOAT_SHARE * len(nodes))
    count, best, floats = 1, found[method], list[str]()
    while count <= most and not best.passes(_MARGIN_COSINE, _MARGIN_OVERLAP):
        # Worst first mends a single bad node. From the front, float nodes join to a stretch without rounding between
        # them, and early errors grow the most.
        for chosen in (worst_first[:count], nodes[:count]):
            tried = measure(forms[method], chosen)
            if tried.noise < best.noise:
                best, floats = tried, chosen
        count += max(1, count // 2)
    return method, floats


def _vectors(graph: ModelProto, rows: Rows) -> Floats:
    """Outputs (n, d) of a graph for rows of batch 1."""
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = default_threads()
    options.add_free_dimension_override_by_name("batch", 1)
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = graph.graph.input[0].name
    return np.concatenate([session.run(None, {name: x})[0] for x in rows])


def _unit(vectors: Floats) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30)
    return unit


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Share of the ten nearest others in `b` that are among the ten nearest in `a`, mean over the rows."""
    k = min(TOP, len(a) - 1)
    if k < 1:
        return 1.0
    shared = [len(set(x) & set(y)) for x, y in zip(_nearest(a, k), _nearest(b, k), strict=True)]
    return float(np.mean(shared)) / k


def _nearest(unit: NDArray[np.float64], k: int) -> list[list[int]]:
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    rows: list[list[int]] = np.argsort(-cosines, axis=1, kind="stable")[:, :k].tolist()
    return rows
