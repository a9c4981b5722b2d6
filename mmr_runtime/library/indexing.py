"""Bringing an index up to date: what has to be looked into, and looking into it one file at a time."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmr_runtime.errors import CancelledError, InputError
from mmr_runtime.library.records import Kind, Progress, UpdateReport
from mmr_runtime.library.roots import Roots, is_within
from mmr_runtime.library.scan import FoundFile, Scan
from mmr_runtime.library.store import Embedded, FileRow, Store
from mmr_runtime.library.tags import Tags, read_tags

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine

_HASH_BYTES = 20
_EMPTY_ROOT_FILES = 10
"""A folder that held this many files and now holds nothing at all is taken for a disk that is not plugged in."""


class PassingError(Exception):
    """A file that cannot be used now, but perhaps the next time."""


@dataclass
class Plan:
    """What an update will do.

    Attributes:
        work: files to look into.
        kept: how many are as they were.
        gone: content -> paths of files that are no longer there.
        lost: all those paths, and those of unusable files that are no longer there.
        skipped: (path, reason), known before.
        unreachable: roots that are not there.
    """

    work: list[FoundFile] = field(default_factory=list)
    kept: int = 0
    gone: dict[bytes, list[str]] = field(default_factory=lambda: defaultdict(list))
    lost: set[str] = field(default_factory=set)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)


def make_plan(scan: Scan, known: dict[str, FileRow], have: set[bytes], roots: Roots, decoder: str) -> Plan:
    """Compare what is on the disk with what is known of it.

    Args:
        scan: the disk.
        known: the index.
        have: contents that have vectors of this model.
        roots: of the library.
        decoder: what decodes here; files that another one could not read are tried again.
    """
    plan = Plan()
    present = set()
    for file in scan.files:
        present.add(file.path)
        row = known.get(file.path)
        if row is None or (row.size, row.mtime_ns) != (file.size, file.mtime_ns):
            plan.work.append(file)
        elif row.reason is not None and row.decoder == decoder:
            plan.skipped.append((Path(file.path), row.reason))
        elif row.content in have:
            plan.kept += 1
        else:
            plan.work.append(file)
    inside = [path for path in known if path not in present and roots.hold(path)]
    plan.unreachable = [root for root, _ in scan.closed if root in roots.folders]
    for root in scan.empty:
        if sum(is_within(path, [root]) for path in inside) >= _EMPTY_ROOT_FILES:
            plan.unreachable.append(root)
    plan.skipped += [
        (Path(folder), f"cannot be listed: {why}") for folder, why in scan.closed if folder not in roots.folders
    ]
    closed = [folder for folder, _ in scan.closed] + plan.unreachable
    for path in sorted(inside):
        if not is_within(path, closed):
            plan.lost.add(path)
            content = known[path].content
            if content is not None:
                plan.gone[content].append(path)
    return plan


@dataclass(frozen=True, eq=False)
class Look:
    """What was found in a file: its content's hash, and vectors and tags where that content was new."""

    content: bytes
    embedded: Embedded | None


Looks = Generator[tuple[FoundFile, Callable[[], Look]]]
Cluster = Callable[[Sequence[FoundFile], "Engine", set[bytes]], Looks]
"""Looks into files elsewhere; is given the model, and the contents that have vectors already."""


class Update:
    """One run over the files of a plan; every file is kept as soon as it is finished.

    Args:
        store: the index.
        engine: the model.
        kind: of the library.
        plan: what has to be looked into.
        known: what is known of files.
        jobs: files that are looked into at once, by threads; they are kept one by one, in order.
        cluster: looks into all files instead, in any order.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        kind: Kind,
        plan: Plan,
        known: dict[str, FileRow],
        jobs: int = 1,
        cluster: Cluster | None = None,
    ) -> None:
        self._jobs = jobs
        self._cluster = cluster
        self._store = store
        self._engine = engine
        self._kind = kind
        self._plan = plan
        self._known = known
        self._have = store.contents(engine.model_id)
        self._decoder = decoder_name(kind)
        self._added = 0
        self._moved = 0

    def run(self, progress: Callable[[Progress], None] | None, cancelled: Callable[[], bool]) -> UpdateReport:
        """Look into every file, then forget those that are gone.

        Raises:
            CancelledError: the caller asked to stop; what was finished is kept.
            LibraryError: the index cannot be written.
        """
        plan = self._plan
        with closing(self._looks()) as looks:
            for done, (file, look) in enumerate(looks):
                if cancelled():
                    raise CancelledError(
                        f"stopped after {done} of {len(plan.work)} files",
                        "what is done is kept; run it again to go on",
                    )
                if progress:
                    progress(Progress(done, len(plan.work), Path(file.path)))
                self._take(file, look)
        if plan.lost:
            self._store.forget(sorted(plan.lost))
        if progress:
            progress(Progress(len(plan.work), len(plan.work), None))
        return self.report()

    def report(self) -> UpdateReport:
        """What was done so far."""
        plan = self._plan
        return UpdateReport(
            added=self._added,
            kept=plan.kept,
            moved=self._moved,
            removed=len(plan.lost),
            skipped=tuple(sorted(plan.skipped)),
            unreachable=tuple(Path(root) for root in plan.unreachable),
        )

    def _looks(self) -> Looks:
        """Every file with what looks into it; several are looked into ahead where there are several jobs."""
        if self._cluster is not None:
            yield from self._cluster(self._plan.work, self._engine, self._have)
            return
        if self._jobs == 1:
            yield from ((file, partial(self._look, file)) for file in self._plan.work)
            return
        from concurrent.futures import ThreadPoolExecutor  # 3 ms that a search need not pay

        files = iter(self._plan.work)
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                ahead = deque((file, pool.submit(self._look, file)) for file in islice(files, 2 * self._jobs))
                while ahead:
                    file, look = ahead.popleft()
                    yield file, look.result
                    ahead.extend((file, pool.submit(self._look, file)) for file in islice(files, 1))
            finally:
                pool.shutdown(cancel_futures=True)

    def _look(self, file: FoundFile) -> Look:
        row, path = self._known.get(file.path), Path(file.path)
        if row and row.content and (row.size, row.mtime_ns) == (file.size, file.mtime_ns):
            content = row.content
        else:
            content = content_hash(path)
        return Look(content, None if content in self._have else self._embed(path))

    def _take(self, file: FoundFile, look: Callable[[], Look]) -> None:
        path = Path(file.path)
        try:
            self._index(file, path, look())
        except InputError as error:
            reason = error.message.removeprefix(f"{path} ")
            # A file that vanished or changed meanwhile proves nothing about the file that was listed.
            if _is_as_found(file):
                self._store.skip(file, reason, self._decoder)
            self._plan.skipped.append((path, reason))
        except PassingError as error:
            self._plan.skipped.append((path, str(error)))

    def _index(self, file: FoundFile, path: Path, look: Look) -> None:
        row, content = self._known.get(file.path), look.content
        if look.embedded is not None and content not in self._have:
            if not _is_as_found(file):
                raise PassingError("changed while it was read")
            tags = self._tags(path)
            self._store.add_item(content, self._engine.model_id, look.embedded, file, tags, self._former(content))
            self._have.add(content)
            self._added += 1
        elif row and row.content == content:
            self._store.touch(file)
            self._plan.kept += 1
        else:
            was = self._former(content)
            self._store.add_file(content, file, self._tags(path), was)
            if was:
                self._moved += 1
            else:
                self._added += 1

    def _former(self, content: bytes) -> str:
        """A path that this content had and has no more, or empty; each is given once."""
        if not self._plan.gone[content]:
            return ""
        was = self._plan.gone[content].pop(0)
        self._plan.lost.discard(was)
        return was

    def _embed(self, path: Path) -> Embedded:
        if self._kind == "pages":
            none = np.zeros((0, self._engine.embedding_size), np.float32)
            return Embedded(self._engine.embed_images([path])[0], none, np.zeros(0), 0.0)
        song = self._engine.embed_audio(path, measure=True)
        return Embedded(song.vector, song.windows, song.starts, song.seconds, song.loudness)

    def _tags(self, path: Path) -> Tags:
        return Tags() if self._kind == "pages" else read_tags(path)


def decoder_name(kind: Kind) -> str:
    """What reads the files here, with versions."""
    if kind == "pages":
        from importlib import metadata  # costs 20 ms, which a query without an update need not pay

        return f"pillow {metadata.version('pillow')}"
    from mmr_runtime.decoders import versions

    return versions()


def content_hash(path: Path) -> bytes:
    """Hash of a file's bytes, which names its content in the index.

    Raises:
        PassingError: it cannot be read now.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_HASH_BYTES)).digest()
    except OSError as error:
        raise PassingError(f"cannot be read: {error.strerror}") from error


def _is_as_found(file: FoundFile) -> bool:
    try:
        status = os.stat(file.path)  # noqa: PTH116 (as scandir does it)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns)
