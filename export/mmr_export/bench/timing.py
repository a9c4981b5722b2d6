"""Measuring: actions of many variants in turn, so that a busy machine slows all alike, and what is told of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

ANY = "any"
PYTORCH = "PyTorch"
SLOW_EVERY = 5
"""A slow block runs in every fifth round."""
_PERCENTILES = (5, 50, 95, 99)


class Variant(NamedTuple):
    """What does the work.

    Attributes:
        name: the precision of the graphs; `PyTorch`; or `any` where no encoder takes part.
        threads: that it may use.
    """

    name: str
    threads: int


@dataclass(frozen=True)
class Sample:
    """One call, or one whole process.

    Attributes:
        seconds: on the wall clock.
        cpu_seconds: of the processor, all threads together.
        peak_bytes: most memory that a whole process held; None for a call.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int | None = None


Action = Callable[[], Sample]
Blocks = Mapping[str, Mapping[Variant, Action]]
"""What is compared with each other stands in one block and runs close together."""
Samples = dict[str, dict[Variant, list[Sample]]]
Row = dict[str, object]


def timed(work: Callable[[], object]) -> Sample:
    """Do the work once, and measure it."""
    cpu, start = time.process_time(), time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return Sample(seconds, time.process_time() - cpu)


def interleave(
    blocks: Blocks,
    rounds: int,
    *,
    warmup: int,
    slow: Collection[str] = (),
    progress: Callable[[], object] = lambda: None,
) -> Samples:
    """Run everything round by round, block by block, the variants of a block in an order that changes.

    Args:
        blocks: what to run.
        rounds: how often.
        warmup: calls of each action beforehand that do not count.
        slow: blocks that run in every fifth round only.
        progress: called after each action.

    Returns:
        the samples of every action; within a block they belong together by their place.
    """
    rng = random.Random(0)  # noqa: S311 (no secret, but the same order every time)
    samples: Samples = {block: {variant: [] for variant in actions} for block, actions in blocks.items()}
    for number in range(-warmup, rounds):
        for block, actions in blocks.items():
            if block in slow and number > 0 and number % SLOW_EVERY:
                continue
            for variant in rng.sample(list(actions), len(actions)):
                sample = actions[variant]()
                if number >= 0:
                    samples[block][variant].append(sample)
                progress()
    return samples


def calls(blocks: Blocks, rounds: int, *, warmup: int, slow: Collection[str] = ()) -> int:
    """How many actions `interleave` will run."""
    rare = warmup + (rounds + SLOW_EVERY - 1) // SLOW_EVERY
    return sum(len(actions) * (rare if block in slow else warmup + rounds) for block, actions in blocks.items())


def rows(samples: Samples, key: str) -> list[Row]:
    """One row for each variant of each block; the block's name stands under `key`."""
    return [
        {key: block, "variant": variant.name, "threads": variant.threads, **summary(own)}
        for block, variants in samples.items()
        for variant, own in variants.items()
    ]


def summary(samples: Sequence[Sample]) -> Row:
    """Distribution of wall time in seconds; medians of CPU time and of peak memory; throughput, one over the median."""
    seconds = np.array([s.seconds for s in samples])
    found = zip(_PERCENTILES, np.percentile(seconds, _PERCENTILES).tolist(), strict=True)
    told: Row = {
        "n": len(samples),
        "seconds": {f"p{p}": _short(value) for p, value in found} | {"mean": _short(float(seconds.mean()))},
        "cpu_seconds": _short(float(np.median([s.cpu_seconds for s in samples]))),
    }
    peaks = [s.peak_bytes for s in samples if s.peak_bytes is not None]
    if peaks:
        return told | {"peak_mib": round(float(np.median(peaks)) / 2**20, 1)}
    return told | {"per_second": _short(1 / float(np.median(seconds)))}


def ratios(samples: Samples, key: str) -> list[Row]:
    """How many times faster one variant is than another, for every comparison that says something.

    PyTorch over each precision, fp32 over the others, and a precision's first number of threads over its others.
    """
    return [
        {
            key: block,
            "variant": faster.name,
            "threads": faster.threads,
            "against": {"variant": slower.name, "threads": slower.threads},
            **ratio(variants[slower], variants[faster]),
        }
        for block, variants in samples.items()
        for slower, faster in _comparisons(variants)
    ]


def ratio(slower: Sequence[Sample], faster: Sequence[Sample]) -> Row:
    """Median of the ratios of wall times, taken round by round, and their 5th and 95th percentile."""
    each = np.array([a.seconds / b.seconds for a, b in zip(slower, faster, strict=True)])
    low, median, high = np.percentile(each, (5, 50, 95)).tolist()
    return {"median": _short(median), "p5": _short(low), "p95": _short(high)}


def _comparisons(variants: Iterable[Variant]) -> list[tuple[Variant, Variant]]:
    named = list(variants)
    pairs = []
    for slower in named:
        for faster in named:
            same_threads, same_name = slower.threads == faster.threads, slower.name == faster.name
            reference = slower.name == PYTORCH or (slower.name == "fp32" and faster.name != PYTORCH)
            first = slower == next(v for v in named if v.name == slower.name)
            if (same_threads and not same_name and reference) or (same_name and not same_threads and first):
                pairs.append((slower, faster))
    return pairs


def _short(value: float) -> float:
    """Four digits: no measurement here is worth more."""
    return float(f"{value:.4g}")
