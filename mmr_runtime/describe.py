"""What a page or a song is like, in words: keywords of a vocabulary, and a caption with the nearest description.

Nothing is trained for it. Every term of a vocabulary is a text query, as in AudioCLIP's zero-shot classification, and
the caption is retrieved, not written. Cosines of different modalities have a gap and a level of their own for every
text (Liang et al. 2022, "Mind the gap"), so a term's cosine is compared with what it is for the bundle's reference set:
a score says by how many standard deviations this page is nearer to the term than pages are on the whole. A bundle
without a reference set (AudioCLIP's own weights) has AudioCLIP's softmax instead, in multiples of an equal share.

What to expect of the small default model (`benchmarks/describe.py` measures it): its space holds the seven moods and a
little meaning. Words of mood are clearly better than chance, on songs more than on pages, and so are styles of music
and some genres of stories; instruments follow an AudioSet tagger weakly, and things that are drawn are hardly better
than a guess. A description shares the tone at best, and tells nothing of what happens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from mmr_runtime.books.embedding import embed_lines
from mmr_runtime.errors import InputError, MissingFileError, UsageError
from mmr_runtime.library.scan import SUFFIXES
from mmr_runtime.limits import MAX_TERM_CHARS, MAX_TERMS, MAX_VOCABULARY_BYTES
from mmr_runtime.moods import MOODS
from mmr_runtime.rank import top as best

if TYPE_CHECKING:
    from mmr_runtime.books import VectorCache
    from mmr_runtime.engine import Engine, Floats

Seen = Literal["image", "audio"]
Measure = Literal["deviations", "ratio"]

_GROUPS: dict[Seen, frozenset[str]] = {
    "image": frozenset(("mood", "pace", "scene", "story")),
    "audio": frozenset(("mood", "pace", "sound", "style")),
}
"""Groups of the built-in vocabulary that are asked of a page, and of a song."""
_DESCRIPTIONS: dict[Seen, str] = {"image": "scene", "audio": "music"}
_VERBS: dict[Seen, str] = {"image": "Reads as", "audio": "Sounds"}
_LEAST_SPREAD = 0.01
"""Of a term's cosines over the reference set: below it is mostly the rounding of quantized towers."""
_PLAIN = 2.0
"""Times an equal share, from which a mood or a description is plain. On held-out manga the first mood that a caption
names is right in 0.70 of pages at 2, where it names one for every third, and in 0.53 at 1.5."""
_NEAREST = 3


@dataclass(frozen=True)
class Term:
    """A word or short phrase of a vocabulary, and what kind of word it is."""

    text: str
    group: str = ""


@dataclass(frozen=True)
class Keyword:
    """A term that fits, with its score (see `Description.measure`)."""

    text: str
    score: float
    group: str


@dataclass(frozen=True)
class Description:
    """What a page or song is like.

    Attributes:
        modality: `image` for a page, `audio` for a song.
        keywords: best first, of every group at most its part.
        caption: one sentence: the plain moods, and the nearest description.
        nearest: descriptions and their scores, best first.
        moods: shares of the seven moods in the order of `MOODS`; empty for a model without moods.
        measure: what scores are: `deviations`, standard deviations above the bundle's reference set; or `ratio`,
            softmax over the terms of the group (over all descriptions) times their number: 1 is an equal share.
    """

    modality: Seen
    keywords: tuple[Keyword, ...]
    caption: str
    nearest: tuple[tuple[str, float], ...]
    moods: tuple[float, ...]
    measure: Measure


def describe(
    engine: Engine, source: str | Path, *, vocabulary: Sequence[Term] | None = None, top: int = 8
) -> Description:
    """Describe one page or song; a `Describer` does it for many.

    Args:
        engine: with a text tower.
        source: path of an image or of a song; its ending tells which.
        vocabulary: terms to choose from; None: the built-in ones.
        top: keywords at most.

    Raises:
        InputError: the file cannot be read, or its ending tells neither page nor song.
        UsageError: the vocabulary is empty, or `top` is not positive.
        BundleError: the bundle has no text tower.
    """
    return Describer(engine, vocabulary).describe(source, top=top)


class Describer:
    """Describes pages and songs; texts are embedded once.

    Args:
        engine: with a text tower.
        vocabulary: terms to choose from, all of which are asked of pages and of songs; None: the built-in ones, whose
            groups know what they are asked of.
        cache: keeps vectors of texts from run to run; None: nothing is kept.
    """

    def __init__(
        self, engine: Engine, vocabulary: Sequence[Term] | None = None, *, cache: VectorCache | None = None
    ) -> None:
        if vocabulary is not None and not vocabulary:
            raise UsageError("the vocabulary is empty", "give at least one term, or leave it out")
        self._engine = engine
        self._vocabulary = vocabulary
        self._cache = cache
        self._asked: dict[Seen, _Asked] = {}

    def describe(self, source: str | Path, *, top: int = 8) -> Description:
        """Describe one page or song (see `describe`)."""
        modality = modality_of(source)
        if modality == "image":
            return self.describe_vector(self._engine.embed_images([source])[0], modality, top=top)
        return self.describe_vector(self._engine.embed_audio(source).vector, modality, top=top)

    def describe_vector(self, vector: Floats, modality: Seen, *, top: int = 8) -> Description:
        """Describe what is embedded already.

        Args:
            vector: float32 (d,), of unit length.
            modality: what it was made from.
            top: keywords at most.

        Raises:
            UsageError: `top` is not positive.
            BundleError: the bundle has no text tower.
        """
        if top < 1:
            raise UsageError(f"top must be at least 1, not {top}")
        if modality not in self._asked:
            self._asked[modality] = self._texts(modality)
        asked = self._asked[modality]
        keywords = tuple(Keyword(t.text, score, t.group) for t, score in asked.terms.keywords(vector, top))
        described = [(t.text, score) for t, score in asked.descriptions.nearest(vector)]
        moods: tuple[float, ...] = ()
        if "mood" in self._engine.bundle.manifest.labels:
            moods = tuple(self._engine.moods(vector[None], modality)[0].tolist())
        near = [text for text, score in described if score >= asked.descriptions.near]
        caption = _caption(modality, moods, near or [described[0][0]], bool(near), asked.first_moods)
        return Description(modality, keywords, caption, tuple(described[:_NEAREST]), moods, asked.terms.measure)

    def _texts(self, modality: Seen) -> _Asked:
        engine = self._engine
        terms = self._vocabulary
        if terms is None:
            terms = [t for t in built_in_vocabulary() if t.group in _GROUPS[modality]]
        first_moods = _descriptions(_DESCRIPTIONS[modality])
        described = [Term(text) for text in first_moods]
        rows, own = (embed_lines([t.text for t in texts], engine, self._cache) for texts in (terms, described))
        reference = engine.reference(modality)
        scale = engine.bundle.manifest.logit_scales[f"{modality}_text"]
        return _Asked(_Texts(terms, rows, reference, scale), _Texts(described, own, reference, scale), first_moods)


@dataclass(frozen=True, eq=False)
class _Asked:
    """All texts that are asked of one modality.

    Attributes:
        terms: of the vocabulary.
        descriptions: for the caption.
        first_moods: the strongest mood of each description.
    """

    terms: _Texts
    descriptions: _Texts
    first_moods: dict[str, str]


class _Texts:
    """Texts that a page or song is compared with.

    Args:
        terms: n texts.
        vectors: their float32 (n, d), unit rows.
        reference: float32 (r, d), unit rows of the modality that is described, or None.
        scale: logit scale, for a bundle without a reference set.

    Attributes:
        measure: what the scores are.
        near: the score from which the nearest of the texts is called near.
    """

    def __init__(self, terms: Sequence[Term], vectors: Floats, reference: Floats | None, scale: float) -> None:
        self._terms = terms
        self._vectors = vectors
        self._scale = scale
        self._groups = np.unique([t.group for t in terms], return_inverse=True)[1]
        self._usual: tuple[Floats, Floats] | None = None
        self.measure: Measure = "ratio"
        self.near = _PLAIN
        if reference is not None:
            cosines = reference @ vectors.T
            mean, spread = self._usual = (
                cosines.mean(axis=0),
                np.maximum(cosines.std(axis=0), np.float32(_LEAST_SPREAD)),
            )
            self.measure = "deviations"
            # Of many texts one is always near: what counts is to be nearer than others are to their nearest.
            self.near = float(np.median(((cosines - mean) / spread).max(axis=1)))

    def nearest(self, vector: Floats) -> list[tuple[Term, float]]:
        """All texts by their score for a unit vector (d,), best first, equal ones in the order of their letters."""
        scores = self._scores(vector)
        found = best(scores, [t.text for t in self._terms], len(self._terms))
        return [(self._terms[i], float(scores[i])) for i in found]

    def keywords(self, vector: Floats, count: int) -> list[tuple[Term, float]]:
        """The best `count` texts, of no group more than its part.

        The least reliable words vary most, and would fill the list by themselves.
        """
        groups = {term.group for term in self._terms}
        room = dict.fromkeys(groups, math.ceil(count / len(groups)))
        found = []
        for term, score in self.nearest(vector):
            if room[term.group]:
                room[term.group] -= 1
                found.append((term, score))
        return found[:count]

    def _scores(self, vector: Floats) -> Floats:
        cosines = self._vectors @ vector
        if self._usual is not None:
            mean, spread = self._usual
            return cast("Floats", (cosines - mean) / spread)
        powers = np.exp((cosines - cosines.max()) * np.float32(self._scale))
        equal = np.bincount(self._groups, powers) / np.bincount(self._groups)
        return cast("Floats", powers / equal[self._groups])


def modality_of(source: str | Path) -> Seen:
    """Whether a file is a page or a song, by its ending.

    Raises:
        InputError: it tells neither.
    """
    ending = Path(source).suffix.lower()
    if ending in SUFFIXES["pages"]:
        return "image"
    if ending in SUFFIXES["songs"]:
        return "audio"
    raise InputError(
        f"the name of {source} tells neither a page nor a song", "give an image (.png, .jpg) or a song (.mp3, .ogg)"
    )


def read_vocabulary(path: str | Path) -> tuple[Term, ...]:
    """Terms of a text file: one a line, or group, tab, term; blank lines and those that begin with # are left out.

    A term that stands there twice is taken once.

    Raises:
        InputError: the file cannot be read, holds no term or too many, or a line is no term; the message names it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_VOCABULARY_BYTES + 1)
        if len(content) > MAX_VOCABULARY_BYTES:
            raise InputError(
                f"the vocabulary {path} has more than {MAX_VOCABULARY_BYTES} bytes", f"keep at most {MAX_TERMS} terms"
            )
        terms = tuple(dict.fromkeys(_terms(content.decode("utf-8-sig"), f"the vocabulary {path}")))
    except FileNotFoundError:
        raise MissingFileError(f"there is no vocabulary {path}", "check the path") from None
    except OSError as error:
        raise InputError(f"the vocabulary {path} cannot be read: {error.strerror or error}", "check it") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the vocabulary {path} is no UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    if not terms:
        raise InputError(f"the vocabulary {path} is empty", "write one word or short phrase a line")
    if len(terms) > MAX_TERMS:
        raise InputError(f"the vocabulary {path} has {len(terms)} terms, more than {MAX_TERMS}", "divide it")
    return terms


def built_in_vocabulary() -> tuple[Term, ...]:
    """The terms that come with mmr, in the groups mood, pace, scene, story, sound and style."""
    return tuple(_terms(_packaged("vocabulary.tsv"), "vocabulary.tsv"))


def _terms(content: str, name: str) -> Iterator[Term]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        *group, text = (part.strip() for part in line.split("\t"))
        if len(group) > 1:
            raise InputError(f"{name}, line {number}: {len(group)} tabs", "write a term, or group, tab, term")
        if not text:
            raise InputError(f"{name}, line {number}: no term behind the group", "write group, tab, term")
        if len(text) > MAX_TERM_CHARS:
            raise InputError(
                f"{name}, line {number}: a term of {len(text)} characters, more than {MAX_TERM_CHARS}", "shorten it"
            )
        yield Term(text, *group)


def _descriptions(kind: str) -> dict[str, str]:
    """Descriptions of a kind, each with its first mood as its author judged it.

    The text tower could judge them too, and would call a fallen horse funny.
    """
    rows = [line.split("\t") for line in _packaged("descriptions.tsv").splitlines() if not line.startswith("#")]
    return {text: mood for of, mood, text in rows if of == kind}


def _packaged(name: str) -> str:
    return files("mmr_runtime").joinpath(name).read_text(encoding="utf-8")


def _caption(
    modality: Seen, moods: Sequence[float], described: Sequence[str], is_near: bool, first_moods: dict[str, str]
) -> str:
    """One sentence that says no more than the scores: moods only where plain, nearness only where near.

    The nearest description whose own first mood is one of the plain ones is taken, since a chase beside a tender song
    reads as a contradiction; where there is none, the sentence says so.

    Args:
        modality: of what is described.
        moods: its shares, or none.
        described: near descriptions, the nearest first; or the nearest one, though it is not near.
        is_near: which of the two.
        first_moods: the first mood of each description.
    """
    strongest = sorted(range(len(moods)), key=lambda i: -moods[i])[:2]
    plain = [MOODS[i] for i in strongest if moods[i] >= _PLAIN / len(MOODS)]
    parts = []
    if plain:
        parts.append(f"{_VERBS[modality]} {' and '.join(plain).lower()}")
    elif moods:
        parts.append("No plain mood")
    alike = [text for text in described if not plain or first_moods[text] in plain]
    if not is_near:
        parts.append(f'near to nothing described, the nearest: "{described[0]}"')
    elif not alike:
        parts.append(f'the nearest is of another mood: "{described[0]}"')
    else:
        parts.append(f'near to "{alike[0]}"')
    sentence = "; ".join(parts)
    return sentence[0].upper() + sentence[1:]
