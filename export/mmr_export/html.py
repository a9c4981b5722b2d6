"""Reports as one HTML file that needs nothing beside it: tables, and plots as inline SVG (matplotlib draws them)."""

from __future__ import annotations

import html
import importlib.util
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmr_runtime.errors import DeviceError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr { border-bottom: 1px solid #eee; }
thead { background: #f5f5f5; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; } figcaption { color: #555; font-size: 13px; }
svg { max-width: 100%; height: auto; } .bad { color: #b00020; font-weight: 600; }
"""
_PLOT_STYLE: Any = {
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text: searchable, and a fifth of the bytes
    "svg.hashsalt": "mmr",  # equal plots, equal bytes
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Section:
    """A heading and the HTML below it."""

    heading: str
    body: str


def require_matplotlib(what: str) -> None:
    """Say that a package is missing before the work that its plots are made of, not after it.

    Args:
        what: needs it.

    Raises:
        DeviceError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise DeviceError(f"{what} needs the package matplotlib", "pip install 'mmr-runtime[report]'")


def page(title: str, lead: str, sections: Iterable[Section]) -> str:
    """A whole document; `title` and `lead` are plain text."""
    parts = "".join(f"<h2>{html.escape(s.heading)}</h2>\n{s.body}\n" for s in sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{html.escape(title)}</h1>\n<p>{html.escape(lead)}</p>\n"
        f"{parts}</body>\n</html>\n"
    )


def paragraph(text: str, *, bad: bool = False) -> str:
    """A paragraph of plain text, in red where it tells of a failure."""
    opening = '<p class="bad">' if bad else "<p>"
    return f"{opening}{html.escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain values."""
    top = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    lines = ("".join(f"<td>{html.escape(str(v))}</td>" for v in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead>\n<tbody>\n{body}</tbody></table>"


def plot(draw: Callable[[Axes], object], caption: str, *, width: float = 4.2, height: float = 2.8) -> str:
    """A figure (inches) with one pair of axes, filled by `draw`.

    Raises:
        DeviceError: matplotlib is not installed.
    """
    require_matplotlib("a report")
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    stream = io.StringIO()
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})  # type: ignore[no-untyped-call]
    svg = stream.getvalue()
    # The XML head belongs to a file of its own, not into a document.
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{html.escape(caption)}</figcaption></figure>"
