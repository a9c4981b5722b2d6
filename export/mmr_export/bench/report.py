"""A result as one HTML file: its tables, and plots of what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mmr_export.html import Section, page, plot, table

from .tables import COLD, RATIOS, WARM, Figures, make_tables
from .timing import ANY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
Rows = dict[str, list[Row | None]]
_STATES = ("first run", "later run", "prepared graphs deleted", "no writable cache")


def html_report(result: dict[str, Any]) -> str:
    """The document.

    Args:
        result: as `mmr bench --json` writes it.

    Raises:
        DeviceError: matplotlib is not installed.
    """
    host, figures = result["host"], result["figures"]
    known = Figures(figures)
    versions = ", ".join(f"{name} {version}" for name, version in host["versions"].items())
    lead = (
        f"{host['processor']}, {host['allowed_cores']} cores, {host['system']}, {versions}. "
        f"{figures['rounds']} rounds; load average before them: {figures['load_average']}. "
        "What the figures mean, and what they cannot tell, stands in docs/benchmarks.md."
    )
    plots = {WARM: _warm_plots(known), COLD: _cold_plots(known), RATIOS: _ratio_plots(known)}
    sections = [
        Section(made.heading, "\n".join([*plots.get(made.heading, []), table(made.head, made.rows)]))
        for made in make_tables(figures)
    ]
    machine = [[name, ", ".join(map(str, v)) if isinstance(v, list) else v] for name, v in host.items()]
    machine = [row for row in machine if row[0] != "versions"]  # they stand above
    sections.append(Section("Machine", table(["what", "value"], machine)))
    return page(f"Benchmark of {figures['model']}", lead, sections)


def _warm_plots(known: Figures) -> list[str]:
    variants = known.variants("warm")
    stages = [stage for stage in known.stages if any(known.row("warm", stage, v) for v in variants)]

    def bars(axes: Axes) -> None:
        rows = {v: [known.row("warm", stage, v) for stage in stages] for v in variants}
        _grouped(axes, [known.stages[s] for s in stages], rows, lambda row: _percentiles(row, 1e3))
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds, median with 5th and 95th percentile")

    def distribution(axes: Axes) -> None:
        for own in known.all["page_seconds"]:
            values = 1e3 * np.array(own["values"])
            share = np.arange(len(values) + 1) / len(values)
            axes.step(
                np.insert(values, 0, values[0]),
                share,
                where="post",
                label=f"{own['variant']}, threads: {own['threads']}",
            )
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("share of the pages")
        axes.legend(frameon=False)

    threads = f"threads: {known.threads}"
    made = [plot(bars, f"Stages, {threads}", width=8, height=1 + 0.35 * len(stages))]
    if known.all["page_seconds"]:
        made.append(plot(distribution, "Pages that were done within so much time (empirical distribution)"))
    if len(known.all["threads"]) > 1:
        made.append(plot(lambda axes: _thread_lines(axes, known), "What more threads are worth", width=6))
    return made


def _thread_lines(axes: Axes, known: Figures) -> None:
    threads = known.all["threads"]
    for stage, label in known.stages.items():
        for variant in known.variants("warm"):
            rows = [known.row("warm", stage, variant, count) for count in threads]
            medians = [row["seconds"]["p50"] for row in rows if row]
            if len(medians) == len(threads) and stage in ("image encoder", "audio encoder", "text", "front end"):
                name = label if variant == ANY else f"{label}, {variant}"
                axes.plot(threads, [medians[0] / value for value in medians], marker="o", label=name)
    axes.set_xticks(threads)
    axes.set_xlabel("threads")
    axes.set_ylabel(f"times faster than with {threads[0]}")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _cold_plots(known: Figures) -> list[str]:
    rows = {v: [known.row("cold", state, v) for state in _STATES] for v in known.variants("cold")}
    rows = {variant: own for variant, own in rows.items() if any(own)}
    if not rows:
        return []
    floors = [known.row("cold", program, ANY) for program in ("python", "imports")]

    def seconds(axes: Axes) -> None:
        _grouped(axes, list(_STATES), rows, _percentiles)
        for floor in filter(None, floors):
            axes.axvline(floor["seconds"]["p50"], color="grey", linestyle=":")
        axes.set_xlabel("seconds, median with 5th and 95th percentile")

    def memory(axes: Axes) -> None:
        _grouped(axes, list(_STATES), rows, lambda row: (row["peak_mib"],) * 3)
        axes.set_xlabel("MiB at the peak")

    dotted = "dotted: python alone, and with numpy and onnxruntime"
    return [
        plot(seconds, f"Start to the first ranked page ({dotted})", width=6),
        plot(memory, "Memory of the same processes", width=6),
    ]


def _ratio_plots(known: Figures) -> list[str]:
    threads = known.threads
    found = [
        r
        for r in known.all["warm_ratios"]
        if r["threads"] == r["against"]["threads"] == threads and r["variant"] != r["against"]["variant"]
    ]
    if not found:
        return []

    def bars(axes: Axes) -> None:
        names = [f"{known.stages[r['stage']]}: {r['variant']} / {r['against']['variant']}" for r in found]
        medians = [r["median"] for r in found]
        spread = [[r["median"] - r["p5"] for r in found], [r["p95"] - r["median"] for r in found]]
        axes.barh(range(len(found)), medians, xerr=spread)
        axes.axvline(1, color="grey", linestyle=":")
        axes.set_yticks(range(len(found)), names)
        axes.invert_yaxis()
        axes.set_xlabel("times faster, median with 5th and 95th percentile")

    return [plot(bars, f"Side by side, threads: {threads}", width=8, height=1 + 0.25 * len(found))]


def _grouped(axes: Axes, names: list[str], rows: Rows, values: Callable[[Row], tuple[float, float, float]]) -> None:
    """A group of horizontal bars for each name, with one for each variant that was measured, and whiskers.

    Args:
        axes: to draw on.
        names: of the groups.
        rows: for each variant a row, or None, for each name.
        values: lower end, length and upper end of a row's bar.
    """
    height = 0.8 / len(rows)
    present = [[v for v, own in rows.items() if own[i]] for i in range(len(names))]
    for variant, own in rows.items():
        places, bars = [], []
        for i, row in enumerate(own):
            if row:
                places.append(i + height * (present[i].index(variant) - (len(present[i]) - 1) / 2))
                bars.append(values(row))
        low, length, high = np.array(bars).T
        axes.barh(places, length, height, xerr=(length - low, high - length), label=variant)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    if len(rows) > 1:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _percentiles(row: Row, scale: float = 1.0) -> tuple[float, float, float]:
    seconds = row["seconds"]
    return scale * seconds["p5"], scale * seconds["p50"], scale * seconds["p95"]
