"""The one place where errors become lines on stderr and an exit code (DESIGN section 4).

A command made with `cls=Command`, or any command inside a `Group`, may raise what it likes: an `MmrError` is shown as
one line of what happened and one of what to do; wrong use, an interrupt, a closed pipe and a plain bug have their own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from mmr_runtime.cli.display import one_line
from mmr_runtime.errors import CancelledError, DeviceError, MmrError

NOTHING_FOUND = 1


def nothing_found(why: str, folders: Iterable[Path]) -> int:
    """Say that there was nothing in these folders; the exit code of that."""
    click.echo(f"nothing found: {why} {', '.join(one_line(str(folder)) for folder in folders)}", err=True)
    return NOTHING_FOUND


@dataclass
class Run:
    """What is known of one run of a program; click carries it as `ctx.obj`."""

    debug: bool = False


class Command(click.Command):
    """A command whose errors are reported as all commands of mmr report them.

    An int that its function returns is the exit code; `ctx.exit` works as well.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run it and end the process, as click's own `main`."""
        state = Run()
        # `standalone_mode` off: click hands errors on instead of ending the process.
        start = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **{"obj": state, **extra})
        if not standalone_mode:
            return start()
        sys.exit(guarded(start, state))

    def invoke(self, ctx: click.Context) -> Any:
        """Call the function; click would end an interrupt with code 1, and a closed pipe too."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Who closed the pipe has seen enough: that is no error (`mmr-infer ... | head -3`).
            _drop_stdout()
            ctx.exit(0)
        except KeyboardInterrupt:
            raise CancelledError("interrupted") from None


class Group(Command, click.Group):
    """A group of commands with the same reporting, for every command inside."""


def guarded(work: Callable[[], Any], run: Run) -> int:
    """Do the work; report on stderr whatever it raises.

    Returns:
        the exit code.
    """
    try:
        result = work()
    except click.Abort:
        return report(CancelledError("interrupted"), debug=run.debug)
    except Exception as error:  # the last stop: a user gets no traceback unasked
        return report(error, debug=run.debug)
    return result if isinstance(result, int) else 0


def report(error: Exception, *, debug: bool = False) -> int:
    """Show an error as `error: ...` and, where there is something to do about it, `hint: ...`.

    Args:
        error: of any kind.
        debug: show the traceback too.

    Returns:
        the exit code that belongs to it.
    """
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    message, hint, code = _explained(error)
    click.echo(f"error: {one_line(message)}", err=True)
    if hint:
        click.echo(f"hint: {one_line(hint)}", err=True)
    return code


def _explained(error: Exception) -> tuple[str, str, int]:
    """Message, hint and exit code."""
    if isinstance(error, MmrError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        return error.format_message(), f"see {context.command_path} --help" if context else "", error.exit_code
    if isinstance(error, ModuleNotFoundError):
        hint = "pip install it; training and export need: pip install 'mmr-runtime[export]'"
        return f"the Python package {error.name} is not installed", hint, DeviceError.exit_code
    if isinstance(error, OSError) and error.strerror:
        place = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        return f"{error.strerror}{place}", "run it again with --debug to see where", 1
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {text}", "this is a bug: run it again with --debug and report what it says", 1


def _drop_stdout() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes it at its end, and would complain."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
