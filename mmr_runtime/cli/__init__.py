"""The commands `mmr` and `mmr-infer`. Nothing numeric is imported before a command has work for it."""

from __future__ import annotations


def main() -> None:
    """Run `mmr`; ends the process with its exit code."""
    from mmr_runtime.cli.group import mmr

    mmr.main(prog_name="mmr")


def infer_main() -> None:
    """Run `mmr-infer`, which is `mmr rank`; ends the process with its exit code."""
    from mmr_runtime.cli.rank import rank

    rank.main(prog_name="mmr-infer")
