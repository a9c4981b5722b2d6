"""How close the graphs come to what the core can do: `python benchmarks/limits.py [--bundle FOLDER]`.

One thread. The limit is measured twice: as the multiply-adds a second that the core's instructions reach in registers
(a few lines of C, compiled for this very processor where there is a compiler), and as those of onnxruntime's fastest
matrix product, which is not the silicon's rate but what the best of its kernels makes of it. Against them stand the
multiply-adds that a tower needs, counted in the float32 graph (the int8 graph executes more where it merged the groups
of a convolution: most of those weights are zeros), and the time that it takes. A profile tells where the rest goes.

OpenVINO runs the same files as a peer, where it is installed: `pip install --no-deps openvino` (without its telemetry).
Every round runs everything once, the limits too, and ratios are taken by round. Times are processor time of the
process, so that other work on the machine, which takes the core away in the middle of a long call and not of a short
one, does not bend them; only the profile, which is that of the fastest of its runs, has the wall clock's.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
import onnx
from host import store
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mmr_export.samples import Sources
from mmr_runtime.bundle import Bundle, Tower
from mmr_runtime.sessions import Session, load_onnxruntime

Array = NDArray[Any]
Shapes = dict[str, tuple[int, ...]]

PRECISIONS = ("fp32", "int8")
WARM_UP = 2
PROFILED_RUNS = 20
TOP_NODES = 12
LIMIT_SECONDS, LIMIT_RUNS = 0.002, 5
"""A limit is the best of so many runs, each so long or longer."""
PRODUCTS = ((256, 256, 256), (384, 384, 384), (512, 512, 512), (768, 768, 768), (1024, 1024, 1024), (784, 1152, 256))
"""Shapes (rows, depth, columns) of which the fastest counts as the library's best."""

SOURCE = r"""
#include <immintrin.h>
#define SUMS 12 /* independent sums: as many as hide the latency, and fit the registers */
#define EACH _Pragma("GCC unroll 12") for (int j = 0; j < SUMS; j++)
/* An empty instruction that claims to change its operand, or the compiler would do the products once, not each time. */
#define AGAIN(x) __asm__ volatile("" : "+x"(x))

#if defined(__AVX512VNNI__)
#define INT8_NAME "avx512_vnni"
#define INT8_LANES 64
typedef __m512i ints;
#define INTS(x) _mm512_set1_epi8(x)
#define DOT(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#elif defined(__AVXVNNI__)
#define INT8_NAME "avx_vnni"
#define INT8_LANES 32
typedef __m256i ints;
#define INTS(x) _mm256_set1_epi8(x)
#define DOT(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#elif defined(__AVX2__) /* without a dot product: the sums of pairs have 16 bits and may saturate */
#define INT8_NAME "avx2"
#define INT8_LANES 32
typedef __m256i ints;
#define INTS(x) _mm256_set1_epi8(x)
#define DOT(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)))
#endif

#if defined(__AVX512F__)
#define FP32_NAME "avx512f"
#define FP32_LANES 16
typedef __m512 floats;
#define FLOATS(x) _mm512_set1_ps(x)
#define FMA(sum, a, b) _mm512_fmadd_ps(a, b, sum)
#elif defined(__FMA__)
#define FP32_NAME "fma"
#define FP32_LANES 8
typedef __m256 floats;
#define FLOATS(x) _mm256_set1_ps(x)
#define FMA(sum, a, b) _mm256_fmadd_ps(a, b, sum)
#endif

const char *int8_name(void) { return INT8_NAME; }
const char *fp32_name(void) { return FP32_NAME; }

/* Each runs n steps, and returns how many multiply-adds these were. */
long int8_dots(long n)
{
    ints a = INTS(1), b = INTS(1), sums[SUMS];
    EACH sums[j] = INTS(0);
    for (long i = 0; i < n; i++) EACH { AGAIN(a); sums[j] = DOT(sums[j], a, b); }
    EACH AGAIN(sums[j]);
    return n * SUMS * INT8_LANES;
}

long fp32_dots(long n)
{
    floats a = FLOATS(1), b = FLOATS(1), sums[SUMS];
    EACH sums[j] = FLOATS(0);
    for (long i = 0; i < n; i++) EACH { AGAIN(a); sums[j] = FMA(sums[j], a, b); }
    EACH AGAIN(sums[j]);
    return n * SUMS * FP32_LANES;
}
"""


# -- multiply-adds ----------------------------------------------------------------------------------------------------

_WEIGHTS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "QLinearConv": 3}
"""Which input of a convolution its weights (outputs, inputs of a group, ...) are."""
_PRODUCTS = {"MatMul", "FusedMatMul", "Gemm", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
_INTEGER = {"QLinearConv", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}


def multiply_adds(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiply-adds of a node; 0 of anything but convolutions and matrix products."""
    outputs = int(np.prod(shapes[node.output[0]])) if node.output[0] in shapes else 0
    if node.op_type in _WEIGHTS:
        return outputs * int(np.prod(shapes[node.input[_WEIGHTS[node.op_type]]][1:]))
    if node.op_type in _PRODUCTS:
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return outputs * shapes[node.input[0]][-2 if transposed else -1]
    return 0


def graph_multiply_adds(path: Path, row: Array) -> int:
    """Multiply-adds of a graph for one input, by the shapes that ONNX infers."""
    graph = onnx.load(path)
    dims = graph.graph.input[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, row.shape, strict=True):
        dim.dim_value = size
    graph = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    for value in (*graph.graph.input, *graph.graph.value_info, *graph.graph.output):
        # What is left symbolic is the batch, a name in the graph's own declaration of its output.
        shapes[value.name] = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
    return sum(multiply_adds(node, shapes) for node in graph.graph.node)


# -- limits -----------------------------------------------------------------------------------------------------------


@dataclass
class Limit:
    """A way to do multiply-adds as fast as possible.

    Attributes:
        what: it is.
        run: does it once.
        count: multiply-adds of one run.
        best: most multiply-adds a second that were ever measured.
    """

    what: str
    run: Callable[[], object]
    count: int
    best: float = 0.0

    def rate(self) -> float:
        """Multiply-adds a second, now."""
        rate = self.count / min(timed(self.run) for _ in range(LIMIT_RUNS))
        self.best = max(self.best, rate)
        return rate


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time of one call, all threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def core_limits(folder: Path) -> dict[str, Limit]:
    """Precision -> limit of the core's instructions; empty where they cannot be compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return {}
    source, library = folder / "dots.c", folder / "dots.so"
    source.write_text(SOURCE, encoding="ascii")
    command = [compiler, "-O2", "-march=native", "-shared", "-fPIC", "-o", str(library), str(source)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return {}  # another family of processors
    compiled = ctypes.CDLL(str(library))
    limits = {}
    for precision in PRECISIONS:
        dots, name = getattr(compiled, f"{precision}_dots"), getattr(compiled, f"{precision}_name")
        dots.argtypes, dots.restype, name.restype = [ctypes.c_long], ctypes.c_long, ctypes.c_char_p
        steps = 10_000
        while timed(partial(dots, steps)) < LIMIT_SECONDS:
            steps *= 2
        limits[precision] = Limit(name().decode(), partial(dots, steps), dots(steps))
    return limits


def library_limits() -> dict[str, Limit]:
    """Precision -> the fastest of onnxruntime's matrix products."""
    limits = {}
    for precision in PRECISIONS:
        products = [product(precision, *shape) for shape in PRODUCTS]
        limits[precision] = max(products, key=lambda p: max(p.rate() for _ in range(3)))
    return limits


def product(precision: str, rows: int, depth: int, columns: int) -> Limit:
    """A matrix product with constant weights, as large as asked for."""
    rng = np.random.default_rng(0)
    if precision == "int8":
        data, weights = (
            rng.integers(0, 256, (rows, depth), np.uint8),
            rng.integers(-127, 128, (depth, columns), np.int8),
        )
        op, kinds = "MatMulInteger", (TensorProto.UINT8, TensorProto.INT32)
    else:
        data, weights = (rng.standard_normal(shape, np.float32) for shape in ((rows, depth), (depth, columns)))
        op, kinds = "MatMul", (TensorProto.FLOAT, TensorProto.FLOAT)
    values = [
        helper.make_tensor_value_info(name, kind, size)
        for name, kind, size in zip("xy", kinds, ((rows, depth), (rows, columns)), strict=True)
    ]
    node = helper.make_node(op, ["x", "w"], ["y"])
    graph = helper.make_graph([node], op, values[:1], values[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime_session(model.SerializeToString())
    return Limit(f"{op}, {rows} x {depth} x {columns}", partial(session.run, None, {"x": data}), rows * depth * columns)


def onnxruntime_session(model: bytes | str, **settings: Any) -> Any:
    """A session with one thread; `settings` are of its options."""
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_free_dimension_override_by_name("batch", 1)
    for name, value in settings.items():
        setattr(options, name, value)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


# -- profile ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """What is measured: an input of a tower."""

    tower: Tower
    row: Array


def profile(path: Path, row: Array, rates: Mapping[str, float], useful: int | None, folder: Path) -> dict[str, Any]:
    """Where the time of a graph goes, by onnxruntime's own profiler.

    Args:
        path: the graph.
        row: its input.
        rates: precision -> multiply-adds a second of onnxruntime's best product.
        useful: multiply-adds that the tower needs, if known.
        folder: scratch space.
    """
    optimized = folder / "optimized.onnx"
    session = onnxruntime_session(
        str(path),
        enable_profiling=True,
        profile_file_prefix=str(folder / "profile"),
        optimized_model_filepath=str(optimized),
    )
    name = session.get_inputs()[0].name
    for _ in range(WARM_UP + PROFILED_RUNS):
        session.run(None, {name: row})
    trace = Path(session.end_profiling())
    events = json.loads(trace.read_text(encoding="utf-8"))
    trace.unlink()
    runs = [e["dur"] for e in events if e["cat"] == "Session" and e["name"] == "model_run"]
    fastest = int(np.argmin(runs))  # the run that was least disturbed
    times: dict[str, list[float]] = defaultdict(list)
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            node = event["name"].removesuffix("_kernel_time")
            times[node].append(event["dur"])
            shapes[node] = [tuple(size) for value in event["args"]["output_type_shape"] for size in value.values()]
    graph = onnx.load(optimized).graph
    known: Shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer} | {name: row.shape}
    for node in graph.node:
        known |= dict(zip(node.output, shapes.get(node.name, ()), strict=False))
    nodes = [
        Executed(node.name, node.op_type, times[node.name][fastest], multiply_adds(node, known))
        for node in graph.node
        if node.name in times
    ]
    return told(nodes, runs[fastest], rates, useful)


@dataclass(frozen=True)
class Executed:
    """A node as it ran.

    Attributes:
        name: of the node.
        operator: its type.
        microseconds: that it took.
        count: multiply-adds.
    """

    name: str
    operator: str
    microseconds: float
    count: int

    def at_the_limit(self, rates: Mapping[str, float]) -> float:
        """Microseconds that its multiply-adds would take in the library's best product."""
        return self.count / rates["int8" if self.operator in _INTEGER else "fp32"] * 1e6


def told(nodes: Sequence[Executed], whole: float, rates: Mapping[str, float], useful: int | None) -> dict[str, Any]:
    """Shares of the time of a run (`whole`, microseconds): by reason, by type of operator, and of the slowest nodes."""
    by_type: dict[str, list[Executed]] = defaultdict(list)
    for node in nodes:
        by_type[node.operator].append(node)
    products = [node for node in nodes if node.count]
    executed, ideal = sum(n.count for n in products), sum(n.at_the_limit(rates) for n in products)
    taken, all_nodes = (sum(n.microseconds for n in some) for some in (products, nodes))
    filled = ideal * max(0.0, 1 - useful / executed) if useful and executed else 0.0
    reasons = {
        "products at the limit": ideal - filled,
        "products with zeros, of merged groups or padded channels": filled,
        "products below the limit": taken - ideal,
        "other operators": all_nodes - taken,
        "between the operators": whole - all_nodes,
    }

    def row(some: Iterable[Executed], **names: Any) -> dict[str, Any]:
        some = list(some)
        microseconds, count = sum(n.microseconds for n in some), sum(n.count for n in some)
        at_limit = sum(n.at_the_limit(rates) for n in some)
        speed = {"of the limit": round(at_limit / microseconds, 3)} if count and microseconds else {}
        figures = {"microseconds": round(microseconds, 1), "share": round(microseconds / whole, 4)}
        return {**names, **figures, "million multiply-adds": round(count / 1e6, 3), **speed}

    types = [row(some, operator=operator, nodes=len(some)) for operator, some in by_type.items()]
    slowest = sorted(nodes, key=lambda n: -n.microseconds)[:TOP_NODES]
    return {
        "executed, million multiply-adds": round(executed / 1e6, 3),
        "microseconds": round(whole, 1),
        "reasons, share of the time": {reason: round(t / whole, 4) for reason, t in reasons.items()},
        "operators": sorted(types, key=lambda r: -r["microseconds"]),
        "slowest nodes": [row([node], node=node.name, operator=node.operator) for node in slowest],
    }


# -- peers ------------------------------------------------------------------------------------------------------------


def openvino_action(path: Path, row: Array) -> tuple[Callable[[], Array] | None, str]:
    """Runs a graph in OpenVINO with one thread; or None, and why not."""
    try:
        import openvino
    except ImportError as error:
        return None, f"not installed: {error}"
    try:
        core = openvino.Core()
        model = core.read_model(str(path))
        model.reshape({0: list(row.shape)})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": 1,
            "ENABLE_CPU_PINNING": False,  # onnxruntime is not pinned either
            "INFERENCE_PRECISION_HINT": "f32",  # or it would take bfloat16 for float32 where the core has it
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        request.infer({0: row})
    except RuntimeError as error:  # OpenVINO's only kind
        return None, " ".join(str(error).split())[-300:]
    return lambda: np.array(request.infer({0: row})[0]), ""


# -- all of it --------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--bundle", default="default", show_default=True, help="`default`, or the folder of a bundle.")
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True)
@click.option("--name", default="limits", show_default=True, help="Name of the result file.")
def main(bundle: str, rounds: int, name: str) -> None:
    """Measure and store results/NAME.json."""
    opened = Bundle.open(bundle)
    with tempfile.TemporaryDirectory() as folder:
        core, library = core_limits(Path(folder)), library_limits()
        limits = {f"core, {p}": limit for p, limit in core.items()} | {
            f"onnxruntime, {p}": x for p, x in library.items()
        }
        results = {}
        for what, work in works(opened).items():
            results[what] = measure(opened, work, limits, rounds, Path(folder))
            click.echo(f"{what}: {json.dumps(results[what], indent=1)}")
    for what, limit in limits.items():
        click.echo(f"{what}: {limit.what}, {limit.best / 1e9:.1f} billion multiply-adds a second")
    figures = {
        "model": opened.manifest.id,
        "rounds": rounds,
        "openvino": version("openvino"),
        "limits": {
            what: {"by": limit.what, "billion multiply-adds a second": round(limit.best / 1e9, 1)}
            for what, limit in limits.items()
        },
        "works": results,
    }
    click.echo(f"stored {store(name, figures)}", err=True)


def version(package: str) -> str | None:
    """Of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def works(bundle: Bundle) -> dict[str, Work]:
    """An input of each tower; of text a short one and one of full length."""
    sources = Sources.of(bundle)
    found: dict[str, Work] = {}
    towers: tuple[Tower, ...] = ("image", "audio")
    for tower in towers:
        if tower in bundle.manifest.graphs:
            found[tower] = Work(tower, sources.rows(tower, "selection", 2)[-1])  # the first sound is next to silent
    if "text" in bundle.manifest.graphs:
        tokens, context = sources.tokenizer.tokens(["Tender music"]), bundle.manifest.text.context
        found[f"text, {tokens.shape[1]} tokens"] = Work("text", tokens)
        full = sources.tokenizer.tokens(["Tender music"], pad_to=context)
        found[f"text, {context} tokens"] = Work("text", full)
    return found


def measure(bundle: Bundle, work: Work, limits: Mapping[str, Limit], rounds: int, folder: Path) -> dict[str, Any]:
    """All figures of one input."""
    paths = {p: bundle.graph(work.tower, p) for p in PRECISIONS if p in bundle.manifest.graphs[work.tower]}
    counts = {p: graph_multiply_adds(path, work.row) for p, path in paths.items()}
    useful = counts.get("fp32")
    actions: dict[str, Callable[[], Array]] = {}
    refused: dict[str, str] = {}
    agreement: dict[str, float] = {}
    for precision, path in paths.items():
        session = Session(path)
        actions[f"onnxruntime, {precision}"] = partial(session.run, work.row)
        peer, reason = openvino_action(path, work.row)
        if peer is None:
            refused[precision] = reason
        else:
            actions[f"openvino, {precision}"] = peer
            agreement[precision] = round(cosine(peer(), session.run(work.row)), 6)
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    rates: dict[str, list[float]] = {name: [] for name in limits}
    for round_ in range(WARM_UP + rounds):
        reached = {name: limit.rate() for name, limit in limits.items()}
        taken = {name: timed(action) for name, action in actions.items()}
        if round_ >= WARM_UP:
            for name, rate in reached.items():
                rates[name].append(rate)
            for name, value in taken.items():
                seconds[name].append(value)
    best = {p: limits[f"onnxruntime, {p}"].best for p in PRECISIONS}
    return {
        "million multiply-adds": {
            "needed": None if useful is None else round(useful / 1e6, 3),
            **{f"in the {p} graph": round(count / 1e6, 3) for p, count in counts.items()},
        },
        "milliseconds": {name: spread(np.array(v) * 1e3) for name, v in seconds.items()},
        "ratio to the limits": fractions(seconds, rates, useful or counts["int8"]),
        "ratio to the peers": against_peers(seconds),
        "refused by openvino": refused,
        "cosine of openvino and onnxruntime": agreement,
        "profile": {p: profile(path, work.row, best, useful, folder) for p, path in paths.items()},
    }


def fractions(seconds: Mapping[str, list[float]], rates: Mapping[str, list[float]], count: int) -> dict[str, Any]:
    """Share of each limit of its precision that each variant reaches."""
    return {
        f"{variant} / {limit}": spread(count / np.array(taken) / np.array(reached))
        for variant, taken in seconds.items()
        for limit, reached in rates.items()
        if variant.split(", ")[1] == limit.split(", ")[1]
    }


def against_peers(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """How many times faster onnxruntime's int8 graph, or else its only one, is than each other variant."""
    own = next(name for name in ("onnxruntime, int8", "onnxruntime, fp32") if name in seconds)
    return {
        f"{name} / {own}": spread(np.array(taken) / np.array(seconds[own]))
        for name, taken in seconds.items()
        if name != own
    }


def spread(values: Array) -> dict[str, float]:
    """Median with 5th and 95th percentile."""
    low, median, high = np.percentile(values, [5, 50, 95])
    return {name: float(f"{x:.4g}") for name, x in (("median", median), ("p5", low), ("p95", high))}


def cosine(a: Array, b: Array) -> float:
    """Of two vectors."""
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


if __name__ == "__main__":
    main()
