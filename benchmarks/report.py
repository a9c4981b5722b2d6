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

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "model-card.md")


def load(name: str) -> dict[str, Any]:
    """Figures and host of results/NAME.json."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def speed_table() -> str:
    """Speed, memory and size of the default model."""
    result, cold = load("speed"), load("cold_start")["figures"]["programs"]["first ranked page"]
    figures, host = result["figures"], result["host"]
    times = figures["milliseconds"].items()
    size = figures["bytes"]["all files"] / 1e6
    return "\n".join(
        [
            f"{host['processor']}, one thread, `{figures['model']}` ({size:.1f} MB in all), "
            f"onnxruntime {host['versions']['onnxruntime']}:",
            "",
            "| work | median | 5 % - 95 % |",
            "|---|---|---|",
            *(f"| {name} | {t['median']:.1f} ms | {t['p5']:.1f} - {t['p95']:.1f} |" for name, t in times),
            *(
                f"| process start to the first ranked page, {state} | {c['seconds']:.2f} s | peak memory "
                f"{c['peak MiB']:.0f} MiB |"
                for state, c in cold.items()
            ),
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
    figures = load("against_pytorch")["figures"]
    rows = [
        f"| {what} | {row['PyTorch']['milliseconds']:.0f} ms | {row['fp32']['times faster']:.1f}x | "
        f"{row['int8']['milliseconds']:.1f} ms | {row['int8']['times faster']:.1f}x |"
        for what, row in figures["work"].items()
    ]
    sizes = {name: size / 1e6 for name, size in figures["bytes of the graphs"].items()}
    smaller = sizes["checkpoint"] / sizes["int8"]
    size = f"| on disk | {sizes['checkpoint']:.0f} MB | | {sizes['int8']:.0f} MB | {smaller:.1f}x |"
    head = ["| work | PyTorch, eager float32 | fp32, faster by | int8 | faster by |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, size])


TABLES = {"figures": speed_table, "quality": quality_table, "pytorch": pytorch_table}


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
