"""What `mmr soundtrack` and `mmr report` share: a book, a library, a taste, and what was set by hand before."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import one_line
from mmr_runtime.cli.progress import ProgressBar, update_library
from mmr_runtime.errors import InputError, LibraryError, UsageError

if TYPE_CHECKING:
    from mmr_runtime.books import Book
    from mmr_runtime.engine import Engine
    from mmr_runtime.library import Library
    from mmr_runtime.soundtrack import Corrections, Fit, Options, Soundtrack

_PIN = re.compile(r"(?P<first>\d{1,6})(?:-(?P<last>\d{1,6}))?=(?P<song>.+)", re.DOTALL)


@dataclass(frozen=True)
class Wishes:
    """What the user asks for.

    Attributes:
        change: see `soundtrack.Options`.
        min_seconds: that a song plays at least.
        pace: seconds that a page is read.
        one_song: for the whole book.
        pins: as typed, `12=song` or `12-15=song`.
        bans: songs, by path or the end of it.
        ocr: read the lettering of pages whose dialogue nobody wrote down.
        start: where a song begins, `best` or `intro`.
        edit: an exported soundtrack that was changed by hand.
        fresh: forget what was set by hand before.
    """

    change: float
    min_seconds: float
    pace: float
    one_song: bool
    pins: tuple[str, ...] = ()
    bans: tuple[str, ...] = ()
    ocr: bool = False
    start: Literal["best", "intro"] = "best"
    edit: Path | None = None
    fresh: bool = False

    def options(self) -> Options:
        """As the plan takes them."""
        from mmr_runtime.soundtrack import Options

        least = max(1, math.ceil(self.min_seconds / self.pace))
        return Options(self.change, least, one_song=self.one_song, min_seconds=self.min_seconds)

    def parsed_pins(self, pages: int) -> list[tuple[int, int, str]]:
        """Pins as (first, last, song), pages from 0.

        Raises:
            UsageError: one cannot be read, or names pages that the book has not.
        """
        found = []
        for text in self.pins:
            match = _PIN.fullmatch(text)
            if not match:
                raise UsageError(f"--pin {text} says nothing", "write --pin 12=song.ogg or --pin 12-15=song.ogg")
            first, last = int(match["first"]), int(match["last"] or match["first"])
            if not 1 <= first <= last <= pages:
                raise UsageError(f"--pin {text}: the book has pages 1 to {pages}", "pin pages of the book")
            found.append((first - 1, last - 1, match["song"]))
        return found


@dataclass(frozen=True)
class Place:
    """Where the songs are.

    Attributes:
        folders: of the library.
        index: folder of the index, or None for the default one.
        update: bring the index up to date first.
        verbose: name what was left out.
        allowed: which songs may be chosen.
    """

    folders: tuple[Path, ...]
    index: Path | None
    update: bool
    verbose: bool
    allowed: options.FilterChoice

    def __post_init__(self) -> None:
        if not self.folders:
            raise UsageError("there are no songs to choose from", "name a folder with --library")


@dataclass(frozen=True, eq=False)
class Volume:
    """A book with its soundtrack."""

    book: Book
    library: Library
    fitted: Fit
    soundtrack: Soundtrack
    problems: list[str]


def volume_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `Wishes` and `Place`, which arrive as `wishes` and `place`."""

    @wraps(function)
    def gathered(*args: Any, no_update: bool, **others: Any) -> Any:
        place = Place(
            update=not no_update, **{name: others.pop(name) for name in ("folders", "index", "verbose", "allowed")}
        )
        names = ("change", "min_seconds", "pace", "one_song", "pins", "bans", "ocr", "start", "edit", "fresh")
        return function(*args, wishes=Wishes(**{name: others.pop(name) for name in names}), place=place, **others)

    taste = (
        options.library_option,
        click.option(
            "--change",
            type=click.FloatRange(0, 1),
            default=0.5,
            show_default=True,
            help="How readily the music changes: 0 never, 1 whenever another song fits better.",
        ),
        click.option(
            "--min-seconds",
            type=click.FloatRange(min=0),
            default=30,
            show_default=True,
            help="Time that a song plays at least.",
        ),
        click.option(
            "--pace",
            type=click.FloatRange(min=0.5),
            default=8,
            show_default=True,
            help="Seconds that you read a page; it turns --min-seconds into pages.",
        ),
        click.option("--one-song", is_flag=True, help="One song for the whole book."),
        click.option(
            "--pin", "pins", multiple=True, metavar="PAGES=SONG", help="This song on these pages: 12-15=a.ogg"
        ),
        click.option("--ban", "bans", multiple=True, metavar="SONG", help="Never this song in this book."),
        click.option("--ocr", is_flag=True, help="Read English lettering where no dialogue is given (extra ocr)."),
        click.option(
            "--start",
            type=click.Choice(["best", "intro"]),
            default="best",
            show_default=True,
            help="Where a song begins: where it fits best, or at its beginning.",
        ),
        click.option("--edit", type=options.PATH, help="Take over what was changed in an exported soundtrack."),
        click.option("--fresh", is_flag=True, help="Forget what was pinned, banned and edited for this book."),
        options.index_option,
        click.option("--no-update", is_flag=True, help="Use the index as it is, without looking at the folders."),
    )
    command = options.filter_options(gathered)
    for option in reversed(taste):
        command = option(command)
    return command


@contextmanager
def composed(engine: Engine, path: Path, wishes: Wishes, place: Place) -> Iterator[Volume | None]:
    """Open a book and a library and compose the soundtrack; None where there are no songs.

    What was set by hand is kept in the library's index, by book.
    """
    from mmr_runtime.books import Book, VectorCache, embed_book
    from mmr_runtime.books.ocr import Lettering
    from mmr_runtime.library import Library, Progress
    from mmr_runtime.soundtrack import compose, fit
    from mmr_runtime.soundtrack.memory import remember_corrections, remember_soundtrack

    with Book.open(path) as book, Library.open(place.folders, engine, place.index) as library:
        if place.update:
            update_library(library, verbose=place.verbose)
        everything = library.contents()
        paths = [str(track.path) for track in everything.tracks]
        corrections = _corrected(book, library, wishes, paths)
        present, absent = _present(corrections, paths)
        allowed, pinned = place.allowed.make(), {path for _, path in present.pins}
        # What was set by hand stands, whatever else is allowed.
        filters = allowed and (lambda track: allowed(track) or str(track.path) in pinned)
        songs = library.contents(filters) if filters else everything
        if not songs.tracks:
            yield None
            return
        read = Lettering().read if wishes.ocr else None
        cache = VectorCache()
        bar = ProgressBar("pages", sys.stderr, "reading")
        try:
            embedding = embed_book(
                book, engine, cache, read=read, progress=lambda done, all_: bar(Progress(done, all_, None))
            )
        finally:
            bar.close()
            cache.close()
        fitted = fit(embedding, library, songs)
        names = [f"page {page + 1}, {book.pages[page].name}, {why}" for page, why in embedding.problems]
        problems = list(dict.fromkeys([*book.notes, *names, *absent]))
        soundtrack = compose(book, library, fitted, wishes.options(), present, wishes.start)
        try:
            remember_corrections(library, book, corrections)
            remember_soundtrack(library, book, replace(soundtrack, corrections=corrections))
        except LibraryError as error:
            click.echo(f"note: what was set by hand is not kept: {one_line(error.message)}", err=True)
        yield Volume(book, library, fitted, soundtrack, problems)


def _corrected(book: Book, library: Library, wishes: Wishes, paths: list[str]) -> Corrections:
    """What was set by hand before, and what the user adds to it now."""
    from mmr_runtime.soundtrack import Corrections, correct, revise
    from mmr_runtime.soundtrack.memory import recall_corrections, recall_soundtrack

    corrections = Corrections() if wishes.fresh else recall_corrections(library, book)
    if wishes.edit is not None:
        edited = _read(wishes.edit)
        # What changed is told by what was exported: the soundtrack of the last run.
        exported = recall_soundtrack(library, book)
        if exported is None:
            raise UsageError(f"nothing was exported of {book.title} that could be edited", "export it first, with -o")
        corrections = revise(exported, edited, paths)
    return correct(corrections, paths, pins=wishes.parsed_pins(len(book)), bans=wishes.bans)


def _present(corrections: Corrections, paths: list[str]) -> tuple[Corrections, list[str]]:
    """Corrections without pins to songs that are not there now, and what to say of those."""
    here = set(paths)
    pins = tuple((page, path) for page, path in corrections.pins if path in here)
    gone = dict.fromkeys(path for _, path in corrections.pins if path not in here)
    return replace(corrections, pins=pins), [f"{path} is pinned and not in the library now" for path in gone]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error


def tell_problems(volume: Volume, *, verbose: bool) -> None:
    """Say on stderr what of a book was left out."""
    problems = volume.problems
    if problems:
        count = len(problems)
        more = "" if verbose else " (-v says more)"
        click.echo(f"left out: {count} {'thing' if count == 1 else 'things'} of the book{more}", err=True)
        for problem in problems if verbose else ():
            click.echo(f"  {one_line(problem)}", err=True)
    unread = volume.book.dialogue.unread
    if unread:
        click.echo(f"note: {unread} lines of dialogue are in a script that the model does not read", err=True)
