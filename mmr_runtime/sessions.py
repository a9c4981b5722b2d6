"""The only module that imports onnxruntime: one session per tower, with the policy of DESIGN section 6."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import BundleError, DeviceError

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
MAX_THREADS = 4
GPU_BATCH = 16


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
        DeviceError: onnxruntime is not installed.
    """
    if "onnxruntime" not in sys.modules:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        if importlib.util.find_spec("onnxruntime") is None:
            raise DeviceError(
                "onnxruntime is not installed",
                "pip install 'mmr-runtime[cpu]', or 'mmr-runtime[gpu]' with an NVIDIA card",
            )
    import onnxruntime

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

    Raises:
        BundleError: the graph cannot be loaded.
        DeviceError: CUDA was asked for and the session runs without it.
    """

    def __init__(self, path: Path, *, device: Literal["cpu", "cuda"] = "cpu", threads: int = 1) -> None:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        providers: list[Any] = ["CPUExecutionProvider"]
        self._batch = 1
        if device == "cuda":
            if hasattr(ort, "preload_dlls"):
                ort.preload_dlls()
            providers.insert(0, ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}))
            self._batch = GPU_BATCH
        else:
            options.add_free_dimension_override_by_name("batch", 1)
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime raises a family of its own without a common root
            raise BundleError(
                f"{path.name} cannot be loaded by onnxruntime {ort.__version__}: {_first_line(error)}",
                "export the bundle again, or update onnxruntime",
            ) from error
        if device == "cuda" and self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise DeviceError(
                f"CUDA was asked for, but {path.name} would run on the CPU",
                "check the driver and CUDA libraries with `mmr doctor`, or use --device cpu",
            )
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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
