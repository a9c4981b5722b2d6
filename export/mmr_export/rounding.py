"""Rounds the weights of a layer so that what the layer computes changes least, rather than each weight.

The error that one rounded weight makes on the layer's real inputs is taken over by the weights that are still to be
rounded, as far as the inputs are correlated (GPTQ: Frantar et al. 2023, arXiv 2210.17323; here as Babai's nearest
plane: one Cholesky factor, no inverse). The change of a channel's mean output, the larger part of the damage, goes into
its bias (Nagel et al. 2019, arXiv 1906.04721), so that only what varies is left to the weights.

Integers stay within +-64, seven bits: processors without VNNI (Intel's laptops before 2019, AMD's before 2023) add
pairs of uint8 x int8 products in 16 bits, where 255 * 127 * 2 saturates and 255 * 64 * 2 does not.
docs/decisions/004-int8.md has the figures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from .calibrate import watched

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

WEIGHT_LIMIT = 64
"""Largest size of an integer weight that no processor's kernels make saturate."""
_POSITIONS = 256  # places of a map that are looked at, of each input
_DAMPING = 0.01  # of the mean variance: what the calibration inputs do not show is not trusted
_COLUMNS = 64  # weights of a channel that are rounded before their errors are passed on as a matrix product


@dataclass(frozen=True, eq=False)
class Moments:
    """What enters a layer: mean float64 (groups, k) and covariance float64 (groups, k, k) of its k taps."""

    mean: Doubles
    covariance: Doubles


class Rounder:
    """Rounds weights; a layer whose inputs are not known is rounded to the nearest.

    Attributes:
        limit: largest size of an integer.
    """

    def __init__(self, moments: Mapping[str, Moments] | None = None, limit: int = WEIGHT_LIMIT) -> None:
        self.limit = limit
        self._moments = moments or {}
        self._done: dict[str, tuple[Floats, NDArray[np.int8], Doubles]] = {}

    def __call__(self, layer: str, weight: NDArray[Any], scales: Floats) -> tuple[NDArray[np.int8], Doubles]:
        """Round one layer's weight.

        Args:
            layer: output name of its node.
            weight: (outputs, ...), outputs first.
            scales: float32 (outputs,), the step of each.

        Returns:
            int8 integers of the weight's shape, and float64 (outputs,) for the bias to gain.
        """
        known = self._done.get(layer)
        if known is None or not np.array_equal(known[0], scales):
            self._done[layer] = known = (scales, *self._rounded(self._moments.get(layer), weight, scales))
        return known[1:]

    def _rounded(
        self, moments: Moments | None, weight: NDArray[Any], scales: Floats
    ) -> tuple[NDArray[np.int8], Doubles]:
        rows, steps = weight.reshape(len(weight), -1).astype(np.float64), scales.astype(np.float64)[:, None]
        if moments is None:
            integers = np.clip(np.rint(rows / steps), -self.limit, self.limit)
            return integers.astype(np.int8).reshape(weight.shape), np.zeros(len(rows))
        integers, gained = np.empty_like(rows), np.empty(len(rows))
        groups = len(moments.mean)
        for group, part in enumerate(np.split(np.arange(len(rows)), groups)):
            integers[part] = nearest_plane(rows[part], steps[part], moments.covariance[group], self.limit)
            gained[part] = (rows[part] - integers[part] * steps[part]) @ moments.mean[group]
        return integers.astype(np.int8).reshape(weight.shape), gained


def nearest_plane(rows: Doubles, steps: Doubles, covariance: Doubles, limit: int = WEIGHT_LIMIT) -> Doubles:
    """Integers q for which (rows - q * steps) is small where the inputs vary, float64 (outputs, k).

    Args:
        rows: weights (outputs, k).
        steps: (outputs, 1).
        covariance: (k, k) of the inputs.
        limit: largest size of an integer.
    """
    variance = np.diagonal(covariance)
    # The last weight is rounded first; those that matter most come early, while others can still make up for them.
    order = np.argsort(variance, kind="stable")
    factor = _factor(covariance[np.ix_(order, order)], _DAMPING * float(variance.mean()) + 1e-12)
    wanted, errors, integers = rows[:, order], np.zeros_like(rows), np.empty_like(rows)
    for stop in range(len(order), 0, -_COLUMNS):
        start = max(0, stop - _COLUMNS)
        passed = errors[:, stop:] @ factor[start:stop, stop:].T
        for i in range(stop - 1, start - 1, -1):
            target = wanted[:, i] + passed[:, i - start] + errors[:, i + 1 : stop] @ factor[i, i + 1 : stop]
            integers[:, i] = np.clip(np.rint(target / steps[:, 0]), -limit, limit)
            errors[:, i] = wanted[:, i] - integers[:, i] * steps[:, 0]
    result = np.empty_like(integers)
    result[:, order] = integers
    return result


def _factor(covariance: Doubles, damping: float) -> Doubles:
    """Upper Cholesky factor of the damped covariance, its diagonal divided out."""
    try:
        factor: Doubles = scipy.linalg.cholesky(covariance + damping * np.eye(len(covariance)), check_finite=False)
    except scipy.linalg.LinAlgError:  # rounding has made it indefinite
        return _factor(covariance, 10 * damping)
    return factor / np.diagonal(factor)[:, None]


def input_moments(graph: ModelProto, layers: Collection[str], rows: Sequence[NDArray[Any]]) -> dict[str, Moments]:
    """Moments of the inputs of convolutions and products with constant weights.

    The mean of a product's inputs counts as 0: its node has no bias that could gain.

    Args:
        graph: float32, one input.
        layers: output names of their nodes.
        rows: inputs, each of batch 1.
    """
    nodes = [node for node in graph.graph.node if node.output[0] in layers and _is_plain(node)]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    run = watched(graph, list(dict.fromkeys(node.input[0] for node in nodes)))
    rng = np.random.default_rng(0)
    sums: dict[str, _Sums] = {}
    for row in rows:
        values = run(row)
        for node in nodes:
            taps = _taps(node, shapes[node.input[1]], values[node.input[0]], rng)
            if node.output[0] not in sums:
                sums[node.output[0]] = _Sums(*taps.shape[::2])
            sums[node.output[0]].add(taps)
    return {node.output[0]: sums[node.output[0]].moments(centred=node.op_type == "Conv") for node in nodes}


class _Sums:
    """Sums over what entered a layer, counted from the first mean: what varies may be small beside it."""

    def __init__(self, groups: int, taps: int) -> None:
        self._count = 0
        self._origin: Floats | None = None
        self._total = np.zeros((groups, taps), np.float64)
        self._gram = np.zeros((groups, taps, taps), np.float32)

    def add(self, taps: Floats) -> None:
        """Take in float32 (groups, places, taps)."""
        if self._origin is None:
            self._origin = taps.mean(axis=1, keepdims=True)
        taps = taps - self._origin
        self._count += taps.shape[1]
        self._total += taps.sum(axis=1, dtype=np.float64)
        self._gram += taps.transpose(0, 2, 1) @ taps

    def moments(self, *, centred: bool) -> Moments:
        """Mean and covariance, or 0 and the second moment."""
        assert self._origin is not None, "a layer has inputs"
        shift = self._total / self._count
        mean = self._origin[:, 0] + shift
        covariance = self._gram / np.float64(self._count) - shift[:, :, None] * shift[:, None, :]
        if centred:
            return Moments(mean, covariance)
        return Moments(np.zeros_like(mean), covariance + mean[:, :, None] * mean[:, None, :])


def _is_plain(node: NodeProto) -> bool:
    return all(step == 1 for step in _ints(node, "dilations", 1))


def _taps(node: NodeProto, shape: tuple[int, ...], x: Floats, rng: np.random.Generator) -> Floats:
    """What the weights of a node meet at some places of its input, float32 (groups, places, taps)."""
    if node.op_type == "MatMul":
        lines = x.reshape(-1, x.shape[-1])
        return lines[_some(len(lines), rng)][None]
    height, width = shape[2:]
    top, left, bottom, right = _ints(node, "pads", 0, 4)
    down, along = _ints(node, "strides", 1)
    padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))[:, ::down, ::along]
    places = _some(views.shape[1] * views.shape[2], rng)
    taps = views[:, places // views.shape[2], places % views.shape[2]]  # (channels, places, height, width)
    groups = len(x[0]) // shape[1]
    taps = taps.reshape(groups, shape[1], len(places), height * width).transpose(0, 2, 1, 3)
    return cast("Floats", taps.reshape(groups, len(places), -1))


def _some(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(count) if count <= _POSITIONS else rng.choice(count, _POSITIONS, replace=False)


def _ints(node: NodeProto, name: str, default: int, count: int = 2) -> list[int]:
    found = next((a for a in node.attribute if a.name == name), None)
    return list(helper.get_attribute_value(found)) if found is not None else [default] * count
