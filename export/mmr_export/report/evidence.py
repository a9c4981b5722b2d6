"""What a bundle brings to its quality report.

The manifest has the figures of the gate. `quality.npz`, where the exporter left it, has what they were taken from: the
vectors of the gate's inputs in every precision, as arrays `SET.TOWER.PRECISION` (n, d), and what each input was, as
`SET.TOWER.names` (n,).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmr_export.quality import EVIDENCE, MIN_COSINE, MIN_OVERLAP, neighbour_scores, top_overlap
from mmr_runtime.bundle import MANIFEST, PRECISIONS, TOWERS, Bundle, Manifest
from mmr_runtime.engine import unit_rows
from mmr_runtime.errors import BundleError

Floats = NDArray[np.float32]

REFERENCE = "fp32"
_BOUNDS = (("mean_cosine", "mean cosine", MIN_COSINE), ("top10_overlap", "top-10 overlap", MIN_OVERLAP))
_ARRAY = re.compile(rf"(.+)\.({'|'.join(TOWERS)})\.({'|'.join((*PRECISIONS, 'names'))})")
_AGAIN = "export the bundle again, or copy it again"


# -- figures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What the gate found for one graph.

    Attributes:
        tower: its tower.
        precision: its precision.
        passed: whether it passed.
        method: how it was made.
        float_nodes: nodes that stay float32.
        inputs: use (`calibration`, `selection`) -> number of inputs.
        sets: set of inputs -> the manifest's key of a figure -> its value.
    """

    tower: str
    precision: str
    passed: bool
    method: str
    float_nodes: tuple[str, ...]
    inputs: Mapping[str, int]
    sets: Mapping[str, Mapping[str, float]]

    def least(self, figure: str) -> float:
        """A figure in the set where it is least."""
        return min(figures[figure] for figures in self.sets.values())

    def failures(self) -> list[str]:
        """Each bound that a set missed, in words."""
        return [
            f"{self.tower} {self.precision}, {name}: {words} {figures[figure]:.4f}, at least {bound}"
            for name, figures in self.sets.items()
            for figure, words, bound in _BOUNDS
            if figures[figure] < bound
        ]


@dataclass(frozen=True)
class Retrieval:
    """What becomes of the ranking of a set's songs for its pages.

    Attributes:
        precision: against float32.
        name: of the set of inputs.
        figures: the manifest's key of a figure -> its value.
    """

    precision: str
    name: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Quality:
    """The manifest's `quality`, checked.

    Attributes:
        verdicts: of every graph that went through the gate, tower by tower.
        retrievals: songs for pages.
        proof: tower -> how far the float32 graph is from PyTorch.
        front_end: its form and error in dB; empty without an audio tower.
    """

    verdicts: Sequence[Verdict]
    retrievals: Sequence[Retrieval]
    proof: Mapping[str, Mapping[str, float]]
    front_end: Mapping[str, str | float]


def read_quality(manifest: Manifest) -> Quality:
    """What was measured when the bundle was made.

    Raises:
        BundleError: it is not what the exporter writes.
    """
    content = manifest.quality
    try:
        return Quality(
            [
                _verdict(tower, precision, content[precision][tower])
                for tower in TOWERS
                for precision in PRECISIONS
                if tower in content.get(precision, {})
            ],
            [
                Retrieval(precision, name, _numbers(figures))
                for precision, sets in content.get("end_to_end", {}).items()
                for name, figures in sets.items()
            ],
            {tower: _numbers(content["proof"][tower]) for tower in TOWERS if tower in content.get("proof", {})},
            {key: value if key == "form" else float(value) for key, value in content.get("front_end", {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{MANIFEST}: quality cannot be read: {error!r:.80}", _AGAIN) from error


def _verdict(tower: str, precision: str, entry: dict[str, Any]) -> Verdict:
    # Bundles of the first release have one set, the figures of which stand beside the rest.
    sets = entry["sets"] if "sets" in entry else {"gate": {"count": entry["inputs"]["gate"], **entry}}
    verdict = Verdict(
        tower,
        precision,
        bool(entry["passed"]),
        str(entry["method"]),
        tuple(map(str, entry["float_nodes"])),
        {use: int(count) for use, count in entry["inputs"].items()},
        {name: _numbers(figures) for name, figures in sets.items()},
    )
    if not verdict.sets:
        raise ValueError("a verdict without figures")
    verdict.failures()  # needs the figures that the gate is about
    return verdict


def _numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in figures.items() if isinstance(v, int | float) and not isinstance(v, bool)}


# -- vectors ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vectors:
    """Vectors of the same inputs in several precisions.

    Attributes:
        names: what each input was, (n,).
        rows: precision -> unit rows, float32 (n, d); `fp32` is always there.
    """

    names: Sequence[str]
    rows: Mapping[str, Floats]

    def cosines(self, precision: str) -> Floats:
        """Of each vector with its float32 counterpart, (n,)."""
        cosines: Floats = (self.rows[REFERENCE] * self.rows[precision]).sum(axis=1)
        return cosines


@dataclass(frozen=True)
class Ranking:
    """Scores by which things are ranked.

    Attributes:
        name: of the set of inputs.
        what: is ranked for what.
        reference: float32, (queries, things).
        scores: in another precision, (queries, things).
    """

    name: str
    what: str
    reference: Floats
    scores: Floats

    def overlap(self, k: int) -> float:
        """Share of a query's k best things that stay among its k best, mean over the queries."""
        return top_overlap(self.scores, self.reference, k)


@dataclass(frozen=True)
class Evidence:
    """The vectors that the gate's figures were taken from.

    Attributes:
        sets: set of inputs -> tower -> vectors.
    """

    sets: Mapping[str, Mapping[str, Vectors]]

    def precisions(self) -> list[str]:
        """Those beside float32."""
        there = {p for towers in self.sets.values() for vectors in towers.values() for p in vectors.rows}
        return [p for p in PRECISIONS if p in there and p != REFERENCE]

    def of(self, tower: str, precision: str) -> dict[str, Vectors]:
        """Set -> vectors of the tower, where the precision is there too."""
        found = {name: towers[tower] for name, towers in self.sets.items() if tower in towers}
        return {name: vectors for name, vectors in found.items() if precision in vectors.rows}

    def neighbours(self, tower: str, precision: str) -> Iterator[Ranking]:
        """How each set's inputs of a tower rank for each other; nobody ranks for itself, its score is -inf."""
        for name, vectors in self.of(tower, precision).items():
            reference, scores = (neighbour_scores(vectors.rows[p]) for p in (REFERENCE, precision))
            yield Ranking(name, f"{tower} for {tower}", reference, scores)

    def songs_for_pages(self, precision: str) -> Iterator[Ranking]:
        """How each set's songs rank for its pages, by cosine."""
        pages, songs = self.of("image", precision), self.of("audio", precision)
        for name in pages:
            if name in songs:
                reference, scores = (pages[name].rows[p] @ songs[name].rows[p].T for p in (REFERENCE, precision))
                yield Ranking(name, "songs for pages", reference, scores)


def read_evidence(bundle: Bundle) -> Evidence | None:
    """Vectors of the gate's inputs, or None where the bundle brings none.

    Raises:
        BundleError: the file cannot be read, or an array is missing, unknown or of another shape than its counterpart.
    """
    if EVIDENCE not in bundle.manifest.files:
        return None
    path = bundle.path(EVIDENCE)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"cannot read {path}: {error}", _AGAIN) from error
    parts: dict[tuple[str, str], dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        found = _ARRAY.fullmatch(name)
        if found is None:
            raise BundleError(f"{path}: no tower and precision are called {name!r:.60}", _AGAIN)
        parts.setdefault((found[1], found[2]), {})[found[3]] = array
    sets: dict[str, dict[str, Vectors]] = {}
    for (name, tower), own in parts.items():
        sets.setdefault(name, {})[tower] = _vectors(f"{path}: {name}.{tower}", own)
    return Evidence(sets)


def _vectors(where: str, arrays: dict[str, NDArray[Any]]) -> Vectors:
    for needed in (REFERENCE, "names"):
        if needed not in arrays:
            raise BundleError(f"{where}.{needed} is missing", _AGAIN)
    names = arrays.pop("names")
    shape = arrays[REFERENCE].shape
    for precision, array in arrays.items():
        if array.dtype not in (np.float32, np.float16) or array.ndim != 2 or array.shape != shape or not array.size:
            raise BundleError(f"{where}.{precision} is not an array {shape} of floats", _AGAIN)
        if not np.isfinite(array).all():
            raise BundleError(f"{where}.{precision} holds what is not finite", _AGAIN)
    if names.dtype.kind != "U" or names.shape != shape[:1]:
        raise BundleError(f"{where}.names is not one text for each of {shape[0]} inputs", _AGAIN)
    return Vectors(names.tolist(), {p: unit_rows(array.astype(np.float32)) for p, array in arrays.items()})
