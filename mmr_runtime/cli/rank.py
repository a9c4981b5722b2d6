"""`mmr-infer`, also called `mmr rank`: which songs fit a page, or which pages a song."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import Column, Style, bars, clock, table, write, write_json
from mmr_runtime.cli.errors import Command, nothing_found
from mmr_runtime.cli.progress import report_json, update_library
from mmr_runtime.errors import UsageError
from mmr_runtime.moods import MOODS

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine
    from mmr_runtime.library import Filters, Kind, Match, UpdateReport
    from mmr_runtime.rank import Query

_COLUMNS = (
    Column("rank", right=True),
    Column("score", right=True),
    Column("mood"),
    Column("start", right=True),
    Column("title", shrinks="end"),
    Column("path", shrinks="front", dim=True),
)
_DIGITS = 6  # of scores and shares in JSON: float32 holds no more


@dataclass(frozen=True)
class Question:
    """What the user asks with: pages, perhaps with their dialogue; or a text alone; or a song."""

    pages: tuple[Path, ...]
    text: str | None
    song: Path | None
    spread: Literal["auto", "whole"]

    def __post_init__(self) -> None:
        if self.song is not None and (self.pages or self.text is not None):
            raise UsageError("--song is a question by itself", "leave out the pages and --text, or leave out --song")
        if self.song is None and not self.pages and self.text is None:
            raise UsageError("there is nothing to search for", "give a page, or --text, or --song")
        if self.text is not None and not self.text.strip():
            raise UsageError("--text is empty", 'say what is spoken: --text "I will never forgive you!"')

    @property
    def kind(self) -> Kind:
        """What is searched."""
        return "songs" if self.song is None else "pages"

    def embed(self, engine: Engine) -> Query:
        """The question as vectors."""
        from mmr_runtime.rank import Query

        if self.song is not None:
            return Query("audio", engine.embed_audio(self.song).vector[None])
        spoken = engine.embed_texts([self.text]) if self.text else None
        if not self.pages:
            assert spoken is not None
            return Query("text", spoken)
        return Query("image", engine.embed_images(self.pages, spread=self.spread), spoken)

    def as_json(self, moods: dict[str, float] | None) -> dict[str, Any]:
        """Plain values for `--json`."""
        song = None if self.song is None else str(self.song)
        return {"pages": [str(page) for page in self.pages], "text": self.text, "song": song, "moods": moods}


@dataclass(frozen=True)
class Search:
    """Where to look, and how.

    Attributes:
        folders: of the library; none: only the query's moods are asked for.
        index: folder of the index, or None for the default one.
        top: how many matches at most.
        update: bring the index up to date first.
        moods: tell the query's own moods.
        verbose: name skipped files.
        store: address of the vector store, or None to search here.
    """

    folders: tuple[Path, ...]
    index: Path | None
    store: str | None
    top: int
    update: bool
    moods: bool
    verbose: bool

    def __post_init__(self) -> None:
        if not self.folders and not self.moods:
            raise UsageError("there is nothing to search in", "name a folder with --library, or ask for --moods alone")


@dataclass(frozen=True)
class Answer:
    """What was found; `indexed` is None where no index was updated, `moods` where they were not asked for."""

    model: str
    moods: dict[str, float] | None
    matches: list[Match]
    indexed: UpdateReport | None


@click.command("mmr-infer", cls=Command, context_settings=options.CONTEXT, short_help="Rank songs for manga pages.")
@click.argument("pages", nargs=-1, type=options.PATH)
@options.library_option
@click.option("--text", help="Dialogue of the pages; without pages, what to search for.")
@click.option("--song", type=options.PATH, help="Rank the library's pages for this song instead.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Matches to show.")
@click.option("--moods", is_flag=True, help="Show the moods of the query too; needs no --library.")
@click.option(
    "--spread",
    type=click.Choice(["auto", "whole"]),
    default="auto",
    show_default=True,
    help="An image wider than tall: two pages, or one.",
)
@options.store_option
@options.filter_options
@options.index_option
@click.option("--no-update", is_flag=True, help="Use the index as it is, without looking at the folders.")
@options.engine_options
@options.json_option
@options.verbose_option
@options.debug_option
@options.version_option
def rank(
    pages: tuple[Path, ...],
    text: str | None,
    song: Path | None,
    spread: Literal["auto", "whole"],
    no_update: bool,
    as_json: bool,
    choice: options.EngineChoice,
    allowed: options.FilterChoice,
    **where: Any,
) -> int:
    """Example: mmr-infer page.png --library ~/Music

    Rank the songs of a library for PAGES of a manga. Several pages are one query: they belong together. The first run
    listens to every song, later ones only to what changed.

    \b
    mmr-infer p12.png p13.png --library ~/Music --text "Run!" --top 3
    mmr-infer --text "rain on a lonely street" --library ~/Music
    mmr-infer --song theme.mp3 --library pages/
    """  # noqa: D301, D415 (click's mark for lines that are kept; an example comes first)
    question = Question(pages, text, song, spread)
    search = Search(update=not no_update, **where)
    filters = allowed.make()
    with choice.open() as engine:
        answer = _answer(engine, question, search, filters)
    if as_json:
        write_json(_as_json(question, answer))
    else:
        _show(question, answer)
    if search.folders and not answer.matches:
        return _say_nothing_found(question.kind, search)
    return 0


def _answer(engine: Engine, question: Question, search: Search, filters: Filters | None) -> Answer:
    if not search.folders:
        return Answer(engine.model_id, _moods(engine, question.embed(engine)), [], None)
    with options.library_of(engine, search.folders, search.index, search.store, question.kind) as library:
        # The query comes before the index: a page that cannot be read should not cost an hour of listening first.
        query = question.embed(engine)
        moods = _moods(engine, query) if search.moods else None
        report = update_library(library, verbose=search.verbose) if search.update else None
        return Answer(engine.model_id, moods, library.rank(query, top=search.top, filters=filters), report)


def _moods(engine: Engine, query: Query) -> dict[str, float]:
    from mmr_runtime.rank import query_moods

    return _named(query_moods(engine, query).tolist())


def _named(shares: list[float] | tuple[float, ...]) -> dict[str, float]:
    """Mood shares by name; none for a model without moods."""
    return {mood: round(share, _DIGITS) for mood, share in zip(MOODS, shares, strict=False)}


def _as_json(question: Question, answer: Answer) -> dict[str, Any]:
    return {
        "schema": 1,
        "query": question.as_json(answer.moods),
        "model": answer.model,
        "matches": [
            {
                "rank": match.rank,
                "score": round(match.score, _DIGITS),
                "path": str(match.track.path),
                "title": match.track.title,
                "start_s": round(match.start_s, 3),
                "gain_db": None if match.track.gain_db is None else round(match.track.gain_db, 2),
                "moods": _named(match.moods),
                "reasons": list(match.reasons),
            }
            for match in answer.matches
        ],
        "indexed": None if answer.indexed is None else report_json(answer.indexed),
    }


def _show(question: Question, answer: Answer) -> None:
    style = Style.of(sys.stdout)
    parts = []
    if answer.moods is not None:
        parts.append(bars(answer.moods, style))
    if answer.matches:
        parts.append(table(_COLUMNS, [_row(match, question.kind) for match in answer.matches], style))
    if parts:
        write("\n\n".join(parts))


def _row(match: Match, kind: Kind) -> tuple[str, ...]:
    moods = _named(match.moods)
    strongest = max(moods, key=lambda mood: moods[mood], default="")
    mood = f"{strongest} {100 * moods[strongest]:.0f}%" if strongest else "-"
    start = clock(match.start_s) if kind == "songs" else "-"
    return str(match.rank), f"{match.score:.3f}", mood, start, match.track.title, _short(match.track.path)


def _short(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    with suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _say_nothing_found(kind: Kind, search: Search) -> int:
    code = nothing_found(f"no usable {kind} in" if search.update else f"no {kind} are indexed yet of", search.folders)
    if not search.update:
        click.echo("hint: run it without --no-update", err=True)
    return code
