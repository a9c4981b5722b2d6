"""Ranges of a network's activations, measured on inputs: the scales of its int8 form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from mmr_runtime.sessions import load_onnxruntime

Range = tuple[float, float]
"""Lowest and highest value of an activation."""
Floats = NDArray[np.float32]

_TAIL = 1e-4  # share of values beyond either end of the `percentile` ranges
_KEPT = 8192  # values of an activation that are kept of each input
_SHRINKS = np.linspace(0.3, 1.0, 29)


def activation_ranges(graph: ModelProto, names: Sequence[str], rows: Sequence[Floats]) -> dict[str, dict[str, Range]]:
    """Candidates for the range of each activation.

    Args:
        graph: float32, one input.
        names: activations.
        rows: inputs, each of batch 1.

    Returns:
        by method: `minmax`: all that was seen; `percentile`: without the outermost values of each input;
        `error`: the range whose 255 steps give the least squared error, clipping included.
    """
    seen: dict[str, list[Floats]] = {name: [] for name in names}
    ends: dict[str, list[Range]] = {name: [] for name in names}
    run = watched(graph, names)
    for x in rows:
        for name, values in run(x).items():
            ends[name].append((float(values.min()), float(values.max())))
            seen[name].append(values.ravel()[:: max(1, values.size // _KEPT)].copy())
    minmax = {name: _hull(pairs) for name, pairs in ends.items()}
    return {
        "minmax": minmax,
        "percentile": {n: _hull([_without_tails(v) for v in values]) for n, values in seen.items()},
        "error": {n: _least_error(np.concatenate(values), minmax[n]) for n, values in seen.items()},
    }


def channel_peaks(graph: ModelProto, rows: Sequence[Floats]) -> dict[str, Floats]:
    """Largest magnitude of each channel of each map (batch 1, channels, height, width) in the graph.

    Args:
        graph: float32, one input.
        rows: inputs, each of batch 1.
    """
    return _peaks(graph, rows, lambda values: np.abs(values[0]).max(axis=(1, 2)) if values.ndim == 4 else None)


def activation_peaks(graph: ModelProto, rows: Sequence[NDArray[Any]]) -> dict[str, float]:
    """Largest magnitude of every float32 activation, the graph's input and output among them.

    Infinities are left out: a mask is made of them.

    Args:
        graph: float32, one input.
        rows: inputs, each of batch 1.
    """
    finite = _peaks(graph, rows, lambda values: np.abs(values[np.isfinite(values)]).max(initial=0))
    return {name: float(peak) for name, peak in finite.items()}


def _peaks(graph: ModelProto, rows: Sequence[NDArray[Any]], measure: Callable[[Floats], Any]) -> dict[str, Any]:
    """The largest of what `measure` finds in each float32 activation, where it finds something."""
    run = watched(graph, [graph.graph.input[0].name, *(name for node in graph.graph.node for name in node.output)])
    peaks: dict[str, Any] = {}
    for x in rows:
        for name, values in run(x).items():
            peak = measure(values) if values.dtype == np.float32 else None
            if peak is not None:
                peaks[name] = np.maximum(peaks.get(name, peak), peak)
    return peaks


def watched(graph: ModelProto, names: Sequence[str]) -> Callable[[NDArray[Any]], dict[str, Floats]]:
    """A function that runs the graph on one input and gives the values of these activations.

    Args:
        graph: one input.
        names: activations; the graph's input may be one.
    """
    ort = load_onnxruntime()
    copy = ModelProto()
    copy.CopyFrom(graph)
    source, known = copy.graph.input[0].name, {value.name for value in copy.graph.output}
    copy.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names if n not in known | {source})
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [name for name in names if name != source]

    def run(x: NDArray[Any]) -> dict[str, Floats]:
        values = dict(zip(outputs, session.run(outputs, {source: x}), strict=True)) if outputs else {}
        return {name: x if name == source else values[name] for name in names}

    return run


def _hull(ranges: Sequence[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _without_tails(values: Floats) -> Range:
    low, high = np.quantile(values, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def _least_error(values: Floats, full: Range) -> Range:
    """The full range shrunk by the factor that rounds and clips these values with the least squared error."""
    low, high = min(full[0], 0.0), max(full[1], 0.0)
    errors = []
    for shrink in _SHRINKS:
        step = (high - low) * shrink / 255 or 1.0
        zero = np.rint(-low * shrink / step)
        integers = np.clip(np.rint(values / step) + zero, 0, 255)
        errors.append(float(np.square((integers - zero) * step - values).mean()))
    best = float(_SHRINKS[int(np.argmin(errors))])
    return low * best, high * best
