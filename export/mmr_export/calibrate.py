"""Ranges of a network's activations, measured on inputs: the scales of its int8 form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from mmr_runtime.sessions import load_onnxruntime

from .quantize import Range

Ranges = dict[str, Range]
Floats = NDArray[np.float32]

_TAIL = 1e-4  # share of values beyond either end of the `percentile` ranges
_KEPT = 8192  # values of an activation that are kept of each input
_SHRINKS = np.linspace(0.3, 1.0, 29)


def activation_ranges(graph: ModelProto, names: Sequence[str], rows: Sequence[Floats]) -> dict[str, Ranges]:
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
    session, outputs = _session_with(graph, names)
    input_name = graph.graph.input[0].name
    for x in rows:
        for name, values in zip([input_name, *outputs], [x, *session.run(outputs, {input_name: x})], strict=True):
            if name in seen:
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
    session, outputs = _session_with(graph, [name for node in graph.graph.node for name in node.output])
    peaks: dict[str, Floats] = {}
    for x in rows:
        for name, values in zip(outputs, session.run(outputs, {graph.graph.input[0].name: x}), strict=True):
            if values.ndim == 4 and values.dtype == np.float32:
                peak = np.abs(values[0]).max(axis=(1, 2))
                peaks[name] = np.maximum(peaks.get(name, peak), peak)
    return peaks


def _session_with(graph: ModelProto, names: Sequence[str]) -> tuple[Any, list[str]]:
    """A session that also gives these activations, and the names of its outputs."""
    ort = load_onnxruntime()
    watched = ModelProto()
    watched.CopyFrom(graph)
    known = {value.name for value in (*graph.graph.input, *graph.graph.output)}
    outputs = [name for name in names if name not in known]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"]), outputs


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
