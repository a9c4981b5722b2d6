"""Options that several commands share, and the engine that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mmr_runtime.bundle import PRECISIONS
from mmr_runtime.cli.errors import Run

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine
    from mmr_runtime.library import Filters, Kind, Library
    from mmr_runtime.sessions import Device

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PATH = click.Path(path_type=Path)
_DEVICES = ("auto", "cpu", "cuda")  # sessions.DEVICES, whose module is too heavy for --help; a test compares them
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class EngineChoice:
    """Which engine the user asked for."""

    model: str = "default"
    device: Device = "auto"
    threads: int | None = None
    precision: str = "auto"

    def open(self) -> Engine:
        """Open it."""
        from mmr_runtime.engine import Engine

        return Engine.open(self.model, device=self.device, precision=self.precision, threads=self.threads)


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, Run):
        ctx.obj.debug = True


debug_option = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error.",
)
library_option = click.option(
    "--library", "folders", multiple=True, type=PATH, help="Folder or playlist of songs; may be repeated."
)
store_option = click.option(
    "--store", metavar="ADDRESS", help="Search in Milvus: milvus://host:19530, or milvus:///file.db."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Name the files that were skipped, and why.")
index_option = click.option(
    "--index", type=PATH, help="Folder to keep the index in. Default: one in your data folder for these folders."
)


def model_option(function: _F) -> _F:
    """Add `--model`."""
    text = "Folder of a model bundle; `default` is the one that comes with mmr."
    return click.option("--model", default="default", show_default=True, metavar="DIR", help=text)(function)


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--model`, `--device`, `--threads`, `--precision`, which arrive as one `EngineChoice` called `choice`."""

    @wraps(function)
    def with_choice(*args: Any, model: str, device: Device, threads: int | None, precision: str, **others: Any) -> Any:
        return function(*args, choice=EngineChoice(model, device, threads, precision), **others)

    options = (
        model_option,
        click.option("--device", type=click.Choice(_DEVICES), default="auto", show_default=True),
        click.option("--threads", type=click.IntRange(min=1), help="Cores to use. Default: those allowed, at most 4."),
        click.option("--precision", type=click.Choice(["auto", *PRECISIONS]), default="auto", show_default=True),
    )
    for option in reversed(options):
        with_choice = option(with_choice)
    return with_choice


@dataclass(frozen=True)
class FilterChoice:
    """Which songs the user allows, as typed."""

    genres: tuple[str, ...]
    artists: tuple[str, ...]
    folders: tuple[Path, ...]
    playlist: Path | None
    instrumental: bool
    min_seconds: float
    max_seconds: float | None

    def make(self) -> Filters | None:
        """The filter, or None where all songs are allowed."""
        from mmr_runtime.library import Filters

        filters = Filters.of(**vars(self))
        return None if filters == Filters() else filters


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `FilterChoice`, which arrive as one called `allowed`."""

    @wraps(function)
    def with_filters(*args: Any, **others: Any) -> Any:
        names = {name: f"allow_{name}" for name in FilterChoice.__dataclass_fields__}
        choice = FilterChoice(**{name: others.pop(option) for name, option in names.items()})
        return function(*args, allowed=choice, **others)

    options = (
        click.option("--genre", "allow_genres", multiple=True, metavar="TEXT", help="Only songs of this genre."),
        click.option("--artist", "allow_artists", multiple=True, metavar="TEXT", help="Only songs of this artist."),
        click.option("--folder", "allow_folders", multiple=True, type=PATH, help="Only songs in this folder."),
        click.option("--playlist", "allow_playlist", type=PATH, help="Only songs of this M3U, M3U8, XSPF or JSPF."),
        click.option(
            "--instrumental", "allow_instrumental", is_flag=True, help="Only songs whose tags say that nobody sings."
        ),
        click.option(
            "--min-length", "allow_min_seconds", type=click.FloatRange(min=0), default=0, help="Seconds, at least."
        ),
        click.option("--max-length", "allow_max_seconds", type=click.FloatRange(min=0), help="Seconds, at most."),
    )
    for option in reversed(options):
        with_filters = option(with_filters)
    return with_filters


def library_of(
    engine: Engine, folders: tuple[Path, ...], index: Path | None, store: str | None = None, kind: Kind = "songs"
) -> Library:
    """Open the library that the user named, with its vectors where the user keeps them."""
    from mmr_runtime.library import Library

    if store is None:
        return Library.open(folders, engine, index, kind=kind)
    from mmr_runtime.library.vectors import Milvus

    return Library.open(folders, engine, index, kind=kind, vectors=Milvus(store))


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from mmr_runtime.cli.about import version_text

        click.echo(version_text())
        ctx.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the versions of mmr and onnxruntime and the default model, and exit.",
)
