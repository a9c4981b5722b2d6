"""The quality report as one HTML document: tables of what the manifest says, plots of the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmr_export import html
from mmr_export.quality import EVIDENCE, MIN_COSINE, MIN_OVERLAP, TOP
from mmr_runtime.bundle import PRECISIONS, TOWERS, Bundle, Manifest, Tower

from .evidence import REFERENCE, Evidence, Quality, Ranking, Vectors, read_evidence, read_quality
from .latency import Milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FIGURES = {
    "mean_cosine": "mean cosine",
    "p1_cosine": "1st percentile",
    "min_cosine": "least",
    "top10_overlap": f"top-{TOP} overlap",
    "noise": "noise",
    "first_mood_kept": "first mood kept",
    "mood_change": "mood change",
}
_TOP_KS = (1, 3, 5, 10, 20)
_WORST = 5
_SCATTER_POINTS = 1500
"""At most so many of each set: every point is an element of the document."""
_MAX_NINES = 7.0
"""1 - cosine of 1e-7: below is nothing but the rounding of float32."""
_ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False, "fontsize": 8}
_ASIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False, "fontsize": 8}
"""Where legends stand: outside, for anything may lie inside."""


def report_html(bundle: Bundle, latencies: Milliseconds | None) -> str:
    """The whole report.

    Args:
        bundle: what it is about.
        latencies: measured ones, or None to leave them out.

    Raises:
        BundleError: the bundle's figures or evidence cannot be read.
        DeviceError: matplotlib is not installed.
    """
    manifest = bundle.manifest
    quality, evidence = read_quality(manifest), read_evidence(bundle)
    sections = [html.Section("Verdicts of the gate", _verdicts(quality, evidence))]
    if quality.verdicts:
        sections.append(html.Section("How the graphs were made", _making(quality)))
    if evidence:
        sections += _cosines(evidence)
    if evidence or quality.retrievals:
        sections.append(html.Section("Scores and rankings", _rankings(quality, evidence)))
    sections.append(html.Section("Float32 against PyTorch", _proof(quality)))
    sections.append(html.Section("Size and latency", _costs(manifest, latencies)))
    size = sum(facts.bytes for facts in manifest.files.values()) / 1e6
    made_with = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    lead = f"{manifest.id}: {size:.1f} MB, vectors of {manifest.embedding_size} numbers; made with {made_with}."
    return html.page("Quality report", lead, sections)


# -- tables -----------------------------------------------------------------------------------------------------------


def _verdicts(quality: Quality, evidence: Evidence | None) -> str:
    if not quality.verdicts:
        return html.paragraph("The bundle holds no graph that had to pass the gate.")
    all_sets = [figures for verdict in quality.verdicts for figures in verdict.sets.values()]
    shown = [figure for figure in _FIGURES if any(figure in figures for figures in all_sets)]
    rows = [
        (
            verdict.tower,
            verdict.precision,
            "passed" if verdict.passed else "NOT PASSED",
            name,
            f"{figures.get('count', 0):.0f}",
            *(f"{figures[figure]:.4f}" if figure in figures else "" for figure in shown),
        )
        for verdict in quality.verdicts
        for name, figures in verdict.sets.items()
    ]
    parts = [
        html.paragraph(
            f"Against float32, on inputs that calibration never saw. The gate: a mean cosine of at least {MIN_COSINE}, "
            f"and of the {TOP} nearest others at least {MIN_OVERLAP:.0%} kept. Noise is the energy of the differences "
            "relative to the spread of the inputs; a mood changes by the difference of its share."
        ),
        html.table(("tower", "precision", "verdict", "set", "inputs", *(_FIGURES[figure] for figure in shown)), rows),
        *(html.paragraph(line, bad=True) for verdict in quality.verdicts for line in verdict.failures()),
    ]
    if evidence is None:
        parts.append(
            html.paragraph(f"The evidence ({EVIDENCE}) is not in the bundle: here are its figures, without plots.")
        )
    return "".join(parts)


def _making(quality: Quality) -> str:
    rows = [
        (
            verdict.tower,
            verdict.precision,
            verdict.method,
            verdict.inputs.get("calibration", ""),
            verdict.inputs.get("selection", ""),
            ", ".join(verdict.float_nodes) or "none",
        )
        for verdict in quality.verdicts
    ]
    head = ("tower", "precision", "method", "inputs of calibration", "inputs of selection", "nodes in float32")
    return html.table(head, rows)


def _proof(quality: Quality) -> str:
    rows = [
        (
            tower,
            f"{proof.get('inputs', 0):.0f}",
            _power(proof.get("one_minus_cosine")),
            _power(proof.get("end_to_end")),
        )
        for tower, proof in quality.proof.items()
    ]
    body = html.table(("tower", "inputs", "1 - cosine of the graph", "1 - cosine from samples on"), rows)
    if quality.front_end:
        form, error = quality.front_end.get("form"), quality.front_end.get("error_db")
        body += html.paragraph(f"Front end: {form}, {error} dB from dense.")
    return body


def _power(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


# -- cosines ----------------------------------------------------------------------------------------------------------


def _cosines(evidence: Evidence) -> Iterator[html.Section]:
    for tower in TOWERS:
        parts, worst = [], []
        for precision in evidence.precisions():
            sets = evidence.of(tower, precision)
            if not sets:
                continue
            caption = f"{tower}, {precision}: cosines with float32; the gate is for their mean"
            parts.append(html.plot(_histogram(sets, precision), caption))
            inputs = [
                (float(cosine), name, what)
                for name, vectors in sets.items()
                for cosine, what in zip(vectors.cosines(precision), vectors.names, strict=True)
            ]
            worst += [(precision, name, what, f"{cosine:.6f}") for cosine, name, what in sorted(inputs)[:_WORST]]
        if parts:
            table = html.table(("precision", "set", f"the {_WORST} inputs that changed most", "cosine"), worst)
            yield html.Section(f"Cosines with float32: {tower}", "".join(parts) + table)


def _histogram(sets: Mapping[str, Vectors], precision: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        # On a scale of nines 0.99, 0.999 and 0.9999 are as far apart: cosines crowd below 1.
        cosines = {name: vectors.cosines(precision) for name, vectors in sets.items()}
        nines = [_nines(values) for values in cosines.values()]
        gate = float(_nines(np.array(MIN_COSINE)))
        low, high = (float(edge) for edge in np.quantile(np.concatenate([*nines, [gate - 0.5, gate + 0.5]]), [0, 1]))
        labels = [f"{name}, mean {values.mean():.4f}" for name, values in cosines.items()]
        axes.hist(nines, bins=np.linspace(low, high, 31).tolist(), stacked=True, label=labels)
        axes.axvline(gate, color="black", linestyle="--", linewidth=1, label=f"gate, {MIN_COSINE}")
        ticks = range(int(np.ceil(low)), int(high) + 1)
        axes.set_xticks(ticks, [f"{1 - 10.0**-tick:.{tick}f}" if tick < 5 else f"1 - 1e-{tick}" for tick in ticks])
        axes.set(xlabel="cosine", ylabel="inputs")
        axes.legend(**_ABOVE)

    return draw


def _nines(cosines: NDArray[Any]) -> NDArray[Any]:
    """1 for 0.9, 2 for 0.99, and so on."""
    nines: NDArray[Any] = -np.log10(np.clip(1 - cosines, 10**-_MAX_NINES, 1))
    return nines


# -- scores and rankings ----------------------------------------------------------------------------------------------


def _rankings(quality: Quality, evidence: Evidence | None) -> str:
    parts = []
    if quality.retrievals:
        parts.append(html.paragraph("The songs of a set, ranked for its pages by cosine, against float32:"))
        rows = [
            (
                found.precision,
                found.name,
                f"{found.figures.get('pages', 0):.0f}",
                f"{found.figures.get('songs', 0):.0f}",
                *(f"{found.figures[k]:.4f}" if k in found.figures else "" for k in _RETRIEVAL),
            )
            for found in quality.retrievals
        ]
        parts.append(html.table(("precision", "set", "pages", "songs", *_RETRIEVAL.values()), rows))
    if evidence:
        for precision in evidence.precisions():
            parts += _ranking_plots(evidence, precision)
    return "".join(parts)


_RETRIEVAL = {
    "top10_overlap": f"top-{TOP} overlap",
    "first_song_kept": "first song kept",
    "score_change": "change of a score",
}


def _ranking_plots(evidence: Evidence, precision: str) -> Iterator[str]:
    songs = list(evidence.songs_for_pages(precision))
    neighbours = [ranking for tower in TOWERS for ranking in evidence.neighbours(tower, precision)]
    # Without pages and songs, the scores of a tower's inputs among each other have to do.
    yield html.plot(_scatter(songs or neighbours, precision), f"Scores (cosines) in float32 and {precision}")
    caption = f"{precision}: share of the k best that stay among the k best"
    yield html.plot(_overlaps([*neighbours, *songs]), caption, width=6.4)


def _scatter(rankings: Sequence[Ranking], precision: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        rng = np.random.default_rng(0)
        for ranking in rankings:
            there = np.isfinite(ranking.reference)
            points = np.stack((ranking.reference[there], ranking.scores[there]))
            chosen = rng.permutation(points.shape[1])[:_SCATTER_POINTS]
            label = f"{ranking.name}, {ranking.what} ({len(chosen)} of {points.shape[1]})"
            axes.plot(*points[:, chosen], ".", markersize=2, alpha=0.5, label=label)
        axes.axline((0, 0), slope=1, color="black", linewidth=0.5)
        axes.set(xlabel=REFERENCE, ylabel=precision)
        axes.legend(**_ABOVE, markerscale=4)

    return draw


def _overlaps(rankings: Sequence[Ranking]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        names = list(dict.fromkeys(ranking.name for ranking in rankings))
        whats = list(dict.fromkeys(ranking.what for ranking in rankings))
        for ranking in rankings:
            # Among k things the k best are all of them.
            ks = [k for k in _TOP_KS if k < np.isfinite(ranking.reference).sum(axis=1).min()]
            style = ("-", "--", ":", "-.")[names.index(ranking.name) % 4]
            label = f"{ranking.what}, {ranking.name}"
            overlaps = [ranking.overlap(k) for k in ks]
            axes.plot(ks, overlaps, style, marker="o", markersize=3, color=f"C{whats.index(ranking.what)}", label=label)
        axes.plot([TOP], [MIN_OVERLAP], "k_", markersize=14, label=f"gate, {MIN_OVERLAP} at {TOP}")
        axes.set_xscale("log")
        axes.set_xticks(_TOP_KS, [str(k) for k in _TOP_KS])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="k", ylabel="share kept", ylim=(None, 1.01))
        axes.legend(**_ASIDE)

    return draw


# -- costs ------------------------------------------------------------------------------------------------------------


def _costs(manifest: Manifest, latencies: Milliseconds | None) -> str:
    sizes = {
        tower: {p: manifest.files[graphs[p].file].bytes / 1e6 for p in PRECISIONS if p in graphs}
        for tower in TOWERS
        if (graphs := manifest.graphs.get(tower, {}))
    }
    body = html.plot(_bars(sizes, "MB"), "Size of each graph")
    if latencies is not None:
        body += html.plot(_bars(latencies, "ms"), "One input on this machine, one thread, median")
    rows = [
        (name, f"{facts.bytes / 1e6:.2f}")
        for name, facts in sorted(manifest.files.items(), key=lambda item: -item[1].bytes)
    ]
    return body + html.table(("file", "MB"), rows)


def _bars(groups: Mapping[Tower, Mapping[str, float]], unit: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        precisions = [p for p in PRECISIONS if any(p in values for values in groups.values())]
        width = 0.8 / len(precisions)
        for i, precision in enumerate(precisions):
            places = [g for g, values in enumerate(groups.values()) if precision in values]
            heights = [values[precision] for values in groups.values() if precision in values]
            offset = (i - (len(precisions) - 1) / 2) * width
            bars = axes.bar([place + offset for place in places], heights, width, label=precision)
            axes.bar_label(bars, fmt="%.3g", fontsize=7)
        axes.set_xticks(range(len(groups)), list(groups))
        axes.set_ylabel(unit)
        axes.legend(**_ABOVE, ncols=len(precisions))

    return draw
