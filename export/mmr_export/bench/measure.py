"""One run of the benchmark: inputs, warm stages, whole processes; all figures of a result."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmr_runtime.bundle import PRECISIONS, Bundle, Manifest
from mmr_runtime.errors import UsageError

from . import cold
from .inputs import Inputs, Sizes
from .processes import can_measure
from .stages import SLOW
from .timing import ANY, PYTORCH, SLOW_EVERY, Action, Blocks, Samples, Variant, calls, interleave, ratios, rows
from .worker import Worker

_WARMUP = 2

Progress = Callable[[str, int], AbstractContextManager[Callable[[], object]]]
"""Given what is measured and how many actions it takes: a context whose value is called after each of them."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        model: `default` or the folder of a bundle.
        manifest: of that bundle.
        precisions: of its graphs.
        threads: ascending; whole processes have the first of these numbers.
        rounds: of the warm stages; songs, and whole processes, have a fifth of them.
        sizes: of the inputs.
        checkpoint: that the bundle was made of, to measure PyTorch with; or None.
    """

    model: str
    manifest: Manifest
    precisions: tuple[str, ...]
    threads: tuple[int, ...]
    rounds: int
    sizes: Sizes
    checkpoint: Path | None

    @classmethod
    def of(cls, model: str, precisions: Sequence[str], **others: Any) -> Plan:
        """A plan for these precisions, or for all that the bundle has where none are named.

        Raises:
            BundleError: the bundle cannot be opened.
            UsageError: it has no graph of such a precision.
        """
        manifest = Bundle.open(model).manifest
        have = [p for p in PRECISIONS if any(p in graphs for graphs in manifest.graphs.values())]
        for precision in precisions:
            if precision not in have:
                raise UsageError(f"the bundle has no {precision} graph", f"it has {', '.join(have)}")
        return cls(model, manifest, tuple(p for p in have if not precisions or p in precisions), **others)


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """All figures, as docs/benchmarks.md describes them.

    Raises:
        MmrError: the bundle or the checkpoint cannot be used, or a measured process failed.
    """
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory(prefix="mmr-bench-") as folder:
        inputs = Inputs(Path(folder), plan.sizes)
        with progress("making inputs", 2) as step:
            inputs.make(plan.manifest, libraries=can_measure())
            step()
            if plan.checkpoint:
                from .torch_side import prepare

                prepare(plan.checkpoint, plan.manifest, inputs)
            step()
        warm = _warm(plan, inputs, progress)
        whole = _cold(plan, inputs, progress) if can_measure() else {}
    return {
        "model": plan.manifest.id,
        "embedding_size": plan.manifest.embedding_size,
        "precisions": list(plan.precisions),
        "threads": list(plan.threads),
        "rounds": plan.rounds,
        "load_average": load,
        "sizes": asdict(plan.sizes) | {"window_seconds": _window_seconds(plan.manifest)},
        "bytes": _bytes(plan),
        "warm": rows(warm, "stage"),
        "warm_ratios": ratios(warm, "stage"),
        "page_seconds": [
            {"variant": v.name, "threads": v.threads, "values": sorted(round(s.seconds, 6) for s in own)}
            for v, own in warm.get("page", {}).items()
        ],
        "cold": rows(whole, "program"),
        "cold_ratios": ratios(whole, "program"),
    }


def _warm(plan: Plan, inputs: Inputs, progress: Progress) -> Samples:
    names = [ANY, *plan.precisions, *([PYTORCH] if plan.checkpoint else [])]
    variants = [Variant(name, threads) for threads in plan.threads for name in names]
    with ExitStack() as stack:
        blocks: dict[str, dict[Variant, Action]] = {}
        with progress("loading", len(variants)) as step:
            for variant in variants:
                worker = stack.enter_context(Worker(variant, plan.model, inputs))
                for stage in worker.stages:
                    blocks.setdefault(stage, {})[variant] = partial(worker.run, stage)
                step()
        return _run(blocks, plan.rounds, _WARMUP, progress, "stages", SLOW)


def _cold(plan: Plan, inputs: Inputs, progress: Progress) -> Samples:
    blocks = cold.programs(
        plan.model,
        plan.manifest,
        list(plan.precisions),
        inputs,
        threads=plan.threads[0],
        pytorch=plan.checkpoint is not None,
    )
    rounds = plan.rounds // SLOW_EVERY
    # What runs once only is a trial, and needs no warm-up: in order, each program finds the state that it needs.
    return _run(blocks, max(1, rounds), min(1, rounds), progress, "whole processes")


def _run(
    blocks: Blocks, rounds: int, warmup: int, progress: Progress, what: str, slow: frozenset[str] = frozenset()
) -> Samples:
    with progress(what, calls(blocks, rounds, warmup=warmup, slow=slow)) as step:
        return interleave(blocks, rounds, warmup=warmup, slow=slow, progress=step)


def _window_seconds(manifest: Manifest) -> float:
    return manifest.audio.window_samples / manifest.audio.sample_rate


def _bytes(plan: Plan) -> dict[str, int]:
    """Size on disk of the bundle as it is, and as it were with each precision alone; of the checkpoint."""
    manifest = plan.manifest
    files = {name: facts.bytes for name, facts in manifest.files.items()}
    graphs = {g.file for own in manifest.graphs.values() for g in own.values()}
    found = {"bundle": sum(files.values())}
    for precision in plan.precisions:
        wanted = {own[precision].file for own in manifest.graphs.values() if precision in own}
        found[precision] = sum(size for name, size in files.items() if name in wanted or name not in graphs)
    return found | ({"checkpoint": plan.checkpoint.stat().st_size} if plan.checkpoint else {})
