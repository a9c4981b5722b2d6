"""Whatever goes wrong: one line of what, one of what to do, the documented exit code, no traceback unasked."""

from __future__ import annotations

import errno
import os

import click
import pytest
from click.testing import CliRunner, Result

from mmr_runtime import errors
from mmr_runtime.cli.errors import Command, Group
from mmr_runtime.cli.options import debug_option


def ran(raised: BaseException | None, *words: str, returned: object = None) -> Result:
    @click.command(cls=Command)
    @debug_option
    def work() -> object:
        if raised is not None:
            raise raised
        return returned

    return CliRunner().invoke(work, list(words))


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.ImageError, 3),
        (errors.AudioError, 3),
        (errors.MissingFileError, 3),
        (errors.BundleError, 4),
        (errors.CheckpointError, 4),
        (errors.ExportError, 4),
        (errors.DeviceError, 5),
        (errors.LibraryError, 6),
        (errors.CancelledError, 130),
    ],
)
def test_every_kind_of_error_has_its_code(kind: type[errors.MmrError], code: int) -> None:
    result = ran(kind("it broke", "mend it"))
    assert (result.exit_code, result.stderr, result.stdout) == (code, "error: it broke\nhint: mend it\n", "")


def test_an_error_without_a_hint_is_one_line() -> None:
    assert ran(errors.InputError("it broke")).stderr == "error: it broke\n"


def test_an_error_with_a_strange_name_in_it_is_still_one_line() -> None:
    assert ran(errors.InputError("a\nb\x1b[2J.png broke")).stderr == "error: a?b?[2J.png broke\n"


def test_debug_shows_where() -> None:
    result = ran(errors.InputError("it broke", "mend it"), "--debug")
    assert result.exit_code == 3
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("error: it broke\nhint: mend it\n")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt(interrupt: BaseException) -> None:
    result = ran(interrupt)
    assert (result.exit_code, result.stderr) == (130, "error: interrupted\n")


def test_a_bug_is_called_one() -> None:
    result = ran(KeyError("x"))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "error: unexpected KeyError: 'x'"
    assert "--debug" in result.stderr.splitlines()[1]


def test_an_error_of_the_system_is_told_in_its_words() -> None:
    result = ran(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.json"))
    assert (result.exit_code, result.stderr.splitlines()[0]) == (1, "error: No space left on device: out.json")


def test_a_missing_package_is_named_with_the_command_that_brings_it() -> None:
    result = ran(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert result.exit_code == 5
    assert "the Python package torch is not installed" in result.stderr
    assert "pip install 'mmr-runtime[export]'" in result.stderr


def test_wrong_use_points_to_the_help() -> None:
    result = ran(None, "--nonsense")
    error, hint = result.stderr.splitlines()
    assert result.exit_code == 2
    assert "--nonsense" in error
    assert hint == "hint: see work --help"


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), ("text", 0), (True, 1)])
def test_the_number_that_a_command_returns_is_its_exit_code(returned: object, code: int) -> None:
    assert ran(None, returned=returned).exit_code == code


def test_a_group_reports_for_commands_that_know_nothing_of_it() -> None:
    @click.group(cls=Group)
    @debug_option
    def group() -> None: ...

    @group.command()
    def plain() -> None:
        raise errors.BundleError("it broke", "mend it")

    result = CliRunner().invoke(group, ["plain"])
    assert (result.exit_code, result.stderr) == (4, "error: it broke\nhint: mend it\n")
    assert CliRunner().invoke(group, ["--debug", "plain"]).stderr.startswith("Traceback")


def test_a_caller_that_wants_the_exception_gets_it() -> None:
    @click.command(cls=Command)
    def work() -> None:
        raise errors.InputError("it broke")

    with pytest.raises(errors.InputError):
        work.main([], standalone_mode=False)
