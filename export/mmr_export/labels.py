"""Label sets: the names that a user sees and the prompts that the text tower is asked."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmr_runtime.bundle import LabelSet
from mmr_runtime.errors import UsageError
from mmr_runtime.moods import GENRE_PROMPTS, GENRES, MOOD_PROMPTS, MOODS

DEFAULT_LABELS = {"mood": LabelSet(MOODS, MOOD_PROMPTS), "genre": LabelSet(GENRES, GENRE_PROMPTS)}
"""The paper's seven moods and twelve genres."""

_SET_NAME = re.compile(r"(?!calibration_|directions_|reference_)[a-z][a-z0-9_]{0,39}")
_HINT = 'for example, in TOML: [weather] rain = "rainy day music"; or weather = ["rain", "snow"]'
_MAX_FILE_BYTES = 1 << 20


def read_labels(path: str | Path) -> dict[str, LabelSet]:
    """Read label sets from a TOML or JSON file: set -> {name: prompt}, or set -> [name, ...], each its own prompt.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UsageError(f"{path} is larger than {_MAX_FILE_BYTES} bytes", _HINT)
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", _HINT) from None
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        raise UsageError(f"{path} is not {kind}: {error}", _HINT) from None
    return parse_labels(content, str(path))


def parse_labels(content: Any, source: str) -> dict[str, LabelSet]:
    """Label sets from plain values, as `read_labels` has them; `source` names them in errors.

    Raises:
        UsageError: anything else than sets of names and prompts, or moods other than the seven.
    """
    if not isinstance(content, Mapping):
        raise UsageError(f"{source} must hold label sets by name", _HINT)
    return {name: _label_set(name, values, source) for name, values in content.items()}


def _label_set(name: Any, values: Any, source: str) -> LabelSet:
    if not isinstance(name, str) or not _SET_NAME.fullmatch(name):
        raise UsageError(f"{source}: {name!r:.60} cannot be the name of a label set", "use a-z, 0-9 and _")
    pairs = dict.fromkeys(values) if isinstance(values, list) and all(isinstance(v, str) for v in values) else values
    if not isinstance(pairs, Mapping) or not pairs:
        raise UsageError(f"{source}: the label set {name} holds no names", _HINT)
    for label, prompt in pairs.items():
        if not isinstance(label, str) or not label.strip() or not isinstance(prompt, str | None):
            raise UsageError(f"{source}: {name}: {label!r:.60} is no name with a prompt", _HINT)
    if name == "mood" and set(pairs) != set(MOODS):
        raise UsageError(
            f"{source}: the label set mood must have exactly {', '.join(MOODS)}", "give other sets other names"
        )
    names = MOODS if name == "mood" else tuple(pairs)
    return LabelSet(names, tuple(pairs[label] or label for label in names))
