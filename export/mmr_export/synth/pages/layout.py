"""Panel layouts: rows of panels read from right to left, their gutters straight or slanted, some bleeding off paper.

Calm pages keep an even grid; action slants the gutters, grows a splash panel and breaks the margins; silence
stretches panels wide; gags come in even columns of four (McCloud 1993, ch. 3-4; Cohn 2013, ch. 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmr_export.synth.pages.ink import Array

Rng = np.random.Generator


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        corners: (4, 2) page pixels, clockwise from the top left.
        border: whether a line is drawn around it.
    """

    corners: Array
    border: bool = True

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Bounding box (left, top, right, bottom) in whole pixels."""
        low, high = self.corners.min(axis=0), self.corners.max(axis=0)
        return int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1

    @property
    def area(self) -> float:
        """Pixels covered."""
        x, y = self.corners[:, 0], self.corners[:, 1]
        return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


@dataclass(frozen=True)
class Plan:
    """How to cut a page.

    Attributes:
        rows: (fewest, most) rows.
        across: (fewest, most) panels in a row.
        slant: largest tilt of a gutter, as a share of the page's width.
        bleed: chance that an outer panel runs off the paper.
        splash: chance that one panel takes most of the page.
        borderless: chance that a panel has no border.
    """

    rows: tuple[int, int]
    across: tuple[int, int]
    slant: float
    bleed: float
    splash: float
    borderless: float = 0.0


PLANS: dict[str, Plan] = {
    "Happy": Plan((2, 4), (1, 3), 0.015, 0.3, 0.25, 0.15),
    "Funny": Plan((3, 4), (2, 3), 0.01, 0.1, 0.05, 0.05),
    "Sad": Plan((2, 4), (1, 2), 0.0, 0.1, 0.25, 0.25),
    "Tender": Plan((2, 3), (1, 2), 0.01, 0.35, 0.3, 0.35),
    "Exciting": Plan((2, 4), (1, 3), 0.17, 0.6, 0.4, 0.0),
    "Angry": Plan((2, 4), (1, 3), 0.09, 0.35, 0.3, 0.0),
    "Scary": Plan((2, 4), (1, 3), 0.06, 0.25, 0.3, 0.0),
    "": Plan((3, 4), (2, 3), 0.01, 0.15, 0.05, 0.05),
}


def four_frame(w: int, h: int, rng: Rng) -> list[Panel]:
    """A yonkoma page: one or two columns of four equal panels under a title strip."""
    columns = int(rng.choice((1, 2), p=(0.35, 0.65)))
    mx, top, gap = w * (0.2 if columns == 1 else 0.06), h * 0.08, h * 0.018
    wide, tall = (w - 2 * mx - (columns - 1) * w * 0.06) / columns, (h * 0.95 - top) / 4
    panels = []
    for column in reversed(range(columns)):
        x = mx + column * (wide + w * 0.06)
        for row in range(4):
            y = top + row * tall
            panels.append(Panel(np.array([(x, y), (x + wide, y), (x + wide, y + tall - gap), (x, y + tall - gap)])))
    return panels


def cut_page(w: int, h: int, plan: Plan, rng: Rng) -> list[Panel]:
    """Panels of one page in reading order (rows down, right to left in a row)."""
    mx, my = w * rng.uniform(0.03, 0.07), h * rng.uniform(0.03, 0.06)
    rows = int(rng.integers(plan.rows[0], plan.rows[1] + 1))
    weights = rng.uniform(0.7, 1.4, rows)
    splash = -1
    if rng.random() < plan.splash:
        splash = int(rng.integers(0, rows))
        weights[splash] *= rng.uniform(2.0, 4.0)
    cuts = my + (h - 2 * my) * np.concatenate([[0], np.cumsum(weights) / weights.sum()])
    tilt = np.concatenate([[0], rng.uniform(-1, 1, rows - 1) * plan.slant * w * 0.6, [0]])
    gap_y, gap_x = h * rng.uniform(0.012, 0.028), w * rng.uniform(0.01, 0.022)
    panels: list[Panel] = []
    for row in range(rows):
        count = 1 if row == splash else int(rng.integers(plan.across[0], plan.across[1] + 1))
        edges = (
            cuts[row] + tilt[row],
            cuts[row] - tilt[row],
            cuts[row + 1] + tilt[row + 1],
            cuts[row + 1] - tilt[row + 1],
        )
        panels += _cut_row(w, h, mx, edges, count, gap_x, gap_y, (row == 0, row == rows - 1), plan, rng)
    return panels


def _cut_row(
    w: int,
    h: int,
    mx: float,
    edges: tuple[float, float, float, float],
    count: int,
    gap_x: float,
    gap_y: float,
    outer: tuple[bool, bool],
    plan: Plan,
    rng: Rng,
) -> list[Panel]:
    """Panels of one row; `edges` are the heights of its top and bottom line at the left and right margin."""
    shares = np.concatenate([[0], np.cumsum(s := rng.uniform(0.7, 1.4, count)) / s.sum()])
    upper = mx + (w - 2 * mx) * shares
    lower = upper.copy()
    shift = rng.uniform(-1, 1, max(0, count - 1)) * plan.slant * w
    upper[1:-1] += shift
    lower[1:-1] -= shift
    panels = []
    for i in reversed(range(count)):
        xs = np.array([upper[i] + gap_x / 2, upper[i + 1] - gap_x / 2, lower[i + 1] - gap_x / 2, lower[i] + gap_x / 2])
        share = (xs - mx) / (w - 2 * mx)
        tops, bottoms = edges[0] + (edges[1] - edges[0]) * share, edges[2] + (edges[3] - edges[2]) * share
        corners = np.stack(
            [xs, np.array([tops[0] + gap_y / 2, tops[1] + gap_y / 2, bottoms[2] - gap_y / 2, bottoms[3] - gap_y / 2])],
            axis=1,
        )
        if rng.random() < plan.bleed:
            _bleed(corners, w, h, (i == 0, i == count - 1, *outer))
        panels.append(Panel(corners, rng.random() >= plan.borderless))
    return panels


def _bleed(corners: Array, w: int, h: int, outer: tuple[bool, bool, bool, bool]) -> None:
    """Pull the outer sides of a panel (left, right, top, bottom) beyond the paper, in place."""
    left, right, top, bottom = outer
    if left:
        corners[[0, 3], 0] = -4
    if right:
        corners[[1, 2], 0] = w + 4
    if top:
        corners[[0, 1], 1] = -4
    if bottom:
        corners[[2, 3], 1] = h + 4
