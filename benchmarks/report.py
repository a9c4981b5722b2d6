"""Write the tables of stored results into the documents: `python benchmarks/report.py [--check]`.

Every table of figures lies between two comments, `<!-- NAME -->` and `<!-- /NAME -->`, and is made from results/*.json
alone; `--check` only says whether they agree.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from mmr_export.bench.tables import Figures, duration, times
from mmr_export.bench.timing import ANY, PYTORCH

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "model-card.md", ROOT / "docs" / "decisions" / "004-int8.md")


def load(name: str) -> dict[str, Any]:
    """Figures and host of results/NAME.json."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def speed_table() -> str:
    """Speed, memory and size of the default model."""
    result = load("bench_default")
    host, figures = result["host"], result["figures"]
    known = Figures(figures)
    best = next(p for p in ("int8", *figures["precisions"]) if known.row("warm", "page", p))
    more = figures["threads"][1:]
    head = ["work", "median", "5 % - 95 %", *(f"median, {n} threads" for n in more)]
    stages = []
    for stage, label in known.stages.items():
        variant = best if known.row("warm", stage, best) else ANY
        rows = [known.row("warm", stage, variant, n) for n in figures["threads"]]
        if all(rows):
            others = (duration(row["seconds"]["p50"]) for row in rows[1:])
            stages.append([label, *_median_and_spread(rows[0]), *others])
    programs = []
    for program, label in known.programs.items():
        row = known.row("cold", program, best) or known.row("cold", program, ANY)
        if row:
            used = [duration(row["cpu_seconds"]), f"{row['peak_mib']:.0f} MiB"]
            programs.append([label, *_median_and_spread(row), *used])
    return "\n".join(
        [
            f"{host['processor']} ({', '.join(host['instructions'])}), one thread, `{figures['model']}` in {best} "
            f"({figures['bytes'][best] / 1e6:.1f} MB), onnxruntime {host['versions']['onnxruntime']}:",
            "",
            *_table(head, stages),
            "",
            *_table(["whole process", "median", "5 % - 95 %", "CPU", "peak memory"], programs),
        ]
    )


def quality_table() -> str:
    """Quality of the default model on data it was not trained on."""
    q = load("quality")["figures"]
    pages, songs, clips, texts = q["pages"], q["songs"], q["clips"], q["texts"]

    def within(figure: float, interval: list[float] | None = None) -> str:
        return f"{figure:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")

    rows = [
        ("page moods, gain", within(pages["gain"], pages["gain interval"]), "0 = constant answer, 1 = perfect"),
        ("the same, standardised over the pages at hand", within(pages["gain, standardised over the pages"]), "0"),
        ("page moods, AUC within titles", within(pages["auc_within"], pages["auc_within interval"]), "0.50"),
        ("song moods, mean AUC", within(songs["auc"], songs["auc interval"]), "0.50"),
        ("song moods, first of seven right", within(songs["first right"], songs["first right interval"]), "about 0.2"),
        ("held-out clips, mean AUC", within(clips["auc"], clips["auc interval"]), "0.50"),
        ("held-out clips, AUC against the tagger", within(clips["auc against the tagger"]), "0.50"),
        *(
            (f"held-out texts, {kind}, first of seven right", within(t["first right"]), "about 0.2")
            for kind, t in texts.items()
        ),
        *(
            (f"song for a page, {kind}, P@5", within(q[f"choices, {kind}"]["P@5"]), within(
                q[f"choices, {kind}"]["P@5 by chance"]))
            for kind in ("image", "image and dialogue")
        ),
        *(
            (f"song for a page, {kind}, gain", within(q[f"choices, {kind}"]["gain"],
                q[f"choices, {kind}"]["gain interval"]), "0 = best single song")
            for kind in ("image", "image and dialogue")
        ),
        (
            "share of pages that the commonest song takes",
            within(q["choices, image"]["share of the commonest song"]),
            f"{1 / songs['count']:.2f} at least",
        ),
    ]  # fmt: skip
    return "\n".join(
        ["| what | figure [95 % interval] | chance |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    )


def pytorch_table() -> str:
    """Full-size AudioCLIP beside PyTorch."""
    figures = load("bench_full")["figures"]
    known, variants = Figures(figures), [PYTORCH, *figures["precisions"]]
    head = ["work", "PyTorch, eager float32", *(h for p in variants[1:] for h in (p, f"{p}, better by"))]
    rows = []
    for kind, name in (("warm", "window"), ("warm", "image encoder"), ("warm", "text"), ("cold", "later run")):
        label = (known.stages if kind == "warm" else known.programs)[name]
        measured = [known.row(kind, name, variant) for variant in variants]
        factors = [times(known.ratio(kind, name, variant, PYTORCH)) for variant in variants[1:]]
        rows.append([label, *_beside([row and duration(row["seconds"]["p50"]) for row in measured], factors)])
    peaks = [row and row["peak_mib"] for row in (known.row("cold", "later run", variant) for variant in variants)]
    sizes = [figures["bytes"][variant] / 1e6 for variant in ("checkpoint", *variants[1:])]
    for label, unit, values in (("peak memory of that process", "MiB", peaks), ("on disk", "MB", sizes)):
        factors = [f"{values[0] / value:.1f}x" if value else "" for value in values[1:]]
        rows.append([label, *_beside([value and f"{value:.0f} {unit}" for value in values], factors)])
    return "\n".join(_table(head, rows))


def _beside(values: list[str | None], factors: list[str]) -> list[str]:
    """The first value, then each other one with its factor; nothing where there is none."""
    pairs = zip(values[1:], factors, strict=True)
    return [values[0] or "", *(cell for value, factor in pairs for cell in ((value, factor) if value else ("", "")))]


def _median_and_spread(row: dict[str, Any]) -> list[str]:
    low, median, high = (duration(row["seconds"][p]) for p in ("p5", "p50", "p95"))
    return [median, f"{low.removesuffix(' ms')} - {high}" if high.endswith(" ms") else f"{low} - {high}"]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    first, *others = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return [first, "|" + "---|" * len(head), *others]


def int8_table() -> str:
    """What int8 costs the towers of the default model, by the way of rounding."""
    towers = {tower: load(f"int8_{tower}")["figures"]["noise"] for tower in ("image", "audio")}
    kinds = ("integer arithmetic", "the kernels here")
    head = ["weights", *(f"{tower}, {kind}" for tower in towers for kind in kinds)]
    rows = [
        [way, *(f"{noise[way][kind]:.4f}" for noise in towers.values() for kind in kinds)] for way in towers["image"]
    ]
    return "\n".join(_table(head, rows))


TABLES = {"figures": speed_table, "quality": quality_table, "pytorch": pytorch_table, "int8": int8_table}


def rendered(text: str) -> str:
    """The document with every table made anew."""
    for name, make in TABLES.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if block.search(text):
            table = make()
            text = block.sub(lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text)
    return text


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail if a document does not agree with the results.")
def main(check: bool) -> None:
    """Bring the documents up to date with the stored results."""
    for path in DOCUMENTS:
        old = path.read_text(encoding="utf-8")
        new = rendered(old)
        if check and new != old:
            raise click.ClickException(f"{path.name} does not agree with benchmarks/results: run benchmarks/report.py")
        if new != old:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
