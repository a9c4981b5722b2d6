"""What is installed, told without importing any of it."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata

from mmr_runtime import __version__
from mmr_runtime.bundle import Bundle
from mmr_runtime.errors import BundleError

# Distributions that all install a package called onnxruntime: two of them overwrite each other's files.
_ONNXRUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-rocm",
    "onnxruntime-qnn",
)


def onnxruntimes() -> dict[str, str]:
    """Installed distributions of onnxruntime with their versions; there should be one."""
    found = {}
    for name in _ONNXRUNTIMES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def version_text() -> str:
    """Three lines: mmr, onnxruntime, default model."""
    runtimes = ", ".join(f"{name} {version}" for name, version in onnxruntimes().items())
    try:
        model = Bundle.open().manifest.id
    except BundleError:
        model = "none"
    return f"mmr {__version__}\n{runtimes or 'onnxruntime none'}\nmodel {model}"
