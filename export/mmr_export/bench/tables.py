"""The tables of a result, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import cold, stages

WARM, COLD, RATIOS, SIZES = "Stages, in a process that is running", "Whole processes", "Side by side", "On disk"
_NONE = "-"


@dataclass(frozen=True)
class Table:
    """Heading, names of the columns, and cells; the first `texts` columns are words, the others figures."""

    heading: str
    head: list[str]
    rows: list[list[str]]
    texts: int = 2


class Figures:
    """Looking things up in the figures of a result."""

    def __init__(self, figures: dict[str, Any]) -> None:
        self.all = figures
        self.stages = stages.labels(figures["sizes"])
        self.programs = cold.labels(figures["sizes"])

    @property
    def threads(self) -> int:
        """The first number of threads, which whole processes have as well."""
        return int(self.all["threads"][0])

    def variants(self, kind: str) -> list[str]:
        """Names of the variants among the rows of `warm` or `cold`, in their order."""
        return list(dict.fromkeys(row["variant"] for row in self.all[kind]))

    def row(self, kind: str, name: str, variant: str, threads: int | None = None) -> dict[str, Any] | None:
        """The row of a stage (`warm`) or a program (`cold`); None where that was not measured."""
        wanted = (name, variant, threads or self.threads)
        return next((r for r in self.all[kind] if (_name(r), r["variant"], r["threads"]) == wanted), None)

    def ratio(self, kind: str, name: str, variant: str, against: str) -> dict[str, Any] | None:
        """How many times faster one variant is than another, at the first number of threads."""
        threads = self.threads
        wanted = (name, variant, threads, {"variant": against, "threads": threads})
        rows = self.all[f"{kind}_ratios"]
        return next((r for r in rows if (_name(r), r["variant"], r["threads"], r["against"]) == wanted), None)


def make_tables(figures: dict[str, Any]) -> list[Table]:
    """All tables that this result has figures for."""
    known = Figures(figures)
    made = [_warm(known), _cold(known), _compared(known), _sizes(known)]
    return [table for table in made if table.rows]


def duration(seconds: float) -> str:
    """Milliseconds, or seconds from one on."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.{1 if seconds >= 1e-3 else 3}f} ms"


def times(ratio: dict[str, Any] | None) -> str:
    """A ratio with its spread."""
    return _NONE if ratio is None else f"{ratio['median']:.1f}x ({ratio['p5']:.1f} - {ratio['p95']:.1f})"


def _warm(known: Figures) -> Table:
    first, *more = known.all["threads"]
    count = f"{first} thread" + ("s" if first > 1 else "")
    head = [f"stage, {count}", "by", "p50", "p95", "p99", "per second", "CPU", *(f"p50, {n} threads" for n in more)]
    rows = []
    for stage, label in known.stages.items():
        for variant in known.variants("warm"):
            row = known.row("warm", stage, variant)
            if row:
                others = (known.row("warm", stage, variant, n) for n in more)
                rate = f"{row['per_second']:.1f}"
                rows.append(
                    [label, variant, *_percentiles(row), rate, duration(row["cpu_seconds"]), *map(_p50, others)]
                )
    return Table(WARM, head, rows)


def _cold(known: Figures) -> Table:
    head = ["whole process", "by", "p50", "p95", "p99", "CPU", "peak memory"]
    rows = []
    for program, label in known.programs.items():
        for variant in known.variants("cold"):
            row = known.row("cold", program, variant)
            if row:
                peak = f"{row['peak_mib']:.0f} MiB"
                rows.append([label, variant, *_percentiles(row), duration(row["cpu_seconds"]), peak])
    return Table(COLD, head, rows)


def _compared(known: Figures) -> Table:
    labels = {"warm": known.stages, "cold": known.programs}
    rows = [
        [labels[kind][_name(r)], _who(r), _who(r["against"]), times(r)]
        for kind in ("warm", "cold")
        for r in _sorted(known.all[f"{kind}_ratios"], labels[kind])
    ]
    return Table(RATIOS, ["work", "variant", "against", "times faster (5 % - 95 %)"], rows, texts=3)


def _sizes(known: Figures) -> Table:
    rows = [[name, f"{size / 1e6:.1f} MB"] for name, size in known.all["bytes"].items()]
    return Table(SIZES, ["what", "size"], rows, texts=1)


def _sorted(rows: Iterable[dict[str, Any]], labels: dict[str, str]) -> list[dict[str, Any]]:
    order = list(labels)
    return sorted(rows, key=lambda row: order.index(_name(row)))


def _name(row: dict[str, Any]) -> str:
    return str(row["stage"] if "stage" in row else row["program"])


def _who(variant: dict[str, Any]) -> str:
    return f"{variant['variant']}, {variant['threads']} thread" + ("s" if variant["threads"] > 1 else "")


def _percentiles(row: dict[str, Any]) -> list[str]:
    return [duration(row["seconds"][f"p{p}"]) for p in (50, 95, 99)]


def _p50(row: dict[str, Any] | None) -> str:
    return _NONE if row is None else duration(row["seconds"]["p50"])
