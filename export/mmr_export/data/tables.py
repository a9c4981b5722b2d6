"""Tables that data sets come with: comma- or tab-separated, checked line by line, with errors that name the line."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import cast, get_args

from mmr_export.data.datasets import Side
from mmr_runtime.errors import InputError, MissingFileError

MISSING = "the file is missing"
EMPTY = "the file is empty"


@dataclass(frozen=True)
class Row:
    """One line of a table with a header.

    Attributes:
        where: file and line, for errors.
        values: by column; optional columns that the table lacks are left out.
    """

    where: str
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def whole(self, column: str) -> int:
        """A whole number.

        Raises:
            InputError: it is none.
        """
        try:
            return int(self.values[column])
        except ValueError:
            raise InputError(
                f"{self.where}: {column} is {self.values[column]!r:.40}, no whole number", "mend that line"
            ) from None


def file_below(folder: Path, name: str, where: str) -> Path:
    """The file that a line of a table names.

    Args:
        folder: that it must lie in.
        name: relative path, parts divided by `/`.
        where: file and line, for errors.

    Raises:
        InputError: it would lie elsewhere.
    """
    windows = PureWindowsPath(name)
    if not windows.name or windows.root or windows.drive or ".." in windows.parts or "\0" in name:
        raise InputError(f"{where}: {name!r:.80} is no file below {folder}", "name files by relative paths")
    return folder / name


def side_named(side: str, where: str) -> Side | None:
    """A side of a split as a table names it; None for an empty field.

    Raises:
        InputError: no side is called so.
    """
    if side and side not in get_args(Side):
        raise InputError(f"{where}: no side is named {side!r:.40}", f"write {', '.join(get_args(Side))}")
    return cast(Side, side) if side else None


def read_records(path: Path, *, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Number and fields of every line, blank ones and comments (#) at the top left out.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is not UTF-8, or not such a table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            skipped = 0

            def is_comment(line: str) -> bool:
                nonlocal skipped
                skipped += line.startswith("#")
                return line.startswith("#")

            # Spaces after a comma come before a quotation mark in AudioSet's lists.
            rows = csv.reader(
                itertools.dropwhile(is_comment, file), delimiter=delimiter, skipinitialspace=True, strict=True
            )
            try:
                for row in rows:
                    fields = [field.strip() for field in row]
                    if any(fields):
                        yield skipped + rows.line_num, fields
            except csv.Error as error:
                raise InputError(f"{path}, line {skipped + rows.line_num}: {error}", "mend that line") from error
    except FileNotFoundError:
        raise MissingFileError(
            f"there is no {path.name} in {path.parent}", "check the folder of the data set"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error


def read_table(
    path: Path, required: Sequence[str], *, optional: Sequence[str] = (), unique: str = "", delimiter: str = ","
) -> list[Row]:
    """Rows of a table whose first line names its columns; other columns are left out.

    Args:
        path: the table.
        required: columns that it must have.
        optional: columns that it may have.
        unique: a column without two equal values.
        delimiter: between fields.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is not such a table; the line is named.
    """
    records = read_records(path, delimiter=delimiter)
    _, header = next(records, (0, []))
    missing = [column for column in required if column not in header]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}" if header else f"{path} is empty",
            f"its first line names the columns: {', '.join((*required, *(f'[{name}]' for name in optional)))}",
        )
    wanted = {name: header.index(name) for name in (*required, *optional) if name in header}
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for line, fields in records:
        where = f"{path}, line {line}"
        if len(fields) != len(header):
            raise InputError(f"{where} has {len(fields)} fields, not {len(header)}", "mend that line")
        rows.append(Row(where, {name: fields[i] for name, i in wanted.items()}))
        if unique:
            value = rows[-1][unique]
            if value in seen:
                raise InputError(f"{where} names {value!r:.80} again, as line {seen[value]} does", "keep one of them")
            seen[value] = line
    return rows


def problem(path: Path) -> str | None:
    """Why a file cannot be used, as far as its folder tells; what is damaged inside is found when it is read."""
    try:
        return None if path.stat().st_size and path.is_file() else EMPTY
    except OSError:
        return MISSING


def numbered_classes(rows: Sequence[Row], label: str, number: str) -> tuple[str, ...]:
    """The values of one column, in the order of the numbers that another one gives them.

    Raises:
        InputError: a value has two numbers, or a number two values.
    """
    numbers: dict[str, int] = {}
    labels: dict[int, str] = {}
    for row in rows:
        value, n = row[label], row.whole(number)
        if numbers.setdefault(value, n) != n or labels.setdefault(n, value) != value:
            raise InputError(f"{row.where}: {value!r:.40} as number {n} is not what lines before say", "mend that line")
    return tuple(labels[n] for n in sorted(labels))
