"""A soundtrack as JSON: read back, it is equal. Pages are counted from 1 there, for people edit it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from itertools import groupby
from typing import Any, NoReturn

from mmr_runtime.errors import InputError, UsageError
from mmr_runtime.soundtrack.options import Options
from mmr_runtime.soundtrack.soundtrack import Corrections, Part, Song, Soundtrack

SCHEMA = 1
_KIND = "mmr soundtrack"
_AGAIN = "correct it, or export the soundtrack again"


def to_json(soundtrack: Soundtrack) -> bytes:
    """The whole soundtrack as UTF-8 JSON, schema 1.

    Names of files that are not valid text keep their lone surrogates as escapes.
    """
    content = {
        "kind": _KIND,
        "schema": SCHEMA,
        "title": soundtrack.title,
        "options": asdict(soundtrack.options),
        "pins": [{"pages": pages, "path": path} for pages, path in pin_ranges(soundtrack.corrections)],
        "bans": soundtrack.corrections.bans,
        "segments": [
            {
                "pages": [part.first + 1, part.last + 1],
                **asdict(part.song),
                "score": part.score,
                "margin": part.margin,
                "pinned": part.pinned,
                "runners_up": [{"path": path, "score": score} for path, score in part.runners_up],
            }
            for part in soundtrack.parts
        ],
        "pages": soundtrack.pages,
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)
    return (text + "\n").encode("utf-8", "backslashreplace")


def from_json(data: bytes | str) -> Soundtrack:
    """The soundtrack that `to_json` wrote.

    Raises:
        InputError: it is not one, or of a newer schema, or something is missing or cannot be; the message says where.
    """
    whole = read_object(data)
    options = whole.object("options")
    known = {field.name for field in fields(Options)}
    options.only(known)
    try:
        taste = Options(**{name: options.option(name) for name in known})
    except UsageError as error:
        raise InputError(f"options: {error.message}", error.hint) from None
    pins = {page: path for first, last, path in whole.pins() for page in range(first, last + 1)}
    return Soundtrack(
        whole.text("title"),
        tuple(whole.texts("pages")),
        tuple(_part(segment) for segment in whole.objects("segments")),
        taste,
        Corrections(tuple(sorted(pins.items())), tuple(whole.texts("bans"))),
    )


def pin_ranges(corrections: Corrections) -> list[tuple[list[int], str]]:
    """Pins of one song on pages in a row as one: ([first, last], path), pages from 1."""
    ranges = []
    for (path, _), group in groupby(enumerate(corrections.pins), key=lambda item: (item[1][1], item[1][0] - item[0])):
        pages = [page + 1 for _, (page, _) in group]
        ranges.append(([pages[0], pages[-1]], path))
    return ranges


class Object:
    """A JSON object whose values are taken out with their types checked; `where` names it in errors."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            _refuse(where or "the whole", "an object", content)
        self._content: dict[str, Any] = content
        self.where = where

    def only(self, known: set[str]) -> None:
        """Refuse keys that mean nothing."""
        unknown = sorted(self._content.keys() - known)
        if unknown:
            raise InputError(f"{self._at(unknown[0])} means nothing", _AGAIN)

    def text(self, key: str) -> str:
        """A text."""
        return self._text(self._get(key), self._at(key))

    def maybe_text(self, key: str) -> str | None:
        """A text or null."""
        return None if self._get(key) is None else self.text(key)

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        return [self._text(value, f"{self._at(key)}[{i}]") for i, value in enumerate(self._list(key))]

    def number(self, key: str) -> float:
        """A number; a whole one may stand for a float."""
        return self._number(self._get(key), self._at(key))

    def maybe_number(self, key: str) -> float | None:
        """A number or null."""
        return None if self._get(key) is None else self.number(key)

    def maybe_numbers(self, key: str) -> tuple[float, ...] | None:
        """A list of numbers, or null."""
        if self._get(key) is None:
            return None
        return tuple(self._number(value, f"{self._at(key)}[{i}]") for i, value in enumerate(self._list(key)))

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._get(key)
        return value if isinstance(value, bool) else _refuse(self._at(key), "true or false", value)

    def option(self, key: str) -> Any:
        """A value of the type that this field of `Options` has by default."""
        default = getattr(Options(), key)
        if isinstance(default, bool):
            return self.flag(key)
        return self._whole(self._get(key), self._at(key)) if isinstance(default, int) else self.number(key)

    def range(self, key: str) -> tuple[int, int]:
        """Two page numbers from 1, first and last, as pages from 0."""
        values = [self._whole(value, self._at(key)) for value in self._list(key)]
        if len(values) != 2 or not 1 <= values[0] <= values[1]:
            _refuse(self._at(key), "the first and the last page, from 1", values)
        return values[0] - 1, values[1] - 1

    def object(self, key: str) -> Object:
        """An object."""
        return Object(self._get(key), self._at(key))

    def objects(self, key: str) -> list[Object]:
        """A list of objects."""
        return [Object(value, f"{self._at(key)}[{i}]") for i, value in enumerate(self._list(key))]

    def pins(self) -> list[tuple[int, int, str]]:
        """Pins: (first, last, path), pages from 0."""
        return [(*pin.range("pages"), pin.text("path")) for pin in self.objects("pins")]

    def _get(self, key: str) -> Any:
        if key not in self._content:
            raise InputError(f"{self._at(key)} is missing", _AGAIN)
        return self._content[key]

    def _list(self, key: str) -> list[Any]:
        value = self._get(key)
        return value if isinstance(value, list) else _refuse(self._at(key), "a list", value)

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    @staticmethod
    def _text(value: Any, where: str) -> str:
        return value if isinstance(value, str) else _refuse(where, "a text", value)

    @staticmethod
    def _number(value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            _refuse(where, "a number", value)
        return float(value)

    @staticmethod
    def _whole(value: Any, where: str) -> int:
        return (
            value if isinstance(value, int) and not isinstance(value, bool) else _refuse(where, "a whole number", value)
        )


def read_object(data: bytes | str) -> Object:
    """The outermost object of a soundtrack's JSON, its kind and schema checked."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:  # a decoding error is a ValueError too
        raise InputError(f"the soundtrack is not JSON: {error}", _AGAIN) from None
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise InputError(f"the JSON is not a soundtrack: its kind is not {_KIND!r}", "give a soundtrack that mmr wrote")
    whole = Object(content, "")
    schema = content.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        _refuse("schema", "a whole number from 1", schema)
    if schema > SCHEMA:
        raise InputError(
            f"the soundtrack is of schema {schema}, and this program reads up to {SCHEMA}",
            "pip install --upgrade mmr-runtime",
        )
    return whole


def _part(segment: Object) -> Part:
    song = Song(
        segment.text("path"),
        segment.maybe_text("title"),
        segment.maybe_text("artist"),
        segment.maybe_number("seconds"),
        segment.maybe_number("start_s"),
        segment.maybe_number("gain_db"),
        segment.maybe_numbers("moods"),
    )
    first, last = segment.range("pages")
    others = tuple((other.text("path"), other.number("score")) for other in segment.objects("runners_up"))
    return Part(
        first, last, song, segment.number("score"), segment.maybe_number("margin"), others, segment.flag("pinned")
    )


def _refuse(where: str, wanted: str, value: Any) -> NoReturn:
    raise InputError(f"{where} must be {wanted}, not {value!r:.60}", _AGAIN)
