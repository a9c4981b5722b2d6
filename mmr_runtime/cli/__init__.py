"""The commands `mmr` and `mmr-infer`. Nothing numeric is imported before a command has work for it."""

from __future__ import annotations

import os


def main() -> None:
    """Run `mmr`; ends the process with its exit code."""
    _quiet_blas()
    from mmr_runtime.cli.group import mmr

    mmr.main(prog_name="mmr")


def infer_main() -> None:
    """Run `mmr-infer`, which is `mmr rank`; ends the process with its exit code."""
    _quiet_blas()
    from mmr_runtime.cli.rank import rank

    rank.main(prog_name="mmr-infer")


def _quiet_blas() -> None:
    """Let NumPy's BLAS, which fixes it when it is loaded, use one thread.

    Its products here are small: with two threads on a busy machine each would wait for the slower one. What is large
    runs in onnxruntime, with the threads that were asked for.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(name, "1")
