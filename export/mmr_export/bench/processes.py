"""Child processes: what they see of this one, and whole ones measured from start to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mmr_export
import mmr_runtime
from mmr_runtime.errors import MmrError

from .timing import Sample

# Linux counts into a child's peak memory what its parent held when it was started. So a process of 9 MiB, without
# site-packages, stands between: it starts the measured one, waits for it and tells what the kernel counted.
_LAUNCHER = """
import json, os, sys, time
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
start = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - start
code = os.waitstatus_to_exitcode(status)
print(json.dumps([code, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]))
"""


def environment(threads: int, cache: Path) -> dict[str, str]:
    """This process's environment, for a child with so many threads and its prepared graphs below `cache`.

    The child imports the very code that runs here, installed or not. NumPy's BLAS has one thread, as in our commands.
    """
    roots = dict.fromkeys(str(Path(p).parent) for m in (mmr_runtime, mmr_export) for p in m.__path__)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)) | {"OPENBLAS_NUM_THREADS": "1"}
    private = {"XDG_CACHE_HOME": str(cache), "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": os.pathsep.join(roots)}
    return os.environ | limits | private


def can_measure() -> bool:
    """Whether whole processes can be measured here: the kernel's counts and the cache's place are those of Linux."""
    return sys.platform == "linux"


def measure(arguments: Sequence[str], environ: dict[str, str]) -> Sample:
    """Run `python ARGUMENTS` from start to end (Linux).

    Raises:
        MmrError: it failed.
    """
    command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, sys.executable, *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)  # noqa: S603 (our own)
    code, seconds, cpu, peak = json.loads(done.stdout)
    if code:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise MmrError(f"a process that was to be measured failed with code {code}", f"it said: {said}")
    return Sample(seconds, cpu, peak)
