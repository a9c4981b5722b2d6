"""Who is on the page: looks that stay the same from panel to panel, and the expressions of each mood.

Expressions follow the pictorial runes of Japanese comics (Shinohara and Matsunaka 2009; Cohn 2013, ch. 8): brows
slope inwards for anger and outwards for grief, pupils shrink in fear, closed eyes arch upwards in joy and downwards
in peace, a sweat drop is embarrassment, crossed veins are fury, ruled lines over the brow are dread, oblique ticks on
the cheek a blush.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

INKS = ("black", "tone", "light")


@dataclass(frozen=True)
class Look:
    """One character.

    Attributes:
        word: how the caption names them.
        hair, hair_ink: style and filling (black with shine, tone, or light with strands).
        lashes: 0 (boyish eyes) .. 1 (large shoujo eyes).
        jaw: width of the chin, 0 (pointed) .. 1 (square).
        top, bottom: densities of the clothes, 0 white .. 1 black.
        skirt, cape, glasses, beard: what they wear.
        ears: "", "cat", "elf" or "robot".
    """

    word: str
    hair: str
    hair_ink: str
    lashes: float
    jaw: float
    top: float
    bottom: float
    skirt: bool = False
    cape: bool = False
    glasses: bool = False
    beard: bool = False
    ears: str = ""


@dataclass(frozen=True)
class Expression:
    """A face's state.

    Attributes:
        eyes: kind of eye drawn by `faces`.
        brow: slope; positive slants inwards (anger), negative outwards (grief).
        mouth: kind of mouth drawn by `faces`.
        marks: runes around the face.
    """

    eyes: str
    brow: float
    mouth: str
    marks: tuple[str, ...] = ()


EXPRESSIONS: dict[str, tuple[Expression, ...]] = {
    "Happy": (
        Expression("arch", -0.1, "laugh"),
        Expression("sparkle", -0.15, "laugh"),
        Expression("open", -0.1, "smile", ("blush",)),
        Expression("sparkle", -0.15, "beam"),
        Expression("arch", -0.1, "beam", ("blush",)),
    ),
    "Funny": (
        Expression("blank", -0.3, "wave", ("sweat",)),
        Expression("squint", 0.3, "yell", ("sweat",)),
        Expression("dots", 0.0, "cat"),
        Expression("dots", -0.2, "flat", ("sweat",)),
        Expression("spiral", -0.2, "wave", ("sweat",)),
        Expression("blank", 0.4, "yell", ("vein",)),
        Expression("flat", 0.0, "flat", ("gloom",)),
        Expression("arch", 0.0, "cat", ("blush",)),
        Expression("blank", -0.3, "drop", ("gloom", "sweat")),
    ),
    "Sad": (
        Expression("tear", -0.45, "frown", ("tears",)),
        Expression("shut", -0.5, "tremble", ("tears",)),
        Expression("low", -0.35, "small"),
        Expression("hidden", -0.2, "frown", ("tears",)),
        Expression("low", -0.4, "frown"),
        Expression("squint", -0.5, "sob", ("tears",)),
    ),
    "Tender": (
        Expression("soft", -0.15, "smile", ("blush",)),
        Expression("shut", -0.1, "smile", ("blush",)),
        Expression("sparkle", -0.2, "small", ("blush",)),
        Expression("soft", -0.1, "small", ("blush",)),
    ),
    "Exciting": (
        Expression("fierce", 0.3, "yell"),
        Expression("fierce", 0.25, "grin"),
        Expression("wide", 0.1, "drop", ("sweat",)),
        Expression("fierce", 0.35, "set"),
    ),
    "Angry": (
        Expression("glare", 0.6, "roar", ("vein", "crease")),
        Expression("glare", 0.6, "teeth", ("vein",)),
        Expression("glare", 0.55, "roar", ("crease", "shadow")),
        Expression("glare", 0.5, "frown", ("vein", "crease")),
        Expression("white", 0.6, "teeth", ("shadow", "vein")),
    ),
    "Scary": (
        Expression("pin", -0.3, "scream", ("gloom", "sweat")),
        Expression("pin", -0.25, "tremble", ("gloom", "sweat")),
        Expression("hollow", 0.2, "slit", ("shadow",)),
        Expression("pin", 0.2, "slit", ("shadow",)),
        Expression("white", 0.1, "slit", ("dark",)),
        Expression("hollow", -0.1, "scream", ("dark",)),
    ),
    "": (
        Expression("open", 0.0, "small"),
        Expression("open", 0.05, "flat"),
        Expression("open", -0.1, "talk"),
        Expression("soft", 0.0, "flat"),
        Expression("open", 0.1, "talk"),
    ),
}

_WORDS = {"boy": ("boy", "young man"), "girl": ("girl", "young woman"), "man": ("man", "stranger")}
_GENRE_WORDS = {
    "historical drama": {"boy": "young retainer", "girl": "lady in a kimono", "man": "swordsman"},
    "sports": {"boy": "player", "girl": "team manager", "man": "coach"},
    "fantasy": {"boy": "young knight", "girl": "sorceress", "man": "hooded wanderer"},
    "science fiction": {"boy": "pilot", "girl": "android girl", "man": "captain"},
    "battle": {"boy": "young fighter", "girl": "swordswoman", "man": "scarred fighter"},
    "suspense": {"boy": "young detective", "girl": "woman in a coat", "man": "man in a dark suit"},
}


def draw_look(rng: np.random.Generator, genre: str, kind: str) -> Look:
    """A random character; `kind` is "boy", "girl" or "man"."""
    girl = kind == "girl"
    styles = (
        ("bob", "long", "ponytail", "twintails", "curly", "long")
        if girl
        else ("short", "spiky", "short", "spiky", "curly")
    )
    hair = str(rng.choice(styles))
    if genre == "historical drama" and not girl:
        hair = "topknot"
    word = _GENRE_WORDS.get(genre, {}).get(kind, "") if rng.random() < 0.7 else ""
    return Look(
        word=word or str(rng.choice(_WORDS[kind])),
        hair=hair,
        hair_ink=str(rng.choice(INKS, p=(0.5, 0.3, 0.2))),
        lashes=float(
            rng.uniform(0.6, 1.0) if girl else rng.uniform(0.25, 0.55) if kind == "boy" else rng.uniform(0, 0.25)
        ),
        jaw=float(rng.uniform(0, 0.25) if girl else rng.uniform(0.15, 0.5) if kind == "boy" else rng.uniform(0.6, 1)),
        top=float(rng.choice((0.0, 0.12, 0.3, 0.55, 1.0))),
        bottom=float(rng.choice((0.2, 0.5, 1.0, 1.0))),
        skirt=girl and rng.random() < 0.8,
        cape=genre in ("battle", "fantasy") and rng.random() < 0.5,
        glasses=rng.random() < 0.15,
        beard=kind == "man" and rng.random() < 0.4,
        ears=_ears(rng, genre),
    )


def _ears(rng: np.random.Generator, genre: str) -> str:
    if genre == "fantasy" and rng.random() < 0.45:
        return str(rng.choice(("elf", "cat")))
    return "robot" if genre == "science fiction" and rng.random() < 0.35 else ""


def describe(look: Look) -> str:
    """The character in a caption's words, with article."""
    hair = {"black": "black", "tone": "dark", "light": "fair"}[look.hair_ink]
    style = {"bob": "bobbed", "long": "long", "twintails": "twin-tailed", "spiky": "spiky", "curly": "curly"}.get(
        look.hair, ""
    )
    detail = f" with {style} {hair} hair" if style else " in glasses" if look.glasses else ""
    return f"{'an' if look.word[0] in 'aeiou' else 'a'} {look.word}{detail}"
