"""Bringing a library up to date in front of a user: a bar on a terminal, a line elsewhere, and what was left out."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

import click

from mmr_runtime.cli.display import Style, clock, cut, one_line, pad
from mmr_runtime.errors import CancelledError

if TYPE_CHECKING:
    from mmr_runtime.library import Library, Progress, UpdateReport
    from mmr_runtime.library.indexing import Cluster

_REDRAW_SECONDS = 0.1
_BAR = 20
_FREE = 3  # columns behind the bar: the terminal's own ^C must not begin a new line


class ProgressBar:
    """Shows how far an update is, on stderr. Silent where there is nothing to do.

    Args:
        what: what is counted.
        verb: what is done with it.
        stream: where to; a bar is drawn only on a terminal, other receivers get one line.
    """

    def __init__(self, what: str, stream: TextIO | None, verb: str = "indexing") -> None:
        self._what = what
        self._verb = verb
        self._stream = stream
        self._style = Style.of(stream)
        self._started = time.monotonic()
        self._drawn: float | None = None
        self.last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Take the news from `Library.update`."""
        is_first = self.last is None
        self.last = progress
        if not progress.total or self._stream is None:
            return
        if self._style.columns is None:
            if is_first:
                click.echo(f"{self._verb} {progress.total} {self._what}", file=self._stream)
            return
        now = time.monotonic()
        if self._drawn is None or progress.path is None or now - self._drawn >= _REDRAW_SECONDS:
            self._draw(self._stream, progress, self._style.columns, now)

    def close(self) -> None:
        """Leave the bar's line empty, so that what comes next stands alone."""
        if self._stream and self._drawn is not None and self._style.columns is not None:
            self._stream.write("\r" + " " * (self._style.columns - 1) + "\r")
            self._stream.flush()
            self._drawn = None

    def _draw(self, stream: TextIO, progress: Progress, columns: int, now: float) -> None:
        self._drawn = now
        full = _BAR * progress.done // progress.total
        mark, rest = ("#", "-") if self._style.plain else ("█", "░")
        spent = now - self._started
        left = spent / progress.done * (progress.total - progress.done) if progress.done else 0.0
        text = f"{self._verb} {mark * full}{rest * (_BAR - full)} {progress.done}/{progress.total}"
        text += f"  {clock(left)} left" if left else ""
        text += f"  {one_line(progress.path.name)}" if progress.path else ""
        room = columns - _FREE
        stream.write("\r" + pad(cut(text, room, ellipsis=self._style.ellipsis), room))
        stream.flush()


def update_library(library: Library, *, verbose: bool, jobs: int = 1, cluster: Cluster | None = None) -> UpdateReport:
    """Update a library, showing progress and what was left out on stderr.

    Raises:
        CancelledError: the user interrupted; every finished file is kept.
        LibraryError: the index cannot be written.
    """
    bar = ProgressBar(library.kind, sys.stderr)
    try:
        report = library.update(progress=bar, jobs=jobs, cluster=cluster)
    except KeyboardInterrupt:
        done, total = (bar.last.done, bar.last.total) if bar.last else (0, 0)
        raise CancelledError(
            f"interrupted after {done} of {total} files", "what is indexed is kept; run it again to go on"
        ) from None
    finally:
        bar.close()
    if bar.last and bar.last.total:
        click.echo(summary(report), err=True)
    _tell_what_is_missing(report, verbose)
    return report


def summary(report: UpdateReport) -> str:
    """An update in one line."""
    counts = {
        "added": report.added,
        "kept": report.kept,
        "moved": report.moved,
        "removed": report.removed,
        "skipped": len(report.skipped),
    }
    always = ("added", "kept")
    return "indexed: " + ", ".join(f"{n} {name}" for name, n in counts.items() if n or name in always)


def _tell_what_is_missing(report: UpdateReport, verbose: bool) -> None:
    for folder in report.unreachable:
        click.echo(f"note: {one_line(str(folder))} is not there now; what is known of it is kept", err=True)
    if not report.skipped:
        return
    count = len(report.skipped)
    more = "" if verbose else " (-v names them)"
    click.echo(f"skipped: {count} {'file' if count == 1 else 'files'}{more}", err=True)
    if verbose:
        for path, reason in report.skipped:
            click.echo(f"  {one_line(str(path))}: {one_line(reason)}", err=True)


def report_json(report: UpdateReport) -> dict[str, object]:
    """An update as plain values for `--json`."""
    return {
        "added": report.added,
        "kept": report.kept,
        "moved": report.moved,
        "removed": report.removed,
        "skipped": [{"path": str(path), "reason": reason} for path, reason in report.skipped],
        "unreachable": [str(path) for path in report.unreachable],
    }
