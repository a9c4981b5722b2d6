"""`mmr serve`: a side process for programs in other languages."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.errors import Command
from mmr_runtime.errors import UsageError


@click.command("serve", cls=Command, context_settings=options.CONTEXT, short_help="Serve another program.")
@click.option("--stdio", is_flag=True, help="One JSON object a line on stdin and stdout.")
@click.option(
    "--socket",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[PATH]",
    help="On a socket that only you may use, for mmr-ctl.",
)
@options.library_option
@options.index_option
@options.engine_options
@options.debug_option
def serve(
    stdio: bool, socket: str | None, folders: tuple[Path, ...], index: Path | None, choice: options.EngineChoice
) -> None:
    """Example: mmr serve --stdio --library ~/Music

    Answer requests of another program until it closes stdin; docs/protocol says which there are. Whatever is printed
    by accident goes to stderr: stdout belongs to the protocol.
    """  # noqa: D415 (an example comes first)
    if stdio == (socket is not None):
        raise UsageError("there is one way to talk, or the other", "mmr serve --stdio, or mmr serve --socket")
    if not folders:
        raise UsageError("there are no songs to choose from", "name a folder with --library")
    out = _own_stdout()
    from mmr_runtime import __version__
    from mmr_runtime.ctl import default_socket
    from mmr_runtime.serve import Server, serve_socket

    with (
        out,
        choice.open() as engine,
        options.library_of(engine, folders, index) as library,
        Server(engine, library, __version__) as server,
    ):
        if socket is None:
            server.serve(sys.stdin.buffer, out)
        else:
            path = Path(socket or default_socket())
            click.echo(f"listening on {path}", err=True)
            serve_socket(server, path)


def _own_stdout() -> BinaryIO:
    """Keep stdout for the protocol alone: whatever is imported later and prints, prints on stderr."""
    try:
        os.fstat(2)
    except OSError:  # a client without a console may give none, and its number would be taken by the next file
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out
