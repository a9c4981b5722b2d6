"""Graphs as onnxruntime prepared them for this machine, kept in the user's cache folder.

Opening a graph is mostly onnxruntime's work on it: parsing, fusing, laying weights out for the processor. Its result
can be stored, the weights in a file of their own that is mapped into memory instead of read. This module knows files
only; what onnxruntime is told is in sessions.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from mmr_runtime.files import rename

GRAPH, FACTS = "graph.onnx", "facts.json"
# A build takes seconds: an older temporary folder was left by a process that was killed. Facts are touched on every
# use: what nobody used for so long is of a model that is gone.
_ABANDONED_S = 3600.0
_UNUSED_S = 90 * 86400.0


def cache_folder() -> Path:
    """Where prepared graphs are kept; it need not exist, nor be writable."""
    return Path(platformdirs.user_cache_dir("mmr", appauthor=False)) / "prepared"


def processor_flags() -> str:
    """What the processor can do: weights laid out for other instructions would fail, but only once they are run."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:  # up to the first one only: the kernel makes this text as it is read, core by core
            name, _, flags = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                return " ".join(sorted(flags.split()))
    return os.environ.get("PROCESSOR_IDENTIFIER") or _name_by_sysctl()


def _name_by_sysctl() -> str:
    """macOS: `Apple M2`; its caches may move to the next machine with everything else. Elsewhere empty."""
    text = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(len(text))
    with contextlib.suppress(OSError, TypeError, AttributeError):  # no C library is found, or it has no such function
        ctypes.CDLL(None).sysctlbyname(b"machdep.cpu.brand_string", text, ctypes.byref(size), None, ctypes.c_size_t(0))
    return text.value.decode("ascii", "replace")


class PreparedGraph:
    """The prepared form of one graph for one onnxruntime, one processor and one set of options.

    Its folder appears complete: it is filled under another name, its facts are written last, and only then it gets its
    name. Files that are not as the facts tell (size, time of change) count as damaged, and are made again.

    Args:
        sha256: of the graph.
        runtime: version of onnxruntime.
        options: of the session, as far as the prepared form depends on them. The number of threads is none of them.
    """

    def __init__(self, sha256: str, runtime: str, options: Mapping[str, str]) -> None:
        self._facts: dict[str, Any] = {
            "graph": sha256,
            "onnxruntime": runtime,
            "processor": f"{platform.system()} {platform.machine()} {processor_flags()}",
            "options": dict(options),
        }
        key = hashlib.sha256(json.dumps(self._facts, sort_keys=True).encode()).hexdigest()
        self.folder = cache_folder() / sha256[:32] / key[:32]

    def find(self) -> Path | None:
        """The prepared graph, or None where there is none, or not an unharmed one."""
        with contextlib.suppress(OSError):
            facts = _read_facts(self.folder)
            if facts == self._facts | {"files": _files(self.folder)}:
                with contextlib.suppress(OSError):  # a cache that can only be read is as good
                    os.utime(self.folder / FACTS)
                return self.folder / GRAPH
        return None

    def build(self, make: Callable[[Path], object]) -> Path | None:
        """Make the prepared form, and remove forms that nobody will use again.

        Args:
            make: writes the graph to the given path, and its weights into the same folder.

        Returns:
            the prepared graph, or None where it cannot be made or kept, for whatever reason.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=self.folder.parent, suffix=".tmp"))
        except OSError:
            return None
        try:
            make(temporary / GRAPH)
            facts = self._facts | {"files": _files(temporary)}
            (temporary / FACTS).write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")
            self._publish(temporary)
        except Exception:  # onnxruntime's errors have no common root, and a slower start beats none
            return None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._sweep()
        return self.find()

    def discard(self) -> None:
        """Remove it: it did not work."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _publish(self, temporary: Path) -> None:
        try:
            rename(temporary, self.folder)
        except OSError:
            if self.find() is None:  # otherwise another process was faster, and its work is as good
                self.discard()
                rename(temporary, self.folder)

    def _sweep(self) -> None:
        """Remove this graph's forms for other versions of onnxruntime, what was abandoned, and what is long unused.

        Forms for other processors stay: a home folder may be shared by several machines.
        """
        now = time.time()
        with contextlib.suppress(OSError):
            for folder in _subfolders(cache_folder()):
                for form in _subfolders(folder):
                    facts = _read_facts(form)
                    age = now - (form / FACTS if facts else form).stat().st_mtime
                    other = facts.get("graph") == self._facts["graph"] and (
                        facts.get("onnxruntime") != self._facts["onnxruntime"]
                    )
                    if other or age > (_UNUSED_S if facts else _ABANDONED_S):
                        shutil.rmtree(form, ignore_errors=True)
                with contextlib.suppress(OSError):
                    folder.rmdir()  # where nothing is left in it


def _subfolders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of all files of a prepared graph, by name."""
    with os.scandir(folder) as entries:
        stats = {entry.name: entry.stat() for entry in entries if entry.name != FACTS}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _read_facts(folder: Path) -> dict[str, Any]:
    """Facts of a prepared graph; none where they are missing or unreadable."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
