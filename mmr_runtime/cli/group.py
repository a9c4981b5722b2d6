"""`mmr`: all commands, with those that other packages bring."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import one_line
from mmr_runtime.cli.errors import Group
from mmr_runtime.errors import DeviceError

if TYPE_CHECKING:
    from importlib import metadata

PLUGINS = "mmr.commands"
"""Entry points of this group name click commands; the entry point's name is the command's."""

_OWN = ("rank", "soundtrack", "report", "describe", "serve", "index", "doctor")  # each in the module of its name


@cache
def plugins() -> dict[str, metadata.EntryPoint]:
    """Commands of other packages by name."""
    from importlib import metadata  # costs 20 ms, which our own commands need not pay

    return {entry.name: entry for entry in metadata.entry_points(group=PLUGINS) if entry.name not in _OWN}


class CommandGroup(Group):
    """Finds commands on demand: one that is broken cannot hurt another."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Names of all commands: our own first."""
        return [*_OWN, *sorted(plugins())]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name, or one that says why it cannot be had."""
        if name in _OWN:
            command: click.Command = getattr(import_module(f"mmr_runtime.cli.{name}"), name)
            return command
        return _load(name, plugins()[name]) if name in plugins() else None


def _load(name: str, entry: metadata.EntryPoint) -> click.Command:
    try:
        found = entry.load()
    except Exception as error:  # whatever another package raises when it is imported
        return _broken(name, entry, error)
    if not isinstance(found, click.Command):
        return _broken(name, entry, TypeError(f"{entry.value} is no click command"))
    return found


def _broken(name: str, entry: metadata.EntryPoint, error: Exception) -> click.Command:
    package = entry.dist.name if entry.dist else entry.module
    reason = one_line(f"{type(error).__name__}: {error}")

    def fail(args: tuple[str, ...]) -> None:  # noqa: ARG001 (whatever was asked)
        hint = f"pip install what is missing, or reinstall {package}, which brings the command"
        raise DeviceError(f"the command {name} cannot be loaded: {reason}", hint) from error

    everything = click.Argument(["args"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True}
    return click.Command(
        name,
        callback=fail,
        params=[everything],
        context_settings=settings,
        add_help_option=False,
        short_help=f"(cannot be loaded: {reason})",
    )


@click.group(cls=CommandGroup, context_settings=options.CONTEXT, invoke_without_command=True)
@options.debug_option
@options.version_option
@click.pass_context
def mmr(ctx: click.Context) -> None:
    """Example: mmr rank page.png --library ~/Music

    Music for manga: finds the songs of your own that fit a page, offline.
    """  # noqa: D415 (an example comes first)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
