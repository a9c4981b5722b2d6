"""`mmr-reader BOOK --library DIR`."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.errors import Command
from mmr_runtime.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine


@click.command("mmr-reader", cls=Command, context_settings=options.CONTEXT)
@click.argument("book", type=options.PATH)
@click.option("--page", type=click.IntRange(min=1), help="Page to begin with. Default: where you left it.")
@options.library_option
@options.index_option
@options.engine_options
@options.debug_option
def reader(
    book: Path, page: int | None, folders: tuple[Path, ...], index: Path | None, choice: options.EngineChoice
) -> int:
    """Example: mmr-reader volume.cbz --library ~/Music

    Read BOOK (a folder, CBZ, CBT, CBR, EPUB or PDF) with music from your own songs. M switches the music on and off, D
    shows two pages, F fills the screen, P pins the song to these pages.
    """  # noqa: D415 (an example comes first)
    if not folders:
        raise UsageError("there are no songs to choose from", "name a folder with --library")
    try:
        from PySide6.QtWidgets import QApplication

        from mmr_runtime.reader.window import Window
    except ImportError as error:
        raise DeviceError(f"the reader needs PySide6: {error}", "pip install 'mmr-runtime[reader]'") from error
    from mmr_runtime.books import Book

    application = QApplication.instance() or QApplication(sys.argv[:1])
    QApplication.setStyle("Fusion")  # looks alike everywhere, light or dark as the system is
    with (
        choice.open() as engine,
        Book.open(book) as opened,
        options.library_of(engine, folders, index) as library,
    ):
        make_ready(engine)
        window = Window(opened, library, None if page is None else page - 1)
        window.show()
        return int(application.exec())


def make_ready(engine: Engine) -> None:
    """Do before the window is there what would hold it up later, for a tenth of a second at a time.

    Making a network holds the interpreter, and so does looking through all that was ever imported for what can be
    thrown away (measured: benchmarks/reader.py); what is there now stays.
    """
    engine.warmup(("image", "text", "audio"))
    gc.collect()
    gc.freeze()


def main() -> None:
    """The program."""
    reader.main()
