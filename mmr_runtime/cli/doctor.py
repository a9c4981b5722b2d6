"""`mmr doctor`: is everything here that mmr needs, and does it fit together?"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import click

from mmr_runtime import __version__
from mmr_runtime.bundle import Bundle, FileFacts
from mmr_runtime.cli import options
from mmr_runtime.cli.about import onnxruntimes
from mmr_runtime.cli.display import Style, one_line, pad, write, write_json
from mmr_runtime.cli.errors import Command
from mmr_runtime.errors import BundleError, DeviceError, LibraryError, MmrError

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}
_WANTED_FORMATS = ("WAV", "FLAC", "OGG", "MP3")
_BOOK_EXTRAS = {"pdf": "pypdfium2", "cbr": "rarfile"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        state: `ok`, `note` (works, but you may want to know) or `problem`.
        detail: what was found.
        hint: what to do about it.
        exit_code: of a problem.
    """

    name: str
    state: Literal["ok", "note", "problem"]
    detail: str
    hint: str = ""
    exit_code: int = 0


@click.command("doctor", cls=Command, context_settings=options.CONTEXT, short_help="Check the installation.")
@options.model_option
@options.json_option
@options.debug_option
def doctor(model: str, as_json: bool) -> int:
    """Example: mmr doctor

    Check the installation: what is there, what is missing, what to do about it.
    """  # noqa: D415 (an example comes first)
    checks = examine(model)
    if as_json:
        write_json({"schema": 1, "healthy": not exit_code(checks), "checks": [asdict(check) for check in checks]})
    else:
        write(_shown(checks, Style.of(sys.stdout)))
    return exit_code(checks)


def examine(model: str = "default") -> list[Check]:
    """Look at everything, in the order in which things depend on each other."""
    parts: tuple[Callable[[], Iterator[Check]], ...] = (
        _programs,
        _onnxruntime,
        _cores,
        _sound,
        _books,
        lambda: _bundle(model),
        _folders,
        _indexes,
    )
    return [check for part in parts for check in _examined(part)]


def exit_code(checks: list[Check]) -> int:
    """That of the first problem, or 0."""
    return next((check.exit_code for check in checks if check.state == "problem"), 0)


def _examined(part: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from part()
    except ImportError as error:
        name = error.name or "a package"
        yield Check(name, "problem", one_line(str(error)), "pip install --force-reinstall mmr-runtime", 5)


def _programs() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield Check("mmr", "ok", __version__)


def _onnxruntime() -> Iterator[Check]:
    found = onnxruntimes()
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    if len(found) > 1:
        keep = "gpu" if "onnxruntime-gpu" in found else "cpu"
        hint = f"pip uninstall -y {' '.join(found)} && pip install 'mmr-runtime[{keep}]'"
        yield Check("onnxruntime", "problem", f"{text}: they overwrite each other", hint, DeviceError.exit_code)
    from mmr_runtime.sessions import load_onnxruntime, telemetry_is_off

    try:
        runtime = load_onnxruntime()
    except DeviceError as error:
        yield Check("onnxruntime", "problem", error.message, error.hint, error.exit_code)
        return
    if len(found) == 1:
        yield Check("onnxruntime", "ok", text)
    elif not found:
        yield Check("onnxruntime", "note", f"{runtime.__version__}, of no known distribution")
    names = (name.removesuffix("ExecutionProvider") for name in runtime.get_available_providers())
    yield Check("providers", "ok", ", ".join(names))
    if telemetry_is_off():
        yield Check("telemetry", "ok", "off")
    else:
        hint = "set ORT_DISABLE_TELEMETRY=1 before Python starts"
        yield Check("telemetry", "note", "onnxruntime was imported before mmr could turn it off", hint)


def _cores() -> Iterator[Check]:
    from mmr_runtime.sessions import allowed_cores, default_threads

    allowed, there = allowed_cores(), os.cpu_count() or 1
    limit = f"; this process may use {allowed} (affinity, cgroup)" if allowed < there else ""
    yield Check("threads", "ok", f"{default_threads()} of {there} cores{limit}")


def _sound() -> Iterator[Check]:
    try:
        import soundfile
    except OSError as error:  # the package is there and its library is not
        yield Check("libsndfile", "problem", one_line(str(error)), "pip install --force-reinstall soundfile", 5)
        return
    have = soundfile.available_formats()
    formats = [name for name in _WANTED_FORMATS if name in have]
    if "OGG" in have and "OPUS" in soundfile.available_subtypes("OGG"):
        formats.append("OPUS")
    lacks = [name for name in (*_WANTED_FORMATS, "OPUS") if name not in formats]
    text = f"{soundfile.__libsndfile_version__}: {', '.join(formats)}"
    if lacks:
        yield Check("libsndfile", "note", f"{text}; not {', '.join(lacks)}", "pip install --upgrade soundfile")
    else:
        yield Check("libsndfile", "ok", text)
    try:
        yield Check("m4a", "ok", f"av {metadata.version('av')}")
    except metadata.PackageNotFoundError:
        yield Check("m4a", "note", "m4a, wma and webm songs are skipped", "pip install 'mmr-runtime[m4a]'")


def _books() -> Iterator[Check]:
    lacks = [extra for extra, module in _BOOK_EXTRAS.items() if find_spec(module) is None]
    have = ["folders, CBZ, CBT, EPUB", *(extra.upper() for extra in _BOOK_EXTRAS if extra not in lacks)]
    if lacks:
        missing = " and ".join(extra.upper() for extra in lacks)
        hint = f"pip install 'mmr-runtime[{','.join(lacks)}]'"
        yield Check("books", "note", f"{', '.join(have)}; not {missing}", hint)
    else:
        yield Check("books", "ok", ", ".join(have))


def _bundle(model: str) -> Iterator[Check]:
    try:
        bundle = Bundle.open(model)
        for name, facts in bundle.manifest.files.items():
            # Read anew, whatever the cache remembers: this is where damage should come to light.
            if FileFacts.of(bundle.path(name)) != facts:
                raise BundleError(f"{bundle.folder / name} is damaged", "copy the bundle again")
    except MmrError as error:
        yield Check("model", "problem", one_line(error.message), error.hint, BundleError.exit_code)
        return
    size = sum(facts.bytes for facts in bundle.manifest.files.values()) / 1e6
    yield Check("model", "ok", one_line(f"{bundle.manifest.id}, {size:.1f} MB, hashes match, at {bundle.folder}"))


def _folders() -> Iterator[Check]:
    from platformdirs import user_cache_path, user_data_path

    cache, data = user_cache_path("mmr", appauthor=False), user_data_path("mmr", appauthor=False)
    if _is_writable(cache):
        yield Check("cache", "ok", one_line(str(cache)))
    else:
        yield Check("cache", "note", one_line(f"{cache} cannot be written: starts are slower"), "make it writable")
    if _is_writable(data):
        yield Check("data", "ok", one_line(str(data)))
    else:
        hint = "make it writable, or give --index DIR with every command"
        text = one_line(f"{data} cannot be written: no index can be kept there")
        yield Check("data", "problem", text, hint, LibraryError.exit_code)


def _indexes() -> Iterator[Check]:
    """Indexes in the user's data folder, looked at without changing them."""
    import sqlite3

    from platformdirs import user_data_path

    from mmr_runtime.library.schema import SCHEMA

    for path in sorted((user_data_path("mmr", appauthor=False) / "libraries").glob("*/index.db")):
        try:
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as index:
                state = index.execute("PRAGMA quick_check(1)").fetchone()[0]
                schema = index.execute("PRAGMA user_version").fetchone()[0]
                count = index.execute("SELECT count(*) FROM file WHERE content NOT NULL").fetchone()[0]
        except sqlite3.Error as error:
            state, schema, count = str(error), 0, 0
        if state != "ok":
            hint = "move it away to index anew"
            yield Check("index", "problem", one_line(f"{path} is damaged: {state}"), hint, LibraryError.exit_code)
        elif schema > SCHEMA:
            hint = "update mmr"
            text = one_line(f"{path} is a newer mmr's (schema {schema})")
            yield Check("index", "problem", text, hint, LibraryError.exit_code)
        else:
            yield Check("index", "ok", one_line(f"{count} files at {path.parent}"))


def _is_writable(folder: Path) -> bool:
    """Whether files can be made there; tried, because permission bits do not tell of read-only disks."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


def _shown(checks: list[Check], style: Style) -> str:
    names = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        state = style.paint(pad(check.state, len("problem")), fg=_COLOURS[check.state])
        lines.append(f"{state}  {pad(check.name, names)}  {check.detail}")
        if check.hint:
            lines.append(f"{' ' * (len('problem') + names + 4)}hint: {check.hint}")
    return "\n".join(lines)
