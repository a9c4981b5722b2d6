"""The only module that imports onnxruntime: one session per tower, with the policy of DESIGN section 6."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import BundleError, CancelledError, DeviceError
from mmr_runtime.onnx_product import INPUT, OUTPUT, product_graph
from mmr_runtime.prepared import PreparedGraph

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
MAX_THREADS = 4
GPU_BATCH = 16
CUDA_OPTIONS = {
    # Not the default, which tries every kernel of every convolution at the first run of a shape.
    "cudnn_conv_algo_search": "HEURISTIC",
    # fp32 means float32: TF32 keeps 10 bits of 23, no more than fp16, which is faster still.
    "use_tf32": "0",
    # What a batch needs is needed again by the next one; the default doubles the memory that it asks for.
    "arena_extend_strategy": "kSameAsRequested",
}
"""Options of onnxruntime's CUDA provider."""

_FEW = GPU_BATCH // 4
"""Rows left over from whole batches that a GPU runs one by one; more are one more batch, filled up with zeros."""

# What the prepared form of a graph is made with. Weights under 16 KiB stay inside the graph: onnxruntime opens and
# checks the weights file once for each that does not (223 times for a text tower with its default of 1 KiB). It aligns
# all others to 64 bytes, the larger ones to pages, and maps them.
_PREPARED = {
    "session.optimized_model_external_initializers_file_name": "weights.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "16384",
    "session.save_external_prepacked_constant_initializers": "1",
}
_FREE_DIMENSIONS = {"batch": 1}
_FATAL = 4
_CUDA_WORDS = re.compile("cuda|cudnn|cublas", re.IGNORECASE)
_WITHOUT_CUDA = "check the NVIDIA driver, pip install 'mmr-runtime[gpu]' for CUDA's libraries, or use --device cpu"

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


class Stop:
    """Lets another thread end what runs under it: `with stop.governing(): engine.embed_images(...)`.

    A graph that runs ends between two of its nodes (`RunOptions.terminate`), and what would follow does not begin.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._options: Any = None

    @property
    def asked(self) -> bool:
        """Whether the end was asked for."""
        return self._asked

    def ask(self) -> None:
        """End what runs, from any thread; for good."""
        with self._lock:
            self._asked = True
            if self._options is not None:
                self._options.terminate = True

    @contextmanager
    def governing(self) -> Iterator[None]:
        """What this thread runs inside can be ended."""
        _governed.stop = self
        try:
            yield
        finally:
            _governed.stop = None

    def run(self, session: Any, outputs: list[str], feeds: dict[str, Any]) -> Any:
        """Run a graph.

        Raises:
            CancelledError: the end was asked for.
        """
        with self._lock:
            if self._asked:
                raise _ended()
            self._options = load_onnxruntime().RunOptions()
        try:
            return session.run(outputs, feeds, self._options)
        except Exception as error:
            if self._asked:
                raise _ended() from error
            raise
        finally:
            with self._lock:
                self._options = None


def _ended() -> CancelledError:
    return CancelledError("the work was not wanted any more")


_governed = threading.local()


class Session:
    """One ONNX graph with one input and one output, ready to run; may be shared by threads.

    On the CPU rows run one at a time through a graph whose batch dimension is pinned to 1: memory stays flat, a row's
    result cannot depend on its neighbours, and a second core helps inside the graph rather than across rows.

    On a GPU there are two such forms: one pinned to 1, for the page that was just turned, and its twin pinned to
    `GPU_BATCH`, made when so many rows come. cuDNN chooses its kernels anew at every change of shape, which takes
    longer than the batch itself: each form keeps its only shape, and the last batch is filled up.

    Args:
        path: the graph.
        device: `cpu` or `cuda`, as `resolve_device` gives it.
        threads: intra-op threads.
        sha256: of the graph. Where it is known, a prepared form is kept in the user's cache folder and used from then
            on (CPU only).

    Attributes:
        input: name of the graph's input.
        shape: of one row of its input; None for a dimension that is open.
        output: name of its output.
        batch: rows that are worth handing over together.
        on_cpu: operators of a CUDA session that onnxruntime left on the CPU, with how many nodes there are of each:
            arithmetic on shapes at most. Empty where it does not tell.

    Raises:
        BundleError: the graph cannot be loaded.
        DeviceError: CUDA was asked for and the session, or work of it, would run without it.
    """

    def __init__(
        self, path: Path, *, device: Literal["cpu", "cuda"] = "cpu", threads: int = 1, sha256: str | None = None
    ) -> None:
        ort = load_onnxruntime()
        self._path, self._threads, self._device = path, threads, device
        self._twin: Any = None
        self._twin_lock = threading.Lock()
        self.on_cpu: dict[str, int] = {}
        self.batch = 1
        with _creation:
            if device == "cuda":
                self.batch = GPU_BATCH
                self._session, self.on_cpu = _open_on_gpu(ort, path, threads, 1)
            else:
                prepared = None if sha256 is None else _open_prepared(ort, path, threads, sha256)
                self._session = prepared or _open(ort, path, _options(ort, threads, _FREE_DIMENSIONS))
        _return_freed_memory()
        value = self._session.get_inputs()[0]
        self.input = str(value.name)
        self.shape = tuple(size if isinstance(size, int) else None for size in value.shape[1:])
        self.output = str(self._session.get_outputs()[0].name)
        if device == "cuda":
            # Shows that the card can run it, and has its kernels chosen before the first page comes.
            self._run_on_gpu(self._session, _zeros(self._session.get_inputs()[0]))

    def run(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Run all rows.

        Args:
            rows: (n, ...) of the graph's input shape and dtype.

        Returns:
            float32 (n, d), as the graph gives it, not normalised.

        Raises:
            DeviceError: the GPU fails, for want of memory for example.
        """
        if self._device == "cpu":
            parts = [self._run_row(rows[i : i + 1]) for i in range(len(rows))]
            return cast("NDArray[np.float32]", np.concatenate(parts))
        left = len(rows) % self.batch
        whole = len(rows) - left if left <= _FEW else len(rows)
        parts = [self._run_batch(rows[i : min(i + self.batch, whole)]) for i in range(0, whole, self.batch)]
        parts += [self._run_on_gpu(self._session, rows[i : i + 1]) for i in range(whole, len(rows))]
        return np.concatenate(parts)

    def _run_row(self, row: NDArray[Any]) -> NDArray[np.float32]:
        stop: Stop | None = getattr(_governed, "stop", None)
        outputs, feeds = [self.output], {self.input: row}
        found = self._session.run(outputs, feeds) if stop is None else stop.run(self._session, outputs, feeds)
        return cast("NDArray[np.float32]", found[0])

    def _run_batch(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Run at most one batch by the twin."""
        with self._twin_lock:
            if self._twin is None:
                with _creation:
                    self._twin, _ = _open_on_gpu(load_onnxruntime(), self._path, self._threads, self.batch)
                _return_freed_memory()
        missing = self.batch - len(rows)
        filled = np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows
        return self._run_on_gpu(self._twin, filled)[: len(rows)]

    def _run_on_gpu(self, session: Any, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Run rows, as many as the session is pinned to: one copy to the card, one back.

        `InferenceSession.run` would do without the binding, but answers a failure of the GPU by starting again on the
        CPU.
        """
        try:
            binding = session.io_binding()
            binding.bind_cpu_input(self.input, np.ascontiguousarray(rows))
            binding.bind_output(self.output, self._device)
            session.run_with_iobinding(binding)
            return cast("NDArray[np.float32]", binding.copy_outputs_to_cpu()[0])
        except Exception as error:  # onnxruntime raises a family of its own without a common root
            raise DeviceError(
                f"the GPU failed on {self._path.name}: {_first_line(error)}",
                "close other programs that use it, or use --device cpu",
            ) from error


class Product:
    """A matrix product with a constant on the CPU; may be shared by threads.

    Args:
        matrix: float32 (k, columns).
        threads: intra-op threads.
    """

    def __init__(self, matrix: NDArray[np.float32], threads: int = 1) -> None:
        ort = load_onnxruntime()
        with _creation:
            self._session = ort.InferenceSession(
                product_graph(matrix), _options(ort, threads, {}), providers=["CPUExecutionProvider"]
            )
        _return_freed_memory()

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows float32 (n, k) times the matrix: (n, columns)."""
        product: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: rows})[0]
        return product


def _options(ort: Any, threads: int, free_dimensions: dict[str, int]) -> Any:
    """Session options; symbolic dimensions that are named here are pinned."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors
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
        # Without its own way to go on, which is to print a banner and take the CPU.
        return ort.InferenceSession(str(path), options, providers=list(providers), enable_fallback=0)
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


def _open_on_gpu(ort: Any, path: Path, threads: int, batch: int) -> tuple[Any, dict[str, int]]:
    """A session whose work runs on CUDA, and the operators that it left on the CPU.

    onnxruntime falls back to the CPU without a word, for a session (the driver or a library is missing) or for single
    nodes (CUDA has no kernel for them): both are errors here. From 1.24 on it tells where each node went; before, it
    can only be forbidden to use the CPU at all, which also refuses graphs with arithmetic on shapes.
    """
    said = io.StringIO()
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(said):  # it prints what it misses, where a program's output belongs
            ort.preload_dlls()
    options = _options(ort, threads, {"batch": batch})
    providers: tuple[Any, ...] = (("CUDAExecutionProvider", CUDA_OPTIONS),)
    tells = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
    if tells:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        providers = (*providers, "CPUExecutionProvider")
    else:  # the CPU must not even be named then
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # What is missing is said below, in a line. Later, every plan of cuDNN that does not suit a convolution would be
    # logged as an error, hundreds of them, before it takes one that does; what really fails is raised.
    ort.set_default_logger_severity(_FATAL)
    try:
        session = _open(ort, path, options, providers)
    except BundleError as error:
        reason = str(error.__cause__).replace(str(path), "")
        if not tells and "assigned to the default CPU EP" in reason:
            raise _not_on_gpu(path, "some of its nodes") from error
        if _CUDA_WORDS.search(reason):
            raise DeviceError(f"CUDA cannot open {path.name}: {reason.splitlines()[0][:200]}", _WITHOUT_CUDA) from error
        raise
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError(f"CUDA was asked for, but cannot be had: {_missing(said.getvalue())}", _WITHOUT_CUDA)
    on_cpu: Counter[str] = Counter()
    if tells:
        for part in session.get_provider_graph_assignment_info():
            if part.ep_name == "CPUExecutionProvider":
                on_cpu.update(node.op_type for node in part.get_nodes())
        if on_cpu.keys() - _SHAPE_OPS:
            raise _not_on_gpu(path, ", ".join(sorted(on_cpu.keys() - _SHAPE_OPS)))
    return session, dict(on_cpu)


def _missing(said: str) -> str:
    """What keeps CUDA's provider from loading: the driver, or what `preload_dlls` named first."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver"
    return (said.strip() or "its provider does not load").splitlines()[0][:200]


def _not_on_gpu(path: Path, what: str) -> DeviceError:
    return DeviceError(
        f"CUDA was asked for, but of {path.name} this would run on the CPU: {what}",
        "try --precision fp16 or fp32, or use --device cpu",
    )


def _zeros(value: Any) -> NDArray[Any]:
    """One input of zeros; a dimension that is open has the size 2."""
    shape = [size if isinstance(size, int) else 2 for size in value.shape]
    return np.zeros(shape, np.int64 if value.type == "tensor(int64)" else np.float32)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
