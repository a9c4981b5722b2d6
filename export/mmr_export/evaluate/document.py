"""The report of `mmr evaluate`: one HTML file, from an assessment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmr_export.evaluate.assess import BETWEEN, Assessment
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


def figure(value: Any, digits: int = 3) -> str:
    """A figure, with its interval where it has one."""
    if isinstance(value, list):
        middle, low, high = (figure(v, digits) for v in value)
        return f"{middle} [{low}, {high}]"
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def first_three(found: Table, row: int, *, intervals: bool) -> list[str]:
    """The highest columns of a row in words, `Sad 0.41 [0.30, 0.52]`; three dashes for a row without queries."""
    parts = []
    for column in found.first(row):
        value, low, high = (float(part[row, column]) for part in (found.values, found.low, found.high))
        known = intervals and not np.isnan(low)
        parts.append(f"{found.columns[column]} {figure([value, low, high] if known else value, 2)}")
    return [*parts, "-", "-", "-"][:FIRST]


def document(found: Assessment) -> str:
    """The whole report."""
    content = found.to_json()
    sections = [Section("At a glance", _summary(content["data"]))]
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
        "recordings where a data set has them."
    )
    return page("Evaluation", lead, sections)


def _summary(data: Mapping[str, Any]) -> str:
    rows = []
    for name, figures in data.items():
        for key in ("accuracy", "mAP"):
            if key in figures:
                chance = figure(figures["chance"][key])
                rows.append([name, key, figure(figures[key]), f"chance {chance}", figures["judged"]])
        for way in (k for k in figures if " to " in k):
            recalls = [f"{k} {figure(v)}" for k, v in figures[way].items()]
            rows.append([name, way, recalls[0], ", ".join(recalls[1:]), figures["judged"]])
    return table(["data", "figure", "value", "beside it", "judged"], rows)


def _classes(figures: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    names = list(figures["classes"])
    keys = ["average precision", "precision", "recall", "F1"]
    rows = [
        [name, *(figure(figures["classes"][name][key]) for key in keys), f"{figures['classes'][name]['items']:g}"]
        for name in names
    ]
    parts = [
        paragraph(
            f"{figures['items']} items of {figures['groups']} groups: {figures['judged']}. Calibration error "
            f"{figure(figures['calibration error'])}; modality gap to the classes' names "
            f"{figure(figures['modality gap'])}."
        ),
        table(["class", *keys, "items"], rows),
    ]
    if figures["classes without items"]:
        parts.append(paragraph(f"Without items, and in no mean: {', '.join(figures['classes without items'])}."))
    if "folds" in figures:
        folds = figures["folds"]
        rows = [[f"fold {f}", figure(value)] for f, value in folds["accuracy"].items()]
        rows.append(["mean ± standard deviation", f"{figure(folds['mean'])} ± {figure(folds['standard deviation'])}"])
        parts.append(table(["fold", "accuracy"], rows))
    matrix = np.array(figures["confusion"])
    side = 2.6 + 0.32 * len(names)
    parts.append(
        plot(_matrix(matrix, names, names, "said", "is"), "What is said of each class", width=side, height=side)
    )
    parts.append(plot(_reliability(arrays["labels"], arrays["posterior"]), "Calibration: said and found"))
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
        f"{figure(figures['hubness'])}. As similar candidates stand before the partner."
    )
    return paragraph(text) + table(["way", *names], [[w, *(figure(figures[w][n]) for n in names)] for w in ways])


def _heat(found: Table) -> str:
    why = next(text for end, text in _EXPLAINED.items() if found.title.endswith(end))
    size = {"width": 3.2 + 0.5 * len(found.columns), "height": 1.6 + 0.34 * len(found.rows)}
    rows = [[name, first_three(found, i, intervals=True), int(found.counts[i])] for i, name in enumerate(found.rows)]
    drawn = plot(_matrix(found.values, found.rows, found.columns, "", ""), found.title, **size)
    return paragraph(why) + drawn + table(["query", "first", "second", "third", "queries"], rows)


def _matrix(values: NDArray[Any], rows: Any, columns: Any, across: str, down: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.imshow(values, cmap="Blues", aspect="auto", vmin=0)
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel=across, ylabel=down)
        middle = np.nanmax(values) / 2 if not np.isnan(values).all() else 0
        for (r, c), value in np.ndenumerate(values):
            if not np.isnan(value):
                text = f"{value:.0f}" if values.max() > 1 else f"{value:.2f}"
                axes.text(c, r, text, ha="center", va="center", color="white" if value > middle else "#222", fontsize=7)

    return draw


def _reliability(labels: NDArray[np.bool_], posterior: NDArray[np.float64]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        found = calibration(labels, posterior)
        axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
        axes.plot(found.confidence, found.accuracy, marker="o", color="#4477aa")
        axes.set(xlabel="posterior of the first class", ylabel="how often it is right", xlim=(0, 1), ylim=(0, 1))

    return draw
