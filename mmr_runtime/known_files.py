"""Remembers across processes which files of an installed bundle were verified, in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import platformdirs

from mmr_runtime.files import write_whole


class KnownFiles:
    """The verified files of one bundle.

    A file counts as known while its size, its time of change and the hash asked for are what they were. Where the cache
    cannot be read or written, every process verifies again; nothing fails for it.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path) -> None:
        key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
        self._file = Path(platformdirs.user_cache_dir("mmr", appauthor=False)) / "verified" / f"{key}.json"

    def has(self, name: str, path: Path, sha256: str) -> bool:
        """Whether this file was found to have this hash, and is as it was then."""
        return bool(self._read().get(name) == _facts(path, sha256))

    def add(self, name: str, path: Path, sha256: str) -> None:
        """Remember that the file has this hash."""
        with contextlib.suppress(OSError):
            content = self._read() | {name: _facts(path, sha256)}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, [json.dumps(content).encode()])

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


def _facts(path: Path, sha256: str) -> list[Any]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, sha256]
