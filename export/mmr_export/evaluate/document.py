"""The report of `mmr evaluate`: one HTML file, from an assessment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmr_export.evaluate.assess import BETWEEN, OF_A_CLASS, Assessment
from mmr_export.evaluate.classification import calibration
from mmr_export.evaluate.tables import FIRST, Table
from mmr_export.html import Section, page, paragraph, plot, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EXPLAINED = {
    "of the first three": "Share of a query's first three candidates that have the class, mean over all queries of the "
    "row. By chance it is the class's share of all candidates.",
    "posterior": "Softmax over the classes of scale * mean cosine to the candidates of a class, mean over all queries.",
    "as published": "Made as the paper's public code makes it, faults included (docs/training.md): not to be read as "
    "retrieval.",
}
SUMMARY = ("data", "figure", "value [95 % interval]", "baseline", "judged")


def figure(value: Any, digits: int = 3) -> str:
    """A figure, with its interval where it has one."""
    if isinstance(value, list):
        middle, low, high = (figure(v, digits) for v in value)
        return middle if low == "-" else f"{middle} [{low}, {high}]"
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def first_three(found: Table, row: int, *, intervals: bool) -> list[str]:
    """The highest columns of a row in words, `Sad 0.41 [0.30, 0.52]`; a dash where there is none."""
    parts = []
    for column in found.first(row):
        value, low, high = (float(part[row, column]) for part in (found.values, found.low, found.high))
        text = figure([value, low, high] if intervals else value, 2).replace(" ", "\N{NO-BREAK SPACE}")
        parts.append(f"{found.columns[column]} {text}")
    return [*parts, "-", "-", "-"][:FIRST]


def summary(data: Mapping[str, Any]) -> list[list[str]]:
    """Rows of `SUMMARY`: what is measured against a baseline, of every data set of `Assessment.to_json`, and folds."""
    rows = []
    for name, figures in data.items():
        baseline = figures.get("baseline", {})
        parts = [("", figures), *((f"{way}, ", figures[way]) for way in figures if " to " in way)]
        rows += [
            [name, f"{way}{key}", figure(part[key]), figure(baseline[key]), figures["judged"]]
            for way, part in parts
            for key in baseline
            if key in part
        ]
        folds = figures.get("folds", {"accuracy": {}})
        if len(folds["accuracy"]) > 1:
            way = f"accuracy, mean ± standard deviation of {len(folds['accuracy'])} folds"
            rows.append([name, way, _of_folds(folds), figure(baseline["accuracy"]), figures["judged"]])
    return rows


def _of_folds(folds: Mapping[str, Any]) -> str:
    return f"{figure(folds['mean'])} ± {figure(folds['standard deviation'])}"


def document(found: Assessment) -> str:
    """The whole report."""
    content = found.to_json()
    baseline = paragraph("Baseline: the same answer for every item; for pairs, a random order.")
    sections = [Section("At a glance", table(SUMMARY, summary(content["data"])) + baseline)]
    for name, figures in content["data"].items():
        arrays = found.arrays.get(name, {})
        if "classes" in figures:
            sections.append(Section(name, _classes(figures, arrays)))
        elif name == BETWEEN:
            sections.append(Section(name.capitalize(), _space(figures, arrays)))
        else:
            sections.append(Section(name, _retrieval(figures)))
    sections += [Section(t.title.capitalize(), _heat(t)) for t in found.tables]
    lead = (
        f"Model {found.model}. Values in brackets are 95 % intervals of a bootstrap that draws whole titles, videos or "
        "recordings where a data set has them; a figure of a single title has none."
    )
    return page("Evaluation", lead, sections)


def _classes(figures: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    names = list(figures["classes"])
    rows = [
        [name, *(figure(own[key], 2) for key in OF_A_CLASS), own["items"]] for name, own in figures["classes"].items()
    ]
    parts = [
        paragraph(
            f"{figures['items']} items of {figures['groups']} groups: {figures['judged']}. Calibration error "
            f"{figure(figures['calibration error'])}; modality gap to the classes' names "
            f"{figure(figures['modality gap'])}."
        ),
        table(["class", *OF_A_CLASS, "items"], rows),
    ]
    if figures["classes without items"]:
        parts.append(paragraph(f"Without items, and in no mean: {', '.join(figures['classes without items'])}."))
    if "folds" in figures:
        folds = figures["folds"]
        rows = [[f"fold {f}", figure(value)] for f, value in folds["accuracy"].items()]
        rows.append(["mean ± standard deviation", _of_folds(folds)])
        parts.append(table(["fold", "accuracy"], rows))
    matrix = np.array(figures["confusion"])
    side = 2.6 + 0.32 * len(names)
    parts.append(plot(_matrix(matrix, names, names, "predicted", "true"), "Confusion matrix", width=side, height=side))
    parts.append(plot(_reliability(arrays["labels"], arrays["posterior"]), "Reliability of the posterior"))
    return "\n".join(parts)


def _space(figures: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    def draw(axes: Axes) -> None:
        counts = arrays["occurrences"]
        axes.hist(counts, bins=20, color="#4477aa")
        axes.set(xlabel="pages that have a song among their first ten", ylabel="songs")

    text = (
        f"{figures['pages']} pages, {figures['songs']} songs. Modality gap {figure(figures['modality gap'])}, hubness "
        f"(skewness of how often a song is among the first ten) {figure(figures['hubness'])}."
    )
    return paragraph(text) + plot(draw, "How often each song is among the first ten of a page")


def _retrieval(figures: Mapping[str, Any]) -> str:
    ways = [k for k in figures if " to " in k]
    names = list(figures[ways[0]])
    text = (
        f"{figures['items']} items: {figures['judged']}. Modality gap {figure(figures['modality gap'])}, hubness "
        f"{figure(figures['hubness'])}. Candidates that are as similar as the partner stand before it."
    )
    return paragraph(text) + table(["way", *names], [[w, *(figure(figures[w][n]) for n in names)] for w in ways])


def _heat(found: Table) -> str:
    why = next(text for end, text in _EXPLAINED.items() if found.title.endswith(end))
    size = {"width": 3.2 + 0.5 * len(found.columns), "height": 1.6 + 0.34 * len(found.rows)}
    rows = [[name, *first_three(found, i, intervals=True), int(found.counts[i])] for i, name in enumerate(found.rows)]
    drawn = plot(_matrix(found.values, found.rows, found.columns, "", ""), found.title, **size)
    return paragraph(why) + drawn + table(["query", "first", "second", "third", "queries"], rows)


def _matrix(values: NDArray[Any], rows: Any, columns: Any, across: str, down: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.imshow(values, cmap="Blues", aspect="auto", vmin=0)
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel=across, ylabel=down)
        whole = np.nanmax(values, initial=0) > 1  # numbers of items, not shares
        middle = np.nanmax(values) / 2 if not np.isnan(values).all() else 0
        for (r, c), value in np.ndenumerate(values):
            if not np.isnan(value) and (value or not whole):
                text = f"{value:.3g}" if whole else f"{value:.2f}"
                axes.text(c, r, text, ha="center", va="center", color="white" if value > middle else "#222", fontsize=7)

    return draw


def _reliability(labels: NDArray[np.bool_], posterior: NDArray[np.float64]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        found = calibration(labels, posterior)
        axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
        axes.plot(found.confidence, found.accuracy, marker="o", color="#4477aa", clip_on=False)
        axes.set(xlabel="posterior of the predicted class", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))

    return draw
