"""The only module that imports onnxruntime: one session per tower, with the policy of DESIGN section 6."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import BundleError, DeviceError
from mmr_runtime.prepared import PreparedGraph

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
MAX_THREADS = 4
GPU_BATCH = 16

# What the prepared form of a graph is made with. Weights under 16 KiB stay inside the graph: onnxruntime opens and
# checks the weights file once for each that does not (223 times for a text tower with its default of 1 KiB). It aligns
# all others to 64 bytes, the larger ones to pages, and maps them.
_PREPARED = {
    "session.optimized_model_external_initializers_file_name": "weights.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "16384",
    "session.save_external_prepacked_constant_initializers": "1",
}
_FREE_DIMENSIONS = {"batch": 1}

# Arithmetic on shapes, which onnxruntime leaves on the CPU by design: it is faster there than the way to the GPU.
# fmt: off
_SHAPE_OPS = frozenset((
    "Add", "And", "ArgMax", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand",
    "Gather", "GatherND", "Greater", "Identity", "Less", "Mod", "Mul", "Not", "Or", "Range", "ReduceMax",
    "ReduceMin", "ReduceProd", "Reshape", "ScatterND", "Shape", "Size", "Slice", "Split", "Squeeze", "Sub",
    "Transpose", "Unsqueeze", "Where",
))
# fmt: on

# Creating two sessions at once is not safe in onnxruntime; running them is.
_creation = threading.Lock()


def allowed_cores() -> int:
    """Cores this process may use: the least of CPU affinity and the cgroup's quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: affinity alone counts
    return max(1, cores)


def default_threads() -> int:
    """Intra-op threads of a session unless asked otherwise."""
    return min(allowed_cores(), MAX_THREADS)


def telemetry_is_off() -> bool:
    """Whether onnxruntime was, or will be, imported with its telemetry disabled."""
    return "onnxruntime" not in sys.modules or os.environ.get("ORT_DISABLE_TELEMETRY") == "1"


def load_onnxruntime() -> Any:
    """Import onnxruntime with telemetry off.

    Wheels from 1.29 on report home by default, and the choice is latched at import: the variable must be set before.
    A host that imported onnxruntime earlier has made that choice already.

    Raises:
        DeviceError: onnxruntime is not installed, or broken.
    """
    if "onnxruntime" not in sys.modules:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            problem = "onnxruntime is not installed"
        else:
            problem = f"onnxruntime cannot be loaded: {_first_line(error)}"
        raise DeviceError(
            problem, "pip install 'mmr-runtime[cpu]', or 'mmr-runtime[gpu]' with an NVIDIA card"
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise DeviceError(
            "onnxruntime is installed twice or in pieces",
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'mmr-runtime[cpu]' or 'mmr-runtime[gpu]'",
        )
    return onnxruntime


def resolve_device(device: Device) -> Literal["cpu", "cuda"]:
    """The device that `device` means on this machine; `auto` takes CUDA only where its provider is built in.

    Raises:
        DeviceError: CUDA was asked for and this onnxruntime has no CUDA provider.
    """
    if device not in DEVICES:
        raise DeviceError(f"unknown device {device!r}", f"one of {', '.join(DEVICES)}")
    if device == "cpu":
        return "cpu"
    has_cuda = "CUDAExecutionProvider" in load_onnxruntime().get_available_providers()
    if device == "cuda" and not has_cuda:
        raise DeviceError(
            "CUDA was asked for, but the installed onnxruntime has no CUDA provider",
            "pip uninstall -y onnxruntime && pip install 'mmr-runtime[gpu]', or use --device cpu",
        )
    return "cuda" if has_cuda else "cpu"


class Session:
    """One ONNX graph with one input and one output, ready to run; may be shared by threads.

    On the CPU rows run one at a time through a graph whose batch dimension is pinned to 1: memory stays flat, a row's
    result cannot depend on its neighbours, and a second core helps inside the graph rather than across rows.

    Args:
        path: the graph.
        device: `cpu` or `cuda`, as `resolve_device` gives it.
        threads: intra-op threads.
        sha256: of the graph. Where it is known, a prepared form is kept in the user's cache folder and used from then
            on (CPU only).

    Raises:
        BundleError: the graph cannot be loaded.
        DeviceError: CUDA was asked for and the session, or work of it, would run without it.
    """

    def __init__(
        self, path: Path, *, device: Literal["cpu", "cuda"] = "cpu", threads: int = 1, sha256: str | None = None
    ) -> None:
        ort = load_onnxruntime()
        self._batch = GPU_BATCH if device == "cuda" else 1
        with _creation:
            if device == "cuda":
                self._session = _open_on_gpu(ort, path, threads)
            else:
                prepared = None if sha256 is None else _open_prepared(ort, path, threads, sha256)
                self._session = prepared or _open(ort, path, _options(ort, threads, _FREE_DIMENSIONS))
        _return_freed_memory()
        self.input = str(self._session.get_inputs()[0].name)
        self.output = str(self._session.get_outputs()[0].name)

    def run(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Run all rows.

        Args:
            rows: (n, ...) of the graph's input shape and dtype.

        Returns:
            float32 (n, d), as the graph gives it, not normalised.
        """
        parts = [
            self._session.run([self.output], {self.input: rows[i : i + self._batch]})[0]
            for i in range(0, len(rows), self._batch)
        ]
        return cast("NDArray[np.float32]", np.concatenate(parts))


def _options(ort: Any, threads: int, free_dimensions: dict[str, int]) -> Any:
    """Session options; symbolic dimensions that are named here are pinned."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Measured on AudioCLIP's towers, fp32 and int8, private memory after 15 runs: with a memory pattern (onnxruntime's
    # default) the audio tower holds 89 MB, without it 67 MB at the same speed (the pattern's block comes on top of what
    # the arena already has, and a text of every new length adds a pattern). Without the arena it is 107-119 MB and 7 %
    # slower, with shrinkage after each run 58 MB but 14 % slower and the image tower holds 28 MB more.
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    for name, size in free_dimensions.items():
        options.add_free_dimension_override_by_name(name, size)
    return options


def _open(ort: Any, path: Path, options: Any, providers: tuple[Any, ...] = ("CPUExecutionProvider",)) -> Any:
    try:
        return ort.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime raises a family of its own without a common root
        raise BundleError(
            f"{path.name} cannot be loaded by onnxruntime {ort.__version__}: {_first_line(error)}",
            "export the bundle again, or update onnxruntime",
        ) from error


def _open_prepared(ort: Any, path: Path, threads: int, sha256: str) -> Any:
    """A session of the graph's prepared form, made first where there is none; None where that cannot be done.

    It is made at once and not later: for AudioCLIP's int8 image tower that takes 140 ms, once per machine, where
    opening the graph as it is takes 95 ms and opening the prepared form 45 ms. Outputs are bit-equal.
    """

    def make(target: Path) -> None:
        options = _options(ort, threads, _FREE_DIMENSIONS)
        options.optimized_model_filepath = str(target)
        for name, value in _PREPARED.items():
            options.add_session_config_entry(name, value)
        _open(ort, path, options)

    facts = _PREPARED | {name: str(size) for name, size in _FREE_DIMENSIONS.items()}
    prepared = PreparedGraph(sha256, ort.__version__, facts)
    for graph in (prepared.find, lambda: prepared.build(make)):
        found = graph()
        if found is not None:
            try:
                return _open(ort, found, _options(ort, threads, _FREE_DIMENSIONS))
            except BundleError:
                prepared.discard()
    return None


def _return_freed_memory() -> None:
    """Give what creating a session has freed back to the system, where the C library (glibc) can be told to.

    It would keep most of it: of AudioCLIP's image tower in fp32 250 MB after the prepared form was made, 130 MB where
    the graph itself was opened, 32 MB where the prepared form was found. This takes 19, 10 and 3 ms.
    """
    with contextlib.suppress(OSError, TypeError, AttributeError):  # Windows, macOS, musl
        ctypes.CDLL(None).malloc_trim(0)


def _open_on_gpu(ort: Any, path: Path, threads: int) -> Any:
    """A session whose work runs on CUDA.

    onnxruntime falls back to the CPU without a word, for a session (the driver or a library is missing) or for single
    nodes (CUDA has no kernel for them): both are errors here. From 1.24 on it tells where each node went; before, it
    can only be forbidden to use the CPU at all, which also refuses graphs with arithmetic on shapes.
    """
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    options = _options(ort, threads, {})
    providers: tuple[Any, ...] = (("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}),)
    tells = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
    if tells:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        providers = (*providers, "CPUExecutionProvider")
    else:  # the CPU must not even be named then
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = _open(ort, path, options, providers)
    except BundleError as error:
        if tells or "assigned to the default CPU EP" not in str(error.__cause__):
            raise
        raise _not_on_gpu(path, "some of its nodes") from error
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise _not_on_gpu(path, "all of it")
    if tells:
        parts = session.get_provider_graph_assignment_info()
        on_cpu = {node.op_type for part in parts if part.ep_name == "CPUExecutionProvider" for node in part.get_nodes()}
        if on_cpu - _SHAPE_OPS:
            raise _not_on_gpu(path, ", ".join(sorted(on_cpu - _SHAPE_OPS)))
    return session


def _not_on_gpu(path: Path, what: str) -> DeviceError:
    return DeviceError(
        f"CUDA was asked for, but of {path.name} this would run on the CPU: {what}",
        "check the driver and CUDA libraries with `mmr doctor`, try --precision fp32, or use --device cpu",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
