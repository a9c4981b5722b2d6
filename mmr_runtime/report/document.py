"""The page: a strip of thumbnails with the moods below it and the segments between, then a card for each segment.

What comes from files (names, titles, tags) is escaped; the page loads nothing but the songs, from where they lie.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.books import Book
from mmr_runtime.moods import MOODS
from mmr_runtime.report.style import COLOURS, SCRIPT, STYLE
from mmr_runtime.report.thumbnails import thumbnail
from mmr_runtime.soundtrack import Fit, Part, Song, Soundtrack

Floats = NDArray[np.float64]
STEP = 78
"""Pixels from page to page along the strip."""

_RIVER = 150
_POLICY = "default-src 'none'; img-src data:; media-src file:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def report_html(book: Book, fitted: Fit, soundtrack: Soundtrack, notes: Sequence[str] = ()) -> str:
    """The report of a book.

    Args:
        book: its pages become thumbnails.
        fitted: moods of the pages.
        soundtrack: of the book.
        notes: what was left out, for people.
    """
    title = html.escape(book.title)
    songs = len({part.song.path for part in soundtrack.parts})
    facts = [_count(len(book), "page"), _count(len(soundtrack.parts), "segment"), _count(songs, "song")]
    spoken = len(book.dialogue.lines)
    if spoken:
        facts.append(f"dialogue on {_count(spoken, 'page')}")
    about = ", ".join(filter(None, (book.info.series, *book.info.genres)))
    sections = [
        f'<header><h1>{title}</h1><p class="facts">{" · ".join(facts)}</p>'
        + (f'<p class="facts">{html.escape(about)}</p>' if about else "")
        + "</header>",
        _strip(book, fitted, soundtrack),
        _legend(),
        '<section class="cards">'
        + "".join(_card(number, part, fitted) for number, part in enumerate(soundtrack.parts))
        + "</section>",
        _notes(notes),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} · soundtrack</title>'
        f'<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><style>{STYLE}</style></head><body>{"".join(sections)}<script>{SCRIPT}</script>'
        "</body></html>\n"
    )


# -- the strip --------------------------------------------------------------------------------------------------------


def _strip(book: Book, fitted: Fit, soundtrack: Soundtrack) -> str:
    width = STEP * len(book)
    part_of = [number for number, part in enumerate(soundtrack.parts) for _ in range(part.first, part.last + 1)]
    pages = "".join(_page(book, number, part_of[number], fitted.shares[number]) for number in range(len(book)))
    segments = "".join(_segment(number, part, fitted) for number, part in enumerate(soundtrack.parts))
    return (
        f'<div class="strip" tabindex="0"><div class="track" style="width:{width}px"><div class="pages">{pages}</div>'
        f'<div class="segments">{segments}</div>{_river(_smoothed(fitted.shares))}</div></div>'
    )


def _page(book: Book, number: int, part: int, shares: Floats) -> str:
    page = book.pages[number]
    picture = thumbnail(book, number)
    moods = sorted(zip(shares.tolist(), MOODS, strict=False), reverse=True)[:3]
    said = " / ".join(book.dialogue.lines.get(number, [])[:6])
    tip = f"page {number + 1}: " + ", ".join(f"{mood.lower()} {100 * share:.0f}%" for share, mood in moods)
    tip += f"\n{page.name}" + (f"\n“{said}”" if said else "")
    seen = f'<img src="{picture}" alt="">' if picture else '<span class="blank">?</span>'
    return (
        f'<a class="page" href="#part{part}" title="{html.escape(tip)}" style="width:{STEP}px">{seen}'
        f"<small>{number + 1}</small></a>"
    )


def _segment(number: int, part: Part, fitted: Fit) -> str:
    width = STEP * (part.last - part.first + 1) - 4
    title = html.escape(_title(part.song))
    pin = " 📌" if part.pinned else ""
    return (
        f'<a class="segment" href="#part{number}" title="{title}" style="width:{width}px;'
        f'--c:{COLOURS[_mood(part, fitted)]}"><span>{title}{pin}</span></a>'
    )


def _smoothed(shares: Floats) -> Floats:
    """Three pages around each, so that the river can be followed by eye."""
    padded = np.pad(shares, ((1, 1), (0, 0)), mode="edge")
    return np.asarray((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4)


def _river(shares: Floats) -> str:
    """Shares (n, 7) of the moods over the pages, stacked, as SVG."""
    count, width = len(shares), STEP * len(shares)
    centres = [0.0, *((i + 0.5) * STEP for i in range(count)), float(width)]
    levels = np.concatenate([np.zeros((count, 1)), np.cumsum(shares, axis=1)], axis=1) * _RIVER
    levels = np.concatenate([levels[:1], levels, levels[-1:]])
    bands = []
    for i, mood in enumerate(MOODS[: shares.shape[1]]):
        top = [f"{x:.1f},{y:.1f}" for x, y in zip(centres, levels[:, i], strict=True)]
        bottom = [f"{x:.1f},{y:.1f}" for x, y in zip(centres, levels[:, i + 1], strict=True)]
        points = " ".join([*top, *bottom[::-1]])
        bands.append(f'<polygon fill="{COLOURS[mood]}" points="{points}"><title>{mood}</title></polygon>')
    return (
        f'<svg class="river" width="{width}" height="{_RIVER}" viewBox="0 0 {width} {_RIVER}" role="img" '
        f'aria-label="moods over the pages">{"".join(bands)}</svg>'
    )


def _legend() -> str:
    moods = "".join(f'<span><i style="background:{COLOURS[mood]}"></i>{mood.lower()}</span>' for mood in MOODS)
    return f'<p class="legend">{moods}</p>'


# -- cards ------------------------------------------------------------------------------------------------------------


def _card(number: int, part: Part, fitted: Fit) -> str:
    song = part.song
    facts = [f"from {_clock(song.start_s or 0)}"]
    if song.seconds:
        facts.append(f"{_clock(song.seconds)} long")
    if song.gain_db is not None:
        facts.append(f"{song.gain_db:+.1f} dB")
    facts.append("set by hand" if part.pinned else _margin(part))
    others = "".join(
        f"<li><span>{html.escape(fitted.titles[path])}</span><b>{score:.2f}</b></li>" for path, score in part.runners_up
    )
    pages = f"page {part.pages}" if part.first == part.last else f"pages {part.pages}"
    shares = fitted.shares_of(part.first, part.last)
    artist = f'<p class="artist">{html.escape(song.artist)}</p>' if song.artist else ""
    return (
        f'<article id="part{number}" style="--c:{COLOURS[_mood(part, fitted)]}"><p class="where">{pages}</p>'
        f'<h2>{html.escape(_title(song))}</h2>{artist}<p class="facts">{" · ".join(facts)}</p>'
        f'<audio controls preload="none" data-start="{song.start_s or 0:.2f}" src="{_source(song)}"></audio>'
        f'<div class="bars"><p>the pages</p>{_bar(shares)}<p>the song</p>{_bar(np.array(song.moods or ()))}</div>'
        + (f"<details open><summary>next best</summary><ol>{others}</ol></details>" if others else "")
        + "</article>"
    )


def _bar(shares: Floats) -> str:
    cells = "".join(
        f'<i style="flex:{share:.4f};background:{COLOURS[mood]}" title="{mood.lower()} {100 * share:.0f}%"></i>'
        for share, mood in zip(shares.tolist(), MOODS, strict=False)
    )
    return f'<div class="bar">{cells}</div>'


def _margin(part: Part) -> str:
    if part.margin is None:
        return "the only song"
    if part.margin < 0:
        return f"{-part.margin:.2f} behind the best, which must rest or has no room"
    return f"margin {part.margin:+.2f}"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<details class="notes"><summary>{_count(len(notes), "thing")} left out</summary><ul>{items}</ul></details>'


def _mood(part: Part, fitted: Fit) -> str:
    shares = fitted.shares_of(part.first, part.last)
    return MOODS[int(shares.argmax())] if len(shares) == len(MOODS) else MOODS[0]


def _title(song: Song) -> str:
    return song.title or Path(song.path).stem


def _source(song: Song) -> str:
    """URI of the file; names that are no valid text keep their bytes."""
    path = Path(song.path)
    return html.escape(path.as_uri() if path.is_absolute() else quote(song.path, errors="surrogateescape"))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
