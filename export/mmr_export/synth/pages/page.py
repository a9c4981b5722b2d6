"""One page from one seed: story, layout, panels, balloons, sounds, wear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mmr_export.synth.pages.grounds import Stage
from mmr_export.synth.pages.ink import BLACK, WHITE, Pen
from mmr_export.synth.pages.layout import PLANS, Panel, cut_page, four_frame
from mmr_export.synth.pages.lettering import Speech, balloon, sound
from mmr_export.synth.pages.shots import Shot, choose_shot
from mmr_export.synth.pages.story import Story, make_story
from mmr_export.synth.pages.tone import Screen
from mmr_export.synth.pages.wear import age, mirror
from mmr_runtime.moods import MOODS

Rng = np.random.Generator
OVERSAMPLE = 2

_BALLOONS: dict[str, tuple[tuple[str, ...], float, float]] = {
    # kinds, mean number in a panel, size of lettering relative to plain talk
    "Happy": (("oval", "oval", "oval", "shout", "cloud"), 0.9, 1.05),
    "Funny": (("oval", "shout", "shout", "bare", "oval"), 1.4, 1.05),
    "Sad": (("oval", "bare", "oval", "box"), 0.5, 0.85),
    "Tender": (("oval", "oval", "cloud", "bare"), 0.6, 0.85),
    "Exciting": (("shout", "shout", "bare", "oval"), 0.7, 1.3),
    "Angry": (("shout", "shout", "shout", "oval"), 1.1, 1.6),
    "Scary": (("tremble", "tremble", "bare", "box"), 0.6, 0.95),
    "": (("oval", "oval", "oval", "oval", "box", "cloud"), 1.5, 0.95),
}
_SOUND_CHANCE = {
    "Happy": 0.15,
    "Funny": 0.35,
    "Sad": 0.08,
    "Tender": 0.04,
    "Exciting": 0.6,
    "Angry": 0.4,
    "Scary": 0.4,
    "": 0.05,
}


@dataclass(frozen=True)
class Page:
    """A generated page and its labels.

    Attributes:
        image: mode "L".
        moods: grades 0..3 in the order of `mmr_runtime.moods.MOODS`.
        energy: 0 (still) .. 3 (wild).
        genre: one of `mmr_runtime.moods.GENRES`.
        caption: one English sentence.
    """

    image: Image.Image
    moods: tuple[int, ...]
    energy: int
    genre: str
    caption: str


@dataclass(frozen=True)
class _Style:
    """The hand that drew the page."""

    line: float
    screen: Screen
    latin: bool
    letter: float
    gutter: int


def generate_page(
    seed: int, *, mood: str | None = None, genre: str | None = None, width: int = 480, height: int = 688
) -> Page:
    """Draw a manga-like page.

    Args:
        seed: equal seeds and arguments give equal bytes.
        mood: leading mood, one of `MOODS`; None draws one.
        genre: one of `GENRES`; None draws one that suits the mood.
        width: pixels.
        height: pixels.

    Returns:
        The page with its labels; the leading mood has the highest grade, 2 or 3.

    Raises:
        UsageError: an unknown mood or genre.
    """
    rng = np.random.default_rng(seed)
    story = make_story(rng, mood, genre)
    w, h = width * OVERSAMPLE, height * OVERSAMPLE
    style = _style(rng, story, w)
    sheet = Image.new("L", (w, h), style.gutter)
    panels = _layout(w, h, story, rng)
    moods = _assign(panels, story, rng)
    most = max(panel.area for panel in panels)
    spots = []
    for panel, panel_mood in zip(panels, moods, strict=True):
        shot = choose_shot(panel_mood, rng, largest=panel.area == most)
        spots.append(_draw_panel(sheet, panel, shot, panel_mood, story, style, rng))
    pen = Pen.on(sheet, style.line)
    for panel, panel_mood, spot in zip(panels, moods, spots, strict=True):
        _speak(pen, panel, panel_mood, spot, style, story, rng)
    image = mirror(age(sheet.reduce(OVERSAMPLE), rng), rng)
    return Page(image, story.moods, story.energy, story.genre, story.caption)


def _style(rng: Rng, story: Story, w: int) -> _Style:
    # Half of the pages carry tone too fine to resolve, as real pages at this size do.
    period = int(rng.choice((0, 5, 6, 7, 8, 10), p=(0.45, 0.12, 0.17, 0.13, 0.08, 0.05)))
    dark = rng.random() < {"Scary": 0.6, "Sad": 0.25, "Angry": 0.12}.get(story.leading, 0.02)
    return _Style(
        line=w / 960 * float(rng.uniform(1.7, 3.0)),
        screen=Screen(period, lines=period > 0 and bool(rng.random() < 0.15)),
        latin=bool(rng.random() < 0.25),
        letter=w * float(rng.uniform(0.017, 0.023)),
        gutter=BLACK if dark else WHITE,
    )


def _layout(w: int, h: int, story: Story, rng: Rng) -> list[Panel]:
    if story.genre == "four-frame cartoons" and rng.random() < 0.9:
        return four_frame(w, h, rng)
    return cut_page(w, h, PLANS[story.leading], rng)


def _assign(panels: list[Panel], story: Story, rng: Rng) -> list[str]:
    """Give each panel a mood so that area follows the grades; the largest panel leads."""
    wanted = {m: float(g) ** 1.4 for m, g in zip(MOODS, story.moods, strict=True) if g}
    plain = {3: 0.12, 2: 0.28}[max(story.moods)] if len(panels) > 2 else 0.0
    names = [*wanted, ""]
    weights = np.array([*wanted.values(), 0.0])
    weights[-1] = plain / (1 - plain) * weights.sum()
    moods = [str(m) for m in rng.choice(names, len(panels), p=weights / weights.sum())]
    by_area = np.argsort([-p.area for p in panels], kind="stable")
    moods[int(by_area[0])] = story.leading
    # Every companion mood is seen at least once where there is room.
    for position, companion in enumerate((m for m in wanted if m != story.leading), start=1):
        if companion not in moods and position < len(panels):
            moods[int(by_area[position])] = companion
    return moods


def _draw_panel(
    sheet: Image.Image, panel: Panel, shot: Shot, mood: str, story: Story, style: _Style, rng: Rng
) -> tuple[float, float]:
    """Draw one panel onto the sheet; returns the page position of its heads."""
    left, top, right, bottom = panel.box
    w, h = right - left, bottom - top
    canvas = Image.new("L", (w, h), WHITE)
    # Lines grow a little with the panel, as close-ups are drawn bolder.
    pen = Pen.on(canvas, style.line * (0.75 + 0.5 * min(w, h) / sheet.width))
    stage = Stage(pen, w, h, rng, mood, story.energy, style.screen, story.cast, story.genre, story.place, story.night)
    x, y = shot(stage)
    if rng.random() < _SOUND_CHANCE[mood]:
        size = min(w, h) * rng.uniform(0.16, 0.34)
        # Beside the heads, not over them.
        sound(pen, w * (0.03 if x > w / 2 else 0.68), h * rng.uniform(0.04, 0.5), size, mood, rng, dark=mood == "Scary")
    corners = panel.corners - (left, top)
    mask = Image.new("L", (w, h))
    ImageDraw.Draw(mask).polygon(corners.ravel().tolist(), fill=255)
    sheet.paste(canvas, (left, top), mask)
    if panel.border:
        edge = WHITE if style.gutter == BLACK and mood == "Scary" else BLACK
        Pen.on(sheet, style.line).path(np.concatenate([panel.corners, panel.corners[:2]]), weight=1.6, ink=edge)
    return left + x, top + y


def _speak(pen: Pen, panel: Panel, mood: str, spot: tuple[float, float], style: _Style, story: Story, rng: Rng) -> None:
    """Set balloons in the panel's corners, right before left, away from the heads."""
    kinds, mean, loud = _BALLOONS[mood]
    if story.genre in ("four-frame cartoons", "humor"):
        mean += 0.5
    left, top, right, bottom = panel.box
    left, top, right, bottom = max(0, left), max(0, top), min(pen.image.width, right), min(pen.image.height, bottom)
    room = right - left
    corners = [(right, top, -1, 1), (left, top, 1, 1), (left, bottom, 1, -1)]
    for x, y, dx, dy in corners[: min(3, int(rng.poisson(mean)))]:
        size = max(8, int(style.letter * loud * rng.uniform(0.9, 1.15)))
        speech = _speech(str(rng.choice(kinds)), size, room, bottom - top, mood, style, rng)
        rx, ry = speech.extent
        if rx > room * 0.32 or ry > (bottom - top) * 0.42:
            continue
        bx, by = x + dx * (rx * 1.05 + 6), y + dy * (ry * 1.05 + 6)
        head = 0.13 * min(room, bottom - top)
        if abs(bx - spot[0]) < rx + head and abs(by - spot[1]) < ry + head:
            continue
        balloon(pen, bx, by, speech, rng, spot)


def _speech(kind: str, size: int, wide: float, tall: float, mood: str, style: _Style, rng: Rng) -> Speech:
    dark = mood == "Scary" and bool(rng.random() < 0.45)
    most_columns = max(1, min(5, int(wide * 0.32 / size / 1.2) - 1))
    most_rows = max(2, min(9, int(tall * 0.5 / size)))
    short = mood in ("Angry", "Exciting", "Sad", "Tender")
    columns = int(rng.integers(1, (min(3, most_columns) if short else most_columns) + 1))
    rows = int(rng.integers(2, (min(5, most_rows) if short else most_rows) + 1))
    if style.latin:
        columns, rows = min(10, rows + 3), max(1, min(4, columns + 1))
    return Speech(kind, columns, rows, size, dark=dark, latin=style.latin)
