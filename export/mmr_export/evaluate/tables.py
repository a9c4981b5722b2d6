"""The paper's two tables, moods of a genre's pages and genres of a mood's songs, measured over all queries.

Two readings of a query against candidates of known classes:

- share: of its first three candidates, the share that has a class. It says what a listener would get; beside it stands
  the share by chance, which is the class's share of the candidates.
- posterior: softmax over the classes of scale * (mean cosine to the candidates of the class). It does not depend on how
  many candidates there are, as a softmax over candidates does.

Both are means over all queries of a row, with intervals over the groups (titles, videos) that were drawn.
`mmr_export.evaluate.published` has the original's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmr_export.evaluate.bootstrap import LEAST_GROUPS, draws, members, percentiles
from mmr_export.evaluate.classification import softmax

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Reading = Literal["share", "posterior"]
FIRST = 3


@dataclass(frozen=True, eq=False)
class Side:
    """Queries or candidates.

    Attributes:
        labels: bool (n, k), whether an item has a class.
        classes: k names.
        groups: of every item.
    """

    labels: Labels
    classes: Sequence[str]
    groups: Sequence[str]


@dataclass(frozen=True, eq=False)
class Table:
    """Classes of queries by classes of candidates.

    Attributes:
        title: what it says.
        rows: r names.
        columns: c names.
        values: (r, c), mean over the queries of a row; NaN for a row without any.
        low: (r, c), of the 95 % interval; NaN for a row whose queries are of one group.
        high: (r, c).
        chance: (c,), what a random order gives; None where that has no meaning.
        counts: (r,) queries of a row.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Floats
    low: Floats
    high: Floats
    chance: Floats | None
    counts: NDArray[np.int64]

    def first(self, row: int) -> list[int]:
        """The three highest columns of a row, the highest first; fewer where fewer are above 0."""
        values = self.values[row]
        return [int(i) for i in np.argsort(-values, kind="stable") if values[i] > 0][:FIRST]

    def to_markdown(self) -> str:
        """All values, one row a class; the highest of a row in bold."""
        lines = [f"| {self.title} | {' | '.join(self.columns)} | queries |", f"|---{'|---' * len(self.columns)}|---|"]
        for name, values, count in zip(self.rows, self.values, self.counts, strict=True):
            best = values.max()
            cells = ["" if np.isnan(v) else f"**{v:.3f}**" if v == best else f"{v:.3f}" for v in values]
            lines.append(f"| {name} | {' | '.join(cells)} | {count} |")
        if self.chance is not None:
            lines.append(f"| by chance | {' | '.join(f'{v:.3f}' for v in self.chance)} | |")
        return "\n".join(lines) + "\n"

    def to_rows(self) -> list[list[object]]:
        """For a CSV: a head, then a line for every cell with its interval."""
        head: list[object] = ["query", "candidate", "value", "low", "high", "queries"]
        return [
            head,
            *(
                [row, column, *(float(part[r, c]) for part in (self.values, self.low, self.high)), int(self.counts[r])]
                for r, row in enumerate(self.rows)
                for c, column in enumerate(self.columns)
            ),
        ]


def class_table(
    title: str, similarity: Floats, queries: Side, candidates: Side, scale: float, reading: Reading
) -> Table:
    """One of the tables.

    Args:
        title: of it.
        similarity: (n, m) cosines of queries and candidates.
        queries: n of them.
        candidates: m of them.
        scale: of the logits.
        reading: see the module.
    """
    labels, theirs = queries.labels, candidates.labels
    if reading == "share":
        first = np.argsort(-similarity, axis=1, kind="stable")[:, :FIRST]
        read = theirs[first].mean(axis=1)
    else:
        means = (similarity @ theirs) / np.maximum(theirs.sum(axis=0), 1)
        means[:, ~theirs.any(axis=0)] = -np.inf
        read = softmax(scale * means)
    parts = members(queries.groups)
    # Sums by group: a draw of groups is then a sum of few rows.
    sums = np.stack([labels[rows].T.astype(float) @ read[rows] for rows in parts])
    sizes = np.stack([labels[rows].sum(axis=0) for rows in parts])
    with np.errstate(invalid="ignore", divide="ignore"):
        values = sums.sum(axis=0) / sizes.sum(axis=0)[:, None]
        drawn = [sums[d].sum(axis=0) / sizes[d].sum(axis=0)[:, None] for d in draws(len(parts))]
    low, high = percentiles(np.stack(drawn))
    few = (sizes > 0).sum(axis=0) < LEAST_GROUPS
    low[few], high[few] = np.nan, np.nan
    chance = theirs.mean(axis=0) if reading == "share" else None
    return Table(title, tuple(queries.classes), tuple(candidates.classes), values, low, high, chance, sizes.sum(axis=0))
