"""A process that runs stages of one variant whenever it is told, and measures them itself.

Each variant has a process of its own: the number of BLAS threads is fixed when NumPy is loaded, and PyTorch and
onnxruntime would stand in each other's way. All of them live at once and take turns; who waits takes no time.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from mmr_runtime.errors import MmrError

from .inputs import Inputs, Sizes
from .processes import environment
from .timing import ANY, PYTORCH, Sample, Variant, timed


class Worker:
    """The caller's end; use it in a `with` block.

    Args:
        variant: what does the work.
        model: `default` or the folder of a bundle.
        inputs: made already.

    Raises:
        MmrError: the process ended.
    """

    def __init__(self, variant: Variant, model: str, inputs: Inputs) -> None:
        self._variant = variant
        job = {"variant": variant, "model": model, "folder": str(inputs.folder), "sizes": asdict(inputs.sizes)}
        environ = environment(variant.threads, inputs.folder / "cache" / variant.name)
        self._process = subprocess.Popen(  # noqa: S603 (this very module)
            [sys.executable, "-m", __name__, json.dumps(job)],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.stages: list[str] = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # the end of its input ends it

    def run(self, stage: str) -> Sample:
        """Run a stage once."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(stage + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # reading tells
        return Sample(*self._read())

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            what = f"{self._variant.name} with {self._variant.threads} threads"
            message = f"the process that was to measure {what} ended with code {self._process.returncode}"
            raise MmrError(message, "what it said stands above")
        return json.loads(line)


def main(job: Mapping[str, Any]) -> None:
    """The process's end: tell the stages, then run what is asked for until there is no more."""
    from mmr_runtime.engine import Engine

    from .stages import common_stages, encoder_stages

    variant, inputs = Variant(*job["variant"]), Inputs(Path(job["folder"]), Sizes(**job["sizes"]))
    if variant.name == ANY:
        stages = common_stages(Engine.open(job["model"], device="cpu", threads=variant.threads), inputs)
    elif variant.name == PYTORCH:
        from .torch_side import torch_stages

        stages = torch_stages(Engine.open(job["model"], device="cpu"), inputs, variant.threads)
    else:
        engine = Engine.open(job["model"], device="cpu", precision=variant.name, threads=variant.threads)
        stages = encoder_stages(engine, inputs)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the caller's: it ends this process's input
    _tell(list(stages))
    for line in sys.stdin:
        sample = timed(stages[line.strip()])
        _tell([sample.seconds, sample.cpu_seconds])


def _tell(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
