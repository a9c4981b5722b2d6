"""The quality gate of quantized graphs (DESIGN section 8), and the search for a form that passes it.

Three disjoint kinds of inputs: ranges and rounding come from the calibration inputs; how ranges are chosen and what
stays float32 is decided on the selection inputs; the figures that are reported and judged come from the gate's inputs,
which nothing was fitted on. Towers are judged by what retrieval sees: directions, and who is whose neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from mmr_runtime.bundle import Tower
from mmr_runtime.errors import ExportError
from mmr_runtime.sessions import default_threads, load_onnxruntime

from . import quantize
from .calibrate import activation_ranges, channel_peaks
from .equalize import equalized
from .half import half_graph
from .rounding import Rounder, input_moments
from .samples import Rows, Use

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine

Floats = NDArray[np.float32]
Evidence = dict[str, NDArray[Any]]
"""What the gate saw, by `set.tower.precision`: unit vectors (n, d); and `set.tower.names` (n,): of which inputs."""

EVIDENCE = "quality.npz"
"""Where it lies in a bundle."""

MIN_COSINE = 0.99
MIN_OVERLAP = 0.90
TOP = 10
COUNTS: dict[Use, int] = {"calibration": 32, "selection": 64, "gate": 64}
"""Generated inputs of each kind."""
_MARGIN_COSINE, _MARGIN_OVERLAP = 0.991, 0.92
"""What the selection set must reach, so that the gate's sets do, too."""
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
    others = min(TOP, len(a) - 1)
    return Agreement(
        mean_cosine=float(cosines.mean()),
        p1_cosine=float(np.quantile(cosines, 0.01)),
        min_cosine=float(cosines.min()),
        top10_overlap=top_overlap(neighbour_scores(a), neighbour_scores(b), others) if others else 1.0,
        noise=float(np.square(a - b).sum() / max(spread, 1e-12)),
    )


@dataclass(frozen=True, eq=False)
class Fitting:
    """Inputs that a tower's quantized forms are fitted on: rows of batch 1."""

    calibration: Rows
    selection: Rows


@dataclass(frozen=True, eq=False)
class GateSet:
    """Inputs that a tower is judged by, and what its float32 graph makes of them.

    Attributes:
        names: of the inputs.
        rows: of batch 1.
        reference: float32 (n, d).
    """

    names: Sequence[str]
    rows: Rows
    reference: Floats

    @classmethod
    def of(cls, graph: ModelProto, names: Sequence[str], rows: Rows) -> GateSet:
        """Run the float32 graph on the inputs."""
        return cls(names, rows, vectors_of(graph, rows))


@dataclass(frozen=True, eq=False)
class Quantized:
    """A graph in another precision, judged.

    Attributes:
        graph: the result.
        report: for the manifest.
        vectors: of every gate set, float32 (n, d).
    """

    graph: ModelProto
    report: dict[str, Any]
    vectors: dict[str, Floats]


def quantized_int8(graph: ModelProto, tower: Tower, fitting: Fitting, gate: Mapping[str, GateSet]) -> Quantized:
    """The int8 form of a tower.

    Nodes whose rounding costs most are put back to float32 until the selection inputs agree well enough.

    Args:
        graph: float32.
        tower: which one.
        fitting: inputs to fit it on.
        gate: sets of inputs to judge it by.
    """
    graph = quantize.prepared(graph)
    method, form, float_nodes = _search(graph, tower, fitting)
    details = {"method": method, "float_nodes": sorted(float_nodes), "inputs": _counts(fitting)}
    return _judged(form(float_nodes), details, gate)


def quantized_fp16(graph: ModelProto, fitting: Fitting, gate: Mapping[str, GateSet]) -> Quantized:
    """The float16 form of a tower; arguments as of `quantized_int8`."""
    half = half_graph(graph, fitting.calibration)
    details = {
        "method": "half",
        "float_nodes": list(half.float_nodes),
        "peak": half.peak,
        "lost_weights": half.lost_weights,
        "inputs": {"calibration": len(fitting.calibration)},
    }
    return _judged(half.graph, details, gate)


def require_passed(tower: Tower, precision: str, report: Mapping[str, Any]) -> None:
    """Refuse a graph that did not pass the gate.

    Raises:
        ExportError: with the figures of the worst set.
    """
    if report["passed"]:
        return
    name, worst = min(report["sets"].items(), key=lambda item: (_passes(item[1]), item[1]["mean_cosine"]))
    raise ExportError(
        f"the {tower} tower in {precision} does not pass the gate on the {name} inputs: mean cosine "
        f"{worst['mean_cosine']:.4f} (at least {MIN_COSINE}), top-{TOP} overlap {worst['top10_overlap']:.3f} "
        f"(at least {MIN_OVERLAP})",
        "export fp32, give --calibration DIR with inputs like yours, or accept it with --allow-degraded",
    )


def _judged(graph: ModelProto, details: dict[str, Any], gate: Mapping[str, GateSet]) -> Quantized:
    vectors = {name: vectors_of(graph, inputs.rows) for name, inputs in gate.items()}
    sets = {}
    for name, inputs in gate.items():
        found = agreement(vectors[name], inputs.reference)
        sets[name] = {"count": len(inputs.rows)} | {key: round(value, 5) for key, value in vars(found).items()}
    return Quantized(graph, {"passed": all(map(_passes, sets.values())), **details, "sets": sets}, vectors)


def _passes(figures: Mapping[str, Any]) -> bool:
    return bool(figures["mean_cosine"] >= MIN_COSINE and figures["top10_overlap"] >= MIN_OVERLAP)


def _counts(fitting: Fitting) -> dict[str, int]:
    return {"calibration": len(fitting.calibration), "selection": len(fitting.selection)}


# -- the search -------------------------------------------------------------------------------------------------------

_Form = Callable[[Collection[str]], ModelProto]
"""Makes an int8 graph from the names of the nodes that stay float32."""


def _forms(graph: ModelProto, tower: Tower, rows: Rows) -> dict[str, _Form]:
    """The ways to quantize a tower, by name: they differ in how the ranges of activations are chosen."""
    if tower not in ("image", "audio"):
        rounder = Rounder(input_moments(graph, quantize.weighted_nodes(graph), rows))
        return {"dynamic": partial(quantize.dynamic_int8, graph, rounder=rounder)}
    graph = equalized(graph, channel_peaks(graph, rows))
    rounder = Rounder(input_moments(graph, quantize.weighted_nodes(graph), rows))
    ranges = activation_ranges(graph, quantize.static_activations(graph), rows)
    return {method: partial(quantize.static_int8, graph, chosen, rounder=rounder) for method, chosen in ranges.items()}


def _search(graph: ModelProto, tower: Tower, fitting: Fitting) -> tuple[str, _Form, list[str]]:
    """The form that agrees best, its name, and the nodes that must stay float32 with it."""
    rows, reference = fitting.selection, vectors_of(graph, fitting.selection)

    def measure(form: _Form, floats: Sequence[str], count: int | None = None) -> Agreement:
        return agreement(vectors_of(form(floats), rows[:count]), reference[:count])

    forms = _forms(graph, tower, fitting.calibration)
    found = {name: measure(form, []) for name, form in forms.items()}
    method = min(found, key=lambda name: found[name].noise)
    form, best = forms[method], found[method]
    if best.passes(_MARGIN_COSINE, _MARGIN_OVERLAP):
        return method, form, []
    nodes = quantize.weighted_nodes(graph)
    noises = {node: measure(form, [node], _SENSITIVITY_ROWS).noise for node in nodes}
    worst_first = sorted(nodes, key=lambda node: noises[node])
    most = int(_MAX_FLOAT_SHARE * len(nodes))
    count, floats = 1, list[str]()
    while count <= most and not best.passes(_MARGIN_COSINE, _MARGIN_OVERLAP):
        # Worst first mends a single bad node. From the front, float nodes join to a stretch without rounding between
        # them, and early errors grow the most.
        for chosen in (worst_first[:count], nodes[:count]):
            tried = measure(form, chosen)
            if tried.noise < best.noise:
                best, floats = tried, chosen
        count += max(1, count // 2)
    return method, form, floats


# -- what becomes of retrieval ----------------------------------------------------------------------------------------


def add_moods(quality: dict[str, Any], evidence: Evidence, engine: Engine) -> None:
    """Tell of every quantized tower how the moods changed that its vectors show.

    Adds to each set `first_mood_kept`, the share of inputs whose strongest mood is the same, and `mood_change`, the
    mean absolute change of a mood's share.
    """
    for precision in ("int8", "fp16"):
        for tower, report in quality.get(precision, {}).items():
            for name, figures in report["sets"].items():
                a, b = (engine.moods(evidence[f"{name}.{tower}.{p}"], tower) for p in (precision, "fp32"))
                figures["first_mood_kept"] = round(float((a.argmax(axis=1) == b.argmax(axis=1)).mean()), 5)
                figures["mood_change"] = round(float(np.abs(a - b).mean()), 5)


def end_to_end(evidence: Evidence, precision: str) -> dict[str, dict[str, Any]]:
    """What becomes of the songs that each page ranks, by cosine, when both towers change their precision.

    Returns:
        by set: `pages` and `songs`: how many; `top10_overlap`: share of a page's ten best songs that stay among them;
        `first_song_kept`: share of pages whose best song stays; `score_change`: mean absolute change of a cosine, in
        standard deviations of the float32 cosines.
    """
    found = {}
    for name in sorted({key.split(".")[0] for key in evidence}):
        suffix = "_features" if f"{name}.audio_features.fp32" in evidence else ""
        towers = [
            [evidence.get(f"{name}.{tower}{suffix}.{p}") for tower in ("image", "audio")] for p in (precision, "fp32")
        ]
        (pages, songs), (pages32, songs32) = towers
        if pages is None or songs is None or pages32 is None or songs32 is None:
            continue
        scores, reference = pages @ songs.T, pages32 @ songs32.T
        found[name] = {
            "pages": len(pages),
            "songs": len(songs),
            "top10_overlap": round(top_overlap(scores, reference, TOP), 5),
            "first_song_kept": round(top_overlap(scores, reference, 1), 5),
            "score_change": round(float(np.abs(scores - reference).mean() / max(reference.std(), 1e-12)), 5),
        }
    return found


# -- vectors ----------------------------------------------------------------------------------------------------------


def vectors_of(graph: ModelProto, rows: Rows) -> Floats:
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


def neighbour_scores(unit: NDArray[Any]) -> NDArray[Any]:
    """Cosines of unit rows (n, d) with each other, (n, n); nobody is a neighbour of itself: -inf."""
    cosines: NDArray[Any] = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines


def top_overlap(scores: NDArray[Any], reference: NDArray[Any], k: int) -> float:
    """Share of a row's k best columns by `reference` that are among its k best by `scores`, mean over the rows."""
    best, wanted = (np.argsort(-x, axis=1, kind="stable")[:, :k] for x in (scores, reference))
    return float((wanted[:, :, None] == best[:, None, :]).any(axis=2).mean())
