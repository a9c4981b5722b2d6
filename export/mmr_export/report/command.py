"""`mmr quality`: the quality of a bundle, as a table and as an HTML file with plots."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmr_export.html import require_matplotlib
from mmr_runtime.bundle import PRECISIONS, TOWERS, Bundle
from mmr_runtime.cli import options
from mmr_runtime.cli.display import Column, Style, table, write
from mmr_runtime.cli.errors import Command

if TYPE_CHECKING:
    from .evidence import Quality
    from .latency import Milliseconds

GATE_NOT_PASSED = 1


@click.command("quality", cls=Command, context_settings=options.CONTEXT, short_help="Report a bundle's quality.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--output", type=options.PATH, default=Path("report.html"), show_default=True, help="File to write.")
@click.option("--latency/--no-latency", default=True, help="Whether to measure how long the graphs take here.")
@options.debug_option
def quality(bundle: str, output: Path, latency: bool) -> int:
    """Example: mmr quality models/mine --output mine.html

    Report the quality of BUNDLE, the folder of a model or `default`: what the gate found, with plots, as one HTML file.
    The exit code is 1 where a graph did not pass the gate.
    """  # noqa: D415 (an example comes first)
    require_matplotlib("mmr quality")
    from mmr_runtime.files import write_file

    from .document import report_html
    from .evidence import read_quality
    from .latency import measure_latencies

    opened = Bundle.open(bundle)
    found = read_quality(opened.manifest)
    latencies = measure_latencies(opened) if latency else None
    write_file(output, report_html(opened, latencies).encode())
    write(_table(opened, found, latencies))
    write(f"\nwrote {output}")
    return 0 if all(verdict.passed for verdict in found.verdicts) else GATE_NOT_PASSED


def _table(bundle: Bundle, quality: Quality, latencies: Milliseconds | None) -> str:
    """One row for each graph; of several sets of inputs the worst counts."""
    verdicts = {(verdict.tower, verdict.precision): verdict for verdict in quality.verdicts}
    rows = []
    for tower in TOWERS:
        graphs = bundle.manifest.graphs.get(tower, {})
        for precision in PRECISIONS:
            verdict = verdicts.get((tower, precision))
            if precision not in graphs and verdict is None:
                continue
            gate = ["", "", ""]
            if verdict:
                figures = (f"{verdict.least(figure):.4f}" for figure in ("mean_cosine", "top10_overlap"))
                gate = ["passed" if verdict.passed else "NOT PASSED", *figures]
            megabytes = (
                f"{bundle.manifest.files[graphs[precision].file].bytes / 1e6:.1f}" if precision in graphs else ""
            )
            milliseconds = (latencies or {}).get(tower, {}).get(precision)
            rows.append([tower, precision, *gate, megabytes, "" if milliseconds is None else f"{milliseconds:.1f}"])
    heads = ("mean cosine", "top-10 overlap", "MB", "ms")
    columns = [Column("tower"), Column("precision"), Column("gate"), *(Column(head, right=True) for head in heads)]
    return table(columns, rows, Style.of(sys.stdout))
