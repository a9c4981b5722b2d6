"""The recipe of the shipped model: features of teachers, the joint space, two students, one checkpoint.

1. Pages: features of MobileNetV2 (ImageNet) on the whole grey page; its trunk stays as it is and ships.
2. Clips: an AudioSet tagger's features; texts: a sentence model's. Neither ships.
3. The joint space: three linear heads tied through text (`space`).
4. Students take the place of the two teachers: a transformer on CLIP's tokens (`text_student`), an ESResNeXt on fbsp
   spectrograms (`audio_student`).
5. Calibration: mean and spread of every mood's cosine over a reference set, out of fold for the pages.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from mmr_export.data.collection import (
    Clip,
    Page,
    Text,
    folds,
    grades_of,
    read_clips,
    read_own_texts,
    read_pages,
    read_texts,
)
from mmr_export.data.teachers import MOOD_CLASSES, MUSIC, Sentences, Tagger, cached
from mmr_export.merges import MERGES
from mmr_export.model import PRESETS, AudioCLIP
from mmr_export.model.image import MobileNetV2
from mmr_export.synth.pages import generate_page
from mmr_export.train.audio_student import AudioOptions, Lesson, pooled_features, train_audio
from mmr_export.train.dialogue import fit_dialogue
from mmr_export.train.recipe import decode, read_toml, recipe_path
from mmr_export.train.sounds import Heard, SoundOptions, hear
from mmr_export.train.space import MOOD_COUNT, Affine, Examples, Space, SpaceOptions, fit_space, follow, ridge
from mmr_export.train.stages import is_audio, is_text, once
from mmr_export.train.text_student import TextOptions, make_corpus, train_text
from mmr_runtime.bundle import AudioSpec, ImageSpec, RankSpec
from mmr_runtime.engine import unit_rows
from mmr_runtime.errors import InputError, MissingFileError
from mmr_runtime.image import load_image, preprocess
from mmr_runtime.moods import GENRES, MOOD_PROMPTS, MOODS
from mmr_runtime.text import Tokenizer

Floats = NDArray[np.float64]
Report = Callable[[str], None]
CONFIG = PRESETS["small"]
IMAGE = ImageSpec(
    height=CONFIG.image.height, width=CONFIG.image.width, mean=(0.5,) * 3, std=(0.5,) * 3, resize="page", grey=True
)
PROMPTS = (
    *MOOD_PROMPTS,
    *(m.lower() for m in MOODS),
    *(f"a {m.lower()} song" for m in MOODS),
    *(f"a {m.lower()} scene" for m in MOODS),
)
"""Seven of each kind, in the order of MOODS."""


@dataclass(frozen=True)
class Recipe:
    """What recipes/small.toml holds; see there."""

    seed: int = 0
    folds: int = 5
    generated_pages: int = 490
    generated_weight: float = 1.0
    tagger_share: float = 0.5
    manga_weight: float = 3.0
    other_weight: float = 0.3
    caption_weight: float = 0.05
    prompt_weight: float = 3.0
    dialogue_strength: float = 10.0
    space: SpaceOptions = field(default_factory=SpaceOptions)
    sounds: SoundOptions = field(default_factory=SoundOptions)
    text: TextOptions = field(default_factory=TextOptions)
    audio: AudioOptions = field(default_factory=AudioOptions)
    rank: RankSpec = field(default_factory=RankSpec)

    @classmethod
    def of(cls, values: Mapping[str, Any], path: Path) -> Recipe:
        """The recipe of a file's values.

        Raises:
            InputError: it holds unknown keys or values that cannot be.
        """
        return decode(cls, values, PARTS, path)

    @classmethod
    def read(cls) -> Recipe:
        """The recipe of the shipped model."""
        path = recipe_path("small")
        return cls.of(read_toml(path), path)


PARTS = {"space": SpaceOptions, "sounds": SoundOptions, "text": TextOptions, "audio": AudioOptions, "rank": RankSpec}


def train_small(data: Path, output: Path, recipe: Recipe, cache: Path, device: torch.device, report: Report) -> None:
    """Train the small model and write `output` (a state dict) with its JSON file.

    Args:
        data: folder of the development data.
        output: the checkpoint, e.g. best.pt.
        recipe: the hyperparameters.
        cache: folder for features of the teachers; they are made once.
        device: where the audio student is trained; everything else runs on the CPU.
        report: gets a line for every step.
    """
    ready = prepare(data, recipe, cache, report)
    model, heard, tokenizer = ready.model, ready.heard, Tokenizer.load(MERGES)
    space = fit_space(ready.sheet.examples, ready.examples, ready.reading.examples, recipe.space)

    _set_page_head(model, ready.sheet, space)
    corpus = make_corpus(_all_lines(ready.texts, ready.pages), token_words(), recipe.text)
    said = cached(cache, "corpus", "\n".join(corpus), lambda: ready.sentences.embed(corpus))
    report(f"{len(corpus)} texts for the text student")
    places = ready.reading.place(space, said)
    key = f"{recipe.text} {CONFIG.text} {_digest(places)}"
    once(
        model,
        is_text,
        cache,
        "text-tower",
        key,
        lambda course: train_text(model, tokenizer, corpus, places, recipe.text, report, course),
    )

    lesson = _lesson(ready.clips, heard, ready.examples, recipe)
    rows = np.concatenate([ready.real, np.arange(len(ready.clips), len(heard.images))])
    key = f"{heard.key} {recipe.audio} {_digest(lesson.moods)} {_digest(lesson.labels)}"
    once(
        model,
        is_audio,
        cache,
        "audio-tower",
        key,
        lambda course: train_audio(model.audio, lesson, rows, recipe.audio, device, report, course),
    )
    windows = _middle(heard.images)
    pooled = cached(cache, "pooled", key, lambda: pooled_features(model.audio, windows, device)).astype(np.float64)
    _set_linear(model.audio.fc, follow(pooled[rows], space.clip, heard.features[rows], recipe.space))

    held_out = held_out_pages(ready, recipe)
    placed = torch.from_numpy(pooled[ready.real].astype(np.float32)) @ model.audio.fc.weight.T + model.audio.fc.bias
    sidecar = _sidecar(model, tokenizer, held_out, unit_rows(placed.detach().numpy()), ready.texts, recipe)
    _write(model, sidecar, output)
    report(f"wrote {output}")


def _digest(values: NDArray[np.float32]) -> str:
    """Of values rounded far above what two machines differ by."""
    return hashlib.sha256(np.round(values, 3).tobytes()).hexdigest()


# -- features ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sheet:
    """The pages as the image head sees them; `mean` and `std` (f,) are those of the manga-styled ones."""

    examples: Examples
    mean: Floats
    std: Floats


@dataclass(frozen=True, eq=False)
class Reading:
    """Texts as the text head sees them: sentence vectors less their `centre` (384,)."""

    examples: Examples
    centre: Floats

    def place(self, space: Space, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit rows (n, size) of sentence vectors (n, 384)."""
        return space.text(vectors.astype(np.float64) - self.centre).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Ready:
    """All that the heads are fitted on.

    Attributes:
        model: with the image trunk's weights, else fresh.
        pages: those of `sheet`, without the generated ones.
        texts: the ones that are trained on.
        real: rows of `heard` that are recorded clips to train on.
        examples: of those clips.
    """

    model: AudioCLIP
    sentences: Sentences
    pages: list[Page]
    clips: list[Clip]
    texts: list[Text]
    sheet: Sheet
    heard: Heard
    reading: Reading
    real: NDArray[np.int64]
    examples: Examples


def prepare(data: Path, recipe: Recipe, cache: Path, report: Report) -> Ready:
    """Read the collection and what the teachers say of it; for the arguments see `train_small`."""
    torch.manual_seed(recipe.seed)
    pages, clips, texts = read_pages(data), read_clips(data), [*read_texts(data), *read_own_texts()]
    model = AudioCLIP(CONFIG)
    load_trunk(model, data / "teachers" / "mobilenet_v2" / "weights.npz")
    sentences = Sentences()
    report(f"{len(pages)} pages, {len(clips)} clips, {len(texts)} texts")
    sheet = _page_sheet(model, pages, sentences, recipe, cache)
    report("read the pages")
    heard = hear(data, clips, recipe.sounds, CONFIG, cache)
    report(f"heard {len(heard.images)} sounds")
    trained = [t for t in texts if not t.validation]
    reading = _read_texts(trained, sheet, sentences, recipe)
    real = np.flatnonzero([not c.validation for c in clips])
    examples = _clip_examples(clips, heard, Tagger(data).labels, sentences, recipe)[real]
    return Ready(model, sentences, pages, clips, trained, sheet, heard, reading, real, examples)


def load_trunk(model: AudioCLIP, path: Path) -> None:
    """Load MobileNetV2's ImageNet weights (`layer.weight`, `layer.bias` of every layer but the classifier)."""
    if not path.is_file():
        raise MissingFileError(f"no {path.name} in {path.parent}", "name the folder of development data with --data")
    with np.load(path) as stored:
        weights = {
            k: torch.from_numpy(stored[k].astype(np.float32)) for k in stored.files if not k.startswith("logits")
        }
    missing, unexpected = model.visual.load_state_dict(weights, strict=False)
    extra = set(missing) - {"feature_mean", "feature_std", "proj.weight", "proj.bias"}
    if extra or unexpected:
        raise InputError(f"{path} is not MobileNetV2's: {sorted(extra)[:3]} missing, {unexpected[:3]} unexpected")


def page_features(model: AudioCLIP, images: Iterable[Image]) -> NDArray[np.float32]:
    """Features (n, 2352) of pages by the image trunk."""
    rows = []
    trunk = model.visual.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(trunk, MobileNetV2)
    with torch.inference_mode():
        for image in images:
            pixels = torch.from_numpy(preprocess(image, IMAGE, "whole"))
            rows.append(trunk.features(pixels.contiguous(memory_format=torch.channels_last)).numpy()[0])
    return np.stack(rows)


def _page_sheet(model: AudioCLIP, pages: Sequence[Page], sentences: Sentences, recipe: Recipe, cache: Path) -> Sheet:
    """Recorded pages, then generated ones, each collection standardised by itself."""
    key = "\n".join(str(p.path) for p in pages) + str(IMAGE)
    drawn = [generate_page(seed, mood=MOODS[seed % len(MOODS)]) for seed in range(recipe.generated_pages)]
    raw = np.concatenate(
        [
            cached(cache, "pages", key, lambda: page_features(model, (load_image(p.path, IMAGE) for p in pages))),
            cached(cache, "drawn", f"{len(drawn)} {IMAGE}", lambda: page_features(model, (p.image for p in drawn))),
        ]
    ).astype(np.float64)
    captions = [*(p.caption for p in pages), *(p.caption for p in drawn)]
    meaning = cached(cache, "captions", "\n".join(captions), lambda: sentences.embed(captions))
    kind = np.array([int(p.manga) for p in pages] + [2] * len(drawn))
    features = np.empty_like(raw)
    moods = np.concatenate([grades_of(pages), np.array([p.moods for p in drawn], np.float64).reshape(-1, len(MOODS))])
    # Each collection has its own look and its own mix of moods; neither may stand for the other.
    for k in range(3):
        group = kind == k
        features[group] = (raw[group] - raw[group].mean(axis=0)) / _spread(raw[group])
        moods[group] -= moods[group].mean(axis=0)
    weights = np.array([recipe.other_weight, recipe.manga_weight, recipe.generated_weight])[kind]
    examples = Examples(features, moods / moods.std(), np.asarray(meaning, np.float64), weights)
    return Sheet(examples, raw[kind == 1].mean(axis=0), _spread(raw[kind == 1]))


def _spread(rows: Floats) -> Floats:
    return np.asarray(rows.std(axis=0) + 1e-2)


def _clip_examples(
    clips: Sequence[Clip], heard: Heard, names: Sequence[str], sentences: Sentences, recipe: Recipe
) -> Examples:
    logits = heard.logits[: len(clips)]
    mood_logits = logits[:, MOOD_CLASSES]
    trust = np.array([c.trust for c in clips])
    meaning = sentences.embed([", ".join(tag_words(row, names)) + " music" for row in _standard(logits, logits)])
    share = recipe.tagger_share
    moods = (1 - share) * _intent(clips) + share * _tagged(mood_logits, mood_logits)
    weights = np.where(trust > 0, trust + share * 0.3, share * 0.3)
    return Examples(heard.features[: len(clips)], moods, meaning.astype(np.float64), weights)


def _intent(clips: Sequence[Clip]) -> Floats:
    """The authors' intended moods, standardised over the clips that have one; 0 where it is unknown."""
    grades, trust = grades_of(clips), np.array([c.trust for c in clips])
    known = trust > 0
    centred = (grades - np.average(grades[known], axis=0, weights=trust[known])) / grades[known].std(axis=0)
    return np.where(known[:, None], centred, 0.0)


def _tagged(mood_logits: Floats, collection: Floats) -> Floats:
    """The tagger's mood profile: standardised over the collection, less what all moods share (how musical it is)."""
    z = _standard(mood_logits, collection)
    return np.asarray(z - z.mean(axis=1, keepdims=True))


def _standard(rows: Floats, collection: Floats) -> Floats:
    return np.asarray((rows - collection.mean(axis=0)) / (collection.std(axis=0) + 1e-6))


def tag_words(standard: Floats, names: Sequence[str], count: int = 8) -> list[str]:
    """The music tags (lower case) in which a clip stands out most from its collection."""
    music = standard[MUSIC]
    return [names[MUSIC.start + int(i)].lower() for i in np.argsort(-music, kind="stable")[:count]]


def _middle(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle window of every sound, as long as the runtime's."""
    start = (images.shape[3] - AudioSpec().frames) // 2
    return images[..., start : start + AudioSpec().frames]


def _lesson(clips: Sequence[Clip], heard: Heard, examples: Examples, recipe: Recipe) -> Lesson:
    """What the student learns: the teacher's features and moods, and labels: intent, a piece's grades, or tags."""
    mood_logits = heard.logits[:, MOOD_CLASSES]
    labels = _tagged(mood_logits, mood_logits[: len(clips)])
    known = np.array([c.trust > 0 for c in clips])
    labels[: len(clips)][known] = _intent(clips)[known]
    varied = heard.clip >= 0
    labels[varied] = labels[heard.clip[varied]]
    pieces = slice(len(clips), len(clips) + len(heard.piece_moods))
    labels[pieces] = _standard(heard.piece_moods, heard.piece_moods)
    teacher = ridge(examples.features, examples.moods, examples.weights, recipe.space.clip_strength)
    return Lesson(
        images=heard.images,
        features=heard.features.astype(np.float32),
        moods=(heard.features @ teacher).astype(np.float32),
        labels=labels.astype(np.float32),
    )


def _read_texts(texts: Sequence[Text], sheet: Sheet, sentences: Sentences, recipe: Recipe) -> Reading:
    written = sentences.embed_lines([t.lines for t in texts]).astype(np.float64)
    prompts = sentences.embed(PROMPTS).astype(np.float64)
    captions = sheet.examples.meaning
    centre = np.concatenate([written, captions]).mean(axis=0)
    grades, ideal = _centred_grades(texts), np.tile(3 * np.eye(len(MOODS)), (len(PROMPTS) // len(MOODS), 1))
    moods = np.concatenate([grades, sheet.examples.moods, ideal - ideal.mean(axis=0)])
    weights = np.repeat([1.0, recipe.caption_weight, recipe.prompt_weight], [len(texts), len(captions), len(PROMPTS)])
    vectors = np.concatenate([written, captions, prompts])
    return Reading(Examples(vectors - centre, moods / moods.std(), vectors, weights), centre)


def _centred_grades(texts: Sequence[Text]) -> Floats:
    """Grades less the mean of their author and kind: each has another mix of moods, which is not the text's."""
    grades, sources = grades_of(texts), np.array([f"{t.kind} {t.own}" for t in texts])
    for source in np.unique(sources):
        grades[sources == source] -= grades[sources == source].mean(axis=0)
    return grades


def _all_lines(texts: Sequence[Text], pages: Sequence[Page]) -> list[str]:
    lines = [line for t in texts for line in t.lines]
    whole = [" ".join(t.lines) for t in texts]
    return [*PROMPTS * 20, *GENRES, *lines, *whole, *(p.caption for p in pages)]


def token_words() -> list[str]:
    """Every plain word of at least three letters that is one token."""
    table = gzip.decompress(MERGES.read_bytes()).decode()
    joined = [line.replace(" ", "") for line in table.splitlines()]
    words = [j.removesuffix("</w>") for j in joined if j.endswith("</w>")]
    return [w for w in words if len(w) >= 3 and w.isascii() and w.isalpha()]


# -- the checkpoint ---------------------------------------------------------------------------------------------------


def _set_linear(layer: torch.nn.Linear, head: Affine) -> None:
    """Give a layer the weight and bias of `head`."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight.T))
        layer.bias.copy_(torch.from_numpy(head.bias))


def _set_page_head(model: AudioCLIP, sheet: Sheet, space: Space) -> None:
    visual = model.visual
    assert isinstance(visual, MobileNetV2)
    with torch.no_grad():
        visual.feature_mean.copy_(torch.from_numpy(sheet.mean))
        visual.feature_std.copy_(torch.from_numpy(sheet.std))
    _set_linear(visual.proj, space.page.affine())
    visual.fold()


def held_out_pages(ready: Ready, recipe: Recipe) -> NDArray[np.float32]:
    """Vectors (r, size) of the manga-styled pages, each by heads that never saw its title."""
    manga, sheet = np.flatnonzero([p.manga for p in ready.pages]), ready.sheet.examples
    fold = folds([p.group for p in ready.pages if p.manga], recipe.folds, recipe.seed)
    vectors = np.empty((len(manga), recipe.space.size), np.float32)
    for k in range(recipe.folds):
        seen = np.setdiff1d(np.arange(len(sheet.weights)), manga[fold == k])
        space = fit_space(sheet[seen], ready.examples, ready.reading.examples, recipe.space)
        vectors[fold == k] = space.page(sheet.features[manga[fold == k]])
    return vectors


@torch.inference_mode()
def _sidecar(
    model: AudioCLIP,
    tokenizer: Tokenizer,
    pages: NDArray[np.float32],
    heard: NDArray[np.float32],
    texts: Sequence[Text],
    recipe: Recipe,
) -> dict[str, Any]:
    """What the exporter must know beside the weights: conventions, calibration, the reference set, rank parameters."""

    def read(lines: Sequence[str]) -> NDArray[np.float32]:
        rows = [model.encode_text(torch.from_numpy(tokenizer.tokens([tokenizer.pieces(p)[0]]))) for p in lines]
        return unit_rows(torch.cat(rows).numpy())

    axes = np.eye(MOOD_COUNT, recipe.space.size, dtype=np.float32)
    vectors = {"image": pages, "audio": heard, "text": read([t.text for t in texts if t.kind != "dialogue"])}
    cosines = {name: v @ axes.T for name, v in vectors.items()}
    spoken = [t for t in texts if t.kind == "dialogue"]
    dialogue = fit_dialogue(
        np.stack([read(t.lines).mean(axis=0) for t in spoken]).astype(np.float64),
        _centred_grades(spoken),
        [t.group for t in spoken],
        recipe.dialogue_strength,
    )
    calibration = {n: [c.mean(axis=0).tolist(), c.std(axis=0).tolist()] for n, c in cosines.items()}
    return {
        "id": "mmr-small-2",
        "licence": "Apache-2.0",
        "config": CONFIG.to_dict(),
        "image": asdict(IMAGE),
        "audio": {"amplitude": "int16", "floor_db": CONFIG.audio.floor_db},
        "rank": asdict(recipe.rank),
        "calibration": {**calibration, "dialogue": dialogue.calibration.tolist()},
        "directions": {**dict.fromkeys(vectors, axes.tolist()), "dialogue": dialogue.directions.tolist()},
        "reference": {name: vectors[name][:256].tolist() for name in ("image", "audio")},
    }


def _write(model: AudioCLIP, sidecar: dict[str, Any], output: Path) -> None:
    with torch.no_grad():
        for scale in (model.logit_scale, model.logit_scale_ai, model.logit_scale_at):
            scale.fill_(math.log(1 / 0.1))
    part = output.with_suffix(".part")
    torch.save(model.state_dict(), part)
    part.replace(output)
    output.with_suffix(".json").write_text(json.dumps(sidecar), encoding="utf-8")
