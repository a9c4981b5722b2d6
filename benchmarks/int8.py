"""What int8 costs a tower, cause by cause: `python benchmarks/int8.py --bundle DIR [--tower audio]`.

Needs a bundle with float32 graphs. Noise is the energy of the differences between quantized and float32 vectors by the
spread of the float32 ones, on inputs that calibration has not seen. Each way of rounding is measured twice: as integer
arithmetic would have it (the graph not fused: floats on the grid of the integers), and as this processor's integer
kernels compute it (fused); where they differ, kernels saturate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from host import store
from numpy.typing import NDArray

from mmr_export.calibrate import activation_ranges, channel_peaks
from mmr_export.equalize import equalized
from mmr_export.quality import agreement, vectors_of
from mmr_export.quantize import prepared, static_activations, static_int8, weighted_nodes
from mmr_export.rounding import Moments, Rounder, input_moments
from mmr_export.samples import Rows, Sources
from mmr_runtime.bundle import Bundle, Tower
from mmr_runtime.sessions import load_onnxruntime

CALIBRATION, JUDGED = 32, 32
EIGHT_BITS = 127


@click.command()
@click.option("--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--tower", type=click.Choice(["image", "audio"]), default="audio", show_default=True)
@click.option("--name", default="int8", show_default=True, help="Name of the result file.")
def main(bundle: Path, tower: Tower, name: str) -> None:
    """Measure and store results/NAME.json."""
    opened = Bundle.open(bundle)
    sources, graph = Sources.of(opened), prepared(onnx.load(opened.graph(tower, "fp32")))
    calibration, judged = (sources.rows(tower, use, n) for use, n in (("calibration", CALIBRATION), ("gate", JUDGED)))
    noises = measure(graph, calibration, judged)
    path = store(name, {"model": opened.manifest.id, "tower": tower, "inputs": len(judged), "noise": noises})
    click.echo(json.dumps(noises, indent=1))
    click.echo(f"stored {path}", err=True)


def measure(graph: onnx.ModelProto, calibration: Rows, judged: Rows) -> dict[str, dict[str, float]]:
    """Noise of every way of rounding, as integer arithmetic has it and as the kernels here compute it."""
    graph = equalized(graph, channel_peaks(graph, calibration))
    ranges = activation_ranges(graph, static_activations(graph), calibration)["error"]
    reference = vectors_of(graph, judged)
    noises = {}
    for way, rounder in ways(input_moments(graph, weighted_nodes(graph), calibration)):
        int8 = static_int8(graph, ranges, rounder=rounder)
        noises[way] = {
            "integer arithmetic": round(agreement(unfused(int8, judged), reference).noise, 4),
            "the kernels here": round(agreement(vectors_of(int8, judged), reference).noise, 4),
        }
    return noises


def ways(moments: dict[str, Moments]) -> Iterator[tuple[str, Rounder]]:
    """Rounders by what they do."""
    independent = {
        layer: replace(m, covariance=np.broadcast_to(np.eye(m.mean.shape[1]), m.covariance.shape))
        for layer, m in moments.items()
    }
    for bits, limit in (("eight bits", EIGHT_BITS), ("seven bits", EIGHT_BITS // 2 + 1)):
        yield f"{bits}, nearest", Rounder(limit=limit)
        yield f"{bits}, nearest, means into the biases", Rounder(independent, limit)
        yield f"{bits}, nearest plane, means into the biases", Rounder(moments, limit)


def unfused(graph: onnx.ModelProto, rows: Rows) -> NDArray[np.float32]:
    """Outputs of a graph whose nodes run one by one."""
    ort = load_onnxruntime()
    options: Any = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {graph.graph.input[0].name: x})[0] for x in rows])


if __name__ == "__main__":
    main()
