"""Did it get slower or larger? `python benchmarks/compare.py OLD.json NEW.json [--limit 1.10]`.

Two results of the same benchmark, figure by figure. On one machine everything is compared; between machines sizes,
memory, and what is a ratio within each file, for times tell of the machines then. A figure is worse when it changed by
more than the limit and its spread (5th to 95th percentile) lies wholly on the worse side of the old one. Worse figures,
and figures that are gone, make the exit code 1.

Figures are known by their names. A dict with `median`, `p50`, `seconds` or `milliseconds` is a time; under a key that
speaks of a ratio it is a ratio, as are the numbers `ratio` and `times faster`: more is better. What stands under a key
that speaks of bytes or MiB is a size.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from mmr_runtime.cli.display import Column, Style, table, write
from mmr_runtime.cli.errors import Command
from mmr_runtime.errors import InputError, MissingFileError

SCHEMA = 1
REGRESSION = 1
_MACHINE = ("processor", "cores", "allowed_cores", "instructions", "system")
"""What tells machines apart; versions may differ, for that is what one wants to compare."""
_CONDITIONS = ("model", "precision", "precisions", "threads", "sizes")
_CENTRES, _LOWS, _HIGHS = ("median", "p50", "seconds", "milliseconds"), ("p5", "least"), ("p95", "most")
_DISTRIBUTION = {*_CENTRES, *_LOWS, *_HIGHS, "p99", "mean"}
_RATIOS = ("ratio", "times faster")

Kind = Literal["time", "ratio", "size"]


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        kind: of a `ratio` more is better, of a `time` or `size` less.
        value: a median where there is a spread.
        low: lower end of the spread.
        high: upper end of the spread.
    """

    kind: Kind
    value: float
    low: float
    high: float

    def worsening(self, new: Figure) -> float:
        """How many times worse the new figure is; 1 where a quotient says nothing."""
        if min(self.value, new.value) <= 0:
            return 1.0
        return self.value / new.value if self.kind == "ratio" else new.value / self.value

    def is_clear_of(self, new: Figure) -> bool:
        """Whether the new spread lies wholly on the worse side of this one."""
        return new.high < self.low if self.kind == "ratio" else new.low > self.high


@dataclass(frozen=True)
class Change:
    """What became of a figure.

    Attributes:
        name: where it stands.
        old: None where it is new.
        new: None where it is gone.
        verdict: `worse`, `better`, `gone`, `new`, `not compared`, or empty where nothing happened.
    """

    name: str
    old: Figure | None
    new: Figure | None
    verdict: str

    @property
    def fails(self) -> bool:
        """Whether it is a regression."""
        return self.verdict in ("worse", "gone")


# -- figures ----------------------------------------------------------------------------------------------------------


def figures(tree: dict[str, Any]) -> dict[str, Figure]:
    """All figures of a result by where they stand."""
    return dict(_walk(tree, (), frozenset()))


def _walk(node: Any, path: tuple[str, ...], words: frozenset[str]) -> Iterator[tuple[str, Figure]]:
    """Figures below a node; `words` are those of the keys above it."""
    name = " > ".join(path)
    kind: Kind = "size" if words & {"bytes", "mib"} else "ratio" if words & {"ratio", "ratios"} else "time"
    if isinstance(node, dict):
        whole = _figure(node, kind, _CENTRES, _LOWS, _HIGHS)
        if whole:
            yield name, whole
        for key in _RATIOS:
            bounds = node.get(f"{key}, range", [None, None])
            ratio = _figure({**node, "least": bounds[0], "most": bounds[1]}, "ratio", (key,), ("least",), ("most",))
            if ratio:
                yield f"{name} > {key}", ratio
        for key, value in node.items():
            if isinstance(value, dict | list) or key not in _DISTRIBUTION:
                yield from _walk(value, (*path, key), words | set(re.findall("[a-z]+", key.lower())))
    elif isinstance(node, list):
        for number, row in enumerate(node):
            if isinstance(row, dict):
                yield from _walk(row, (*path, _row_name(row) or str(number)), words)
    elif kind == "size":
        value = _number(node)
        if value is not None:
            yield name, Figure(kind, value, value, value)


def _figure(
    node: dict[str, Any], kind: Kind, centres: tuple[str, ...], lows: tuple[str, ...], highs: tuple[str, ...]
) -> Figure | None:
    """The figure that the first of these keys with a number makes, or None."""
    centre, low, high = (
        next((n for key in keys if (n := _number(node.get(key))) is not None), None) for keys in (centres, lows, highs)
    )
    if centre is None:
        return None
    return Figure(kind, centre, centre if low is None else low, centre if high is None else high)


def _number(value: Any) -> float | None:
    """A number that can be compared; not a number is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _row_name(row: dict[str, Any]) -> str:
    """What tells a row of a list from the others: its texts, its threads, and what it is compared with."""
    parts = [f"threads {v}" if k == "threads" else v for k, v in row.items() if k == "threads" or isinstance(v, str)]
    parts += [f"against {_row_name(value)}" for key, value in row.items() if key == "against"]
    return ", ".join(parts)


# -- comparing --------------------------------------------------------------------------------------------------------


def compare(old: dict[str, Figure], new: dict[str, Figure], limit: float, *, times: bool) -> list[Change]:
    """Every figure of both; `times` says whether times may be compared, for both are of one machine."""
    names = [*old, *(name for name in new if name not in old)]
    return [Change(n, old.get(n), new.get(n), _verdict(old.get(n), new.get(n), limit, times)) for n in names]


def _verdict(old: Figure | None, new: Figure | None, limit: float, times: bool) -> str:
    if old is None or new is None:
        return "new" if old is None else "gone"
    if old.kind == "time" and not times:
        return "not compared"
    if old.worsening(new) > limit and old.is_clear_of(new):
        return "worse"
    return "better" if new.worsening(old) > limit and new.is_clear_of(old) else ""


def read(path: Path) -> dict[str, Any]:
    """A result as benchmarks store it.

    Raises:
        InputError: it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file", "give the path of a stored result") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", "give the path of a stored result") from error
    parts = [content.get(key) for key in ("figures", "host")] if isinstance(content, dict) else []
    if not parts or not all(isinstance(part, dict) for part in parts) or content.get("schema") != SCHEMA:
        raise InputError(f"{path} is not a result of schema {SCHEMA}", "give what a benchmark of this project stored")
    return dict(content)


@click.command(cls=Command)
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--limit", type=click.FloatRange(min=1), default=1.10, show_default=True, help="How much worse is worse.")
def main(old: Path, new: Path, limit: float) -> int:
    """Compare the stored result NEW with OLD; the exit code is 1 if anything got worse or is gone."""
    before, after = read(old), read(new)
    if before.get("benchmark") != after.get("benchmark"):
        problem = f"{old} is of the benchmark {before.get('benchmark')}, {new} of {after.get('benchmark')}"
        raise InputError(problem, "compare results of one benchmark")
    same = all(before["host"].get(key) == after["host"].get(key) for key in _MACHINE)
    changes = compare(figures(before["figures"]), figures(after["figures"]), limit, times=same)
    if not changes:
        raise InputError(f"{old} and {new} hold no figures that can be compared", "compare results with times or sizes")
    for note in _notes(before, after, same=same):
        click.echo(f"note: {note}", err=True)
    columns = [Column("figure", shrinks="front"), *(Column(head, right=True) for head in ("old", "new", "change"))]
    write(table([*columns, Column("")], [_row(change) for change in changes], Style.of(sys.stdout)))
    failures = sum(change.fails for change in changes)
    write(f"\n{failures} of {len(changes)} figures worse or gone" if failures else "\nnothing got worse")
    return REGRESSION if failures else 0


def _notes(before: dict[str, Any], after: dict[str, Any], *, same: bool) -> Iterator[str]:
    if not same:
        yield "the results are of different machines: times are not compared"
    pairs = [("host", key) for key in ("python", "versions")] + [("figures", key) for key in _CONDITIONS]
    for part, key in pairs:
        old, new = before[part].get(key), after[part].get(key)
        if old != new:
            yield f"{key} differ: {old} and {new}"


def _row(change: Change) -> list[str]:
    old, new = change.old, change.new
    by = f"{new.value / old.value - 1:+.1%}" if old and new and min(old.value, new.value) > 0 else ""
    return [change.name, *(f"{f.value:.4g}" if f else "" for f in (old, new)), by, change.verdict]


if __name__ == "__main__":
    main()
