"""The parts of training: data, splits, objectives, the joint space, the students on a miniature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmr_export.data.collection import (
    Clip,
    folds,
    grades_of,
    read_clips,
    read_own_texts,
    read_pages,
    read_texts,
    read_titles,
)
from mmr_export.model import AudioCLIP
from mmr_export.model.audioclip import contrastive_losses
from mmr_export.model.config import SMALL, AudioConfig, TextConfig
from mmr_export.train.audio_student import AudioOptions, Lesson, crops, decibels, pooled_features, train_audio
from mmr_export.train.dialogue import fit_dialogue
from mmr_export.train.losses import class_aware_loss, direction_loss
from mmr_export.train.recipe import read_toml
from mmr_export.train.small import Recipe, token_words
from mmr_export.train.sounds import Sound, SoundOptions, Voice, make_sounds
from mmr_export.train.space import Examples, Head, SpaceOptions, fit_space, follow, ridge
from mmr_export.train.stages import is_audio, is_text, once
from mmr_export.train.text_student import TextOptions, make_corpus, train_text
from mmr_runtime.errors import InputError, MissingFileError
from mmr_runtime.text import Tokenizer

MERGES = Path(__file__).resolve().parents[2] / "export" / "mmr_export" / "assets" / "merges.txt.gz"
MOODS = "Happy\tFunny\tSad\tTender\tExciting\tAngry\tScary"


def tiny_model() -> AudioCLIP:
    torch.manual_seed(0)
    audio = replace(SMALL.audio, stem=8, planes=(8, 8, 8, 8), layers=(1, 1, 1, 1), groups=1)
    assert isinstance(audio, AudioConfig)
    text = TextConfig(width=16, heads=2, layers=1)
    return AudioCLIP(replace(SMALL, embedding_size=16, text=text, audio=audio))


# -- data -------------------------------------------------------------------------------------------------------------


def test_reads_pages_with_their_groups(tmp_path: Path) -> None:
    (tmp_path / "pages_train.tsv").write_text(
        f"file\ttitle\t{MOODS}\tgenre\tcaption\tstyle\n"
        'mangakai_1.jpg\tOne\t1\t0\t0\t0\t0\t0\t3\thorror\t"He said ""no"" twice."\tmanga bw\n'
        "b.jpg\tTwo\t0\t2\t0\t0\t0\t0\t0\thumor\tA cat.\twestern bw\n",
        encoding="utf-8",
    )
    first, second = read_pages(tmp_path)
    assert first.grades == (1, 0, 0, 0, 0, 0, 3)
    assert (first.group, first.manga, first.caption) == ("mangakai_", True, 'He said "no" twice.')
    assert (second.group, second.manga) == ("Two", False)


def test_reads_clips_with_the_authors_intent(tmp_path: Path) -> None:
    (tmp_path / "audio_train.tsv").write_text(
        "file\tpiece\tmood1\tmood2\tconfidence\tsplit\na.ogg\ta\tSad\tTender\tlikely\tval\nb.ogg\tb\t\t\t\ttrain\n",
        encoding="utf-8",
    )
    first, second = read_clips(tmp_path)
    assert first.grades == (0, 0, 3, 2, 0, 0, 0)
    assert (first.trust, first.validation) == (0.7, True)
    assert (second.grades, second.trust, second.validation) == ((0.0,) * 7, 0, False)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no pages_train\.tsv"):
        read_pages(tmp_path)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "pages_train.tsv").write_text("file\tHappy\na.jpg\t1\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected columns"):
        read_pages(tmp_path)


def test_nothing_held_out_is_trained_on(shared: Path) -> None:
    data = shared / "data"
    texts = read_texts(data)
    stories = {t.group for t in texts if t.validation and t.kind == "dialogue"}
    assert stories == {f"S{n}" for n in range(17, 23)}
    assert not stories & {t.group for t in texts if not t.validation}
    clips = read_clips(data)
    assert not {c.group for c in clips if c.validation} & {c.group for c in clips if not c.validation}
    assert not {p.path for p in read_titles(data)} & {p.path for p in read_pages(data)}


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(2, 5), st.integers(0, 9))
def test_a_group_is_in_one_fold(groups: list[str], count: int, seed: int) -> None:
    fold = folds(groups, count, seed)
    assert all(len({f for g, f in zip(groups, fold, strict=True) if g == name}) == 1 for name in groups)
    np.testing.assert_array_equal(fold, folds(groups, count, seed))
    assert fold.min() >= 0
    assert fold.max() < count


# -- objectives -------------------------------------------------------------------------------------------------------


def test_class_aware_loss_with_sharp_distinct_classes_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmr_export.train.losses.SHARPNESS", 200.0)
    logits = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    plain = sum(contrastive_losses(logits))
    assert class_aware_loss(logits, torch.eye(7), torch.eye(7)).item() == pytest.approx(float(plain), rel=1e-5)


def test_class_aware_loss_forgives_two_items_of_one_mood() -> None:
    moods = torch.eye(7)[[0, 0, 1]]
    confused = 20 * torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    wrong = 20 * torch.tensor([[0.0, 0, 1], [0, 0, 1], [1, 1, 0]])
    assert class_aware_loss(confused, moods, moods) < class_aware_loss(wrong, moods, moods)
    assert sum(contrastive_losses(confused)) > 2 * math.log(2) * 2 / 3 - 1e-3  # the plain loss cannot get below


def test_direction_loss_is_between_zero_and_two() -> None:
    target = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    assert direction_loss(3 * target, target).item() == pytest.approx(0, abs=1e-6)
    assert direction_loss(-target, target).item() == pytest.approx(2, abs=1e-6)


# -- space ------------------------------------------------------------------------------------------------------------


def test_ridge_has_one_answer_in_both_forms() -> None:
    rng = np.random.default_rng(0)
    x, y, w = rng.standard_normal((30, 8)), rng.standard_normal((30, 3)), rng.random(30)
    w[3] = 0
    direct = np.linalg.solve((x * w[:, None]).T @ x + 2 * np.eye(8), (x * w[:, None]).T @ y)
    np.testing.assert_allclose(ridge(x, y, w, 2.0), direct, rtol=1e-9)
    few = slice(0, 5)
    direct = np.linalg.solve((x[few] * w[few, None]).T @ x[few] + 2 * np.eye(8), (x[few] * w[few, None]).T @ y[few])
    np.testing.assert_allclose(ridge(x[few], y[few], w[few], 2.0), direct, rtol=1e-7, atol=1e-9)


def test_modalities_meet_in_the_mood_block() -> None:
    """Pages and clips that never met agree where their moods do."""
    rng = np.random.default_rng(0)
    meaning = rng.standard_normal((60, 384))

    def examples(seed: int, size: int) -> Examples:
        moods = np.eye(7)[np.arange(60) % 7] - 1 / 7
        features = moods @ np.random.default_rng(seed).standard_normal((7, size))
        features += 0.1 * rng.standard_normal((60, size))
        return Examples(features, moods, meaning, np.ones(60))

    pages, clips = examples(1, 40), examples(2, 30)
    options = SpaceOptions(size=32, page_strength=1.0, clip_strength=1.0)
    space = fit_space(pages, clips, Examples(meaning, pages.moods, meaning, np.ones(60)), options)
    nearest = (space.page(pages.features)[:, :7] @ space.clip(clips.features)[:, :7].T).argmax(axis=1)
    assert (nearest % 7 == np.arange(60) % 7).mean() > 0.9
    np.testing.assert_allclose(np.linalg.norm(space.page(pages.features), axis=1), 1)


# -- students ---------------------------------------------------------------------------------------------------------


def test_the_recipe_of_the_package_reads() -> None:
    assert Recipe.read().space.size == SMALL.embedding_size


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('kind = "small"\n[space]\nsise = 3\n', encoding="utf-8")
    with pytest.raises(InputError, match="sise"):
        Recipe.of(read_toml(tmp_path / "r.toml"), tmp_path / "r.toml")


def test_the_corpus_is_repeatable_and_without_repetitions() -> None:
    options = TextOptions(phrases=50, mixes=50)
    corpus = make_corpus(["a dog runs home", "rain falls"], token_words()[:100], options)
    assert corpus == make_corpus(["a dog runs home", "rain falls"], token_words()[:100], options)
    assert len(set(corpus)) == len(corpus) > 110


def test_words_are_single_tokens() -> None:
    tokenizer = Tokenizer.load(MERGES)
    words = token_words()
    assert len(words) > 20000
    assert all(len(tokenizer.encode(w)) == 1 for w in words[::500])


def test_the_text_student_learns_its_targets() -> None:
    model, corpus = tiny_model(), ["happy", "sad", "angry", "scary"] * 8
    targets = np.tile(np.eye(4, 16, dtype=np.float32), (8, 1))
    losses: list[str] = []
    options = TextOptions(epochs=12, batch=8, rate=1e-2)
    train_text(model, Tokenizer.load(MERGES), corpus, targets, options, losses.append)
    first, last = (float(line.rsplit(" ", 1)[1]) for line in (losses[0], losses[-1]))
    assert last < 0.2 < first


def test_crops_stay_above_the_floor_and_differ() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 30, 80), np.uint8)
    options, tower = AudioOptions(frames=40), tiny_model().audio
    batch = crops(images, np.array([0, 1, 0]), options, tower, np.random.default_rng(1))
    assert batch.shape == (3, 3, 30, 40)
    assert batch.min() == -90
    assert batch.max() <= -90 + 127.5 + options.level
    assert not torch.equal(batch[0], batch[2])


def test_images_are_kept_in_half_decibels_above_the_floor() -> None:
    assert decibels(np.array([0, 1, 255], np.uint8), tiny_model().audio).tolist() == [-90, -89.5, 37.5]


CPU = torch.device("cpu")


def two_sounds() -> Lesson:
    """Two kinds of sound: energy below or above."""
    images = np.full((16, 3, 64, 48), 20)
    images[::2, :, :20], images[1::2, :, 40:] = 140, 140
    moods = np.tile(np.eye(2, 7, dtype=np.float32), (8, 1))
    return Lesson(
        images=(images + np.random.default_rng(0).normal(0, 6, images.shape)).astype(np.uint8),
        features=np.tile(np.array([[1.0], [-1.0]], np.float32), (8, 1)),
        moods=moods,
        labels=moods,
    )


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_audio_student_learns_and_leaves_the_front_end(bfloat16: bool) -> None:
    model, lesson = tiny_model(), two_sounds()
    before = model.audio.fbsp.fc.clone()
    lines: list[str] = []
    options = AudioOptions(epochs=8, batch=8, frames=40, rate=1e-2, bfloat16=bfloat16)
    train_audio(model.audio, lesson, np.arange(16), options, CPU, lines.append)
    first, last = (float(line.split("cosine ")[1].split(",")[0]) for line in (lines[0], lines[-1]))
    assert last < first / 2
    assert torch.equal(before, model.audio.fbsp.fc)
    pooled = pooled_features(model.audio, lesson.images, CPU)
    assert pooled.shape == (16, model.audio.fc.in_features)
    assert np.linalg.norm(pooled[0] - pooled[1]) > 2 * np.linalg.norm(pooled[0] - pooled[2])


# -- what the student hears -------------------------------------------------------------------------------------------


def clip(name: str, validation: bool = False) -> Clip:
    return Clip(Path(name), (0.0,) * 7, 0, name, validation)


def test_a_held_out_clip_goes_into_no_variant() -> None:
    clips = [clip("a"), clip("kept", validation=True), clip("b")]
    sounds = make_sounds(clips, SoundOptions(pieces=2, speeds=(0.9, 1.1), mixes=40))
    assert [s.first.path for s in sounds[:3]] == [c.path for c in clips]
    assert len(sounds) == 3 + 2 + 2 * 2 + 40
    for sound in sounds[3:]:
        assert sound.clip != 1
        assert Path("kept") not in {v.path for v in (sound.first, sound.second) if v}
    assert sounds == make_sounds(clips, SoundOptions(pieces=2, speeds=(0.9, 1.1), mixes=40))


def test_a_faster_clip_is_higher(tmp_path: Path) -> None:
    path, rate = tmp_path / "a.wav", 8000
    soundfile.write(path, np.sin(2 * np.pi * 400 * np.arange(3 * rate) / rate), rate)

    def pitch(speed: float) -> float:
        samples = Voice(path, speed=speed).play(rate, 2.0)
        assert samples.shape == (2 * rate,)
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.1, rel=0.01)
        return float(np.abs(np.fft.rfft(samples)).argmax() / 2)

    assert pitch(1.0) == pytest.approx(400, abs=1)
    assert pitch(1.12) == pytest.approx(448, abs=2)


def test_a_mixture_holds_both() -> None:
    one, two = Voice(None, seed=0), Voice(None, seed=1)
    alone = Sound(one).play(8000, 2.0)
    np.testing.assert_allclose(Sound(one, two, share=0.0).play(8000, 2.0), alone, atol=1e-6)
    mixed = Sound(one, two, share=0.4).play(8000, 2.0)
    assert 0.5 < np.corrcoef(mixed, alone)[0, 1] < 0.95


# -- heads and stages -------------------------------------------------------------------------------------------------


def test_a_weak_vector_stays_weak_at_unit_length() -> None:
    head = Head(np.eye(8)[:, :7])
    features = np.array([[2.0, 0, 0, 0, 0, 0, 0, 0], [0.1, 0, 0, 0, 0, 0, 0, 0]])
    strong, weak = head(features)
    np.testing.assert_allclose(np.linalg.norm([strong, weak], axis=1), 1)
    assert strong[0] > 0.8 > 0.2 > weak[0] > 0
    affine = head.affine()
    rows = features @ affine.weight + affine.bias
    np.testing.assert_allclose(rows / np.linalg.norm(rows, axis=1, keepdims=True), head(features))


def test_a_student_follows_its_teacher_into_the_space() -> None:
    rng = np.random.default_rng(0)
    heard = rng.standard_normal((300, 10))
    teacher = Head(rng.standard_normal((10, 15)) / 10)
    features = 5 + heard @ rng.standard_normal((10, 40))
    head = follow(features, teacher, heard, SpaceOptions(size=16, student_strength=1.0))
    placed = features @ head.weight + head.bias
    placed /= np.linalg.norm(placed, axis=1, keepdims=True)
    assert placed.shape == (300, 16)
    content, targets = placed[:, :-1], teacher(heard)[:, :-1]
    assert np.corrcoef(content.ravel(), targets.ravel())[0, 1] > 0.9


def test_dialogue_directions_find_the_mood_and_are_calibrated_on_unseen_stories() -> None:
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 4, (200, 7)).astype(float)
    grades -= grades.mean(axis=0)
    vectors = grades @ rng.standard_normal((7, 32)) + 3 + rng.standard_normal((200, 32))
    dialogue = fit_dialogue(vectors, grades, [f"S{i // 10}" for i in range(200)], 1.0)
    np.testing.assert_allclose(np.linalg.norm(dialogue.directions, axis=1), 1)
    cosines = vectors @ dialogue.directions.T
    standard = (cosines - dialogue.calibration[0]) / dialogue.calibration[1]
    assert np.abs(standard.mean(axis=0)).max() < 0.1
    assert min(np.corrcoef(standard[:, i], grades[:, i])[0, 1] for i in range(7)) > 0.9


def test_a_trained_tower_is_not_trained_again(tmp_path: Path) -> None:
    trained, resumed, other = tiny_model(), tiny_model(), tiny_model()

    def train(model: AudioCLIP) -> None:
        torch.nn.init.constant_(model.text_projection, 2.0)
        torch.nn.init.constant_(model.audio.fc.weight, 2.0)

    def never(_: Path) -> None:
        raise AssertionError

    once(trained, is_text, tmp_path, "text-tower", "a", lambda _: train(trained))
    once(resumed, is_text, tmp_path, "text-tower", "a", never)
    assert torch.equal(resumed.text_projection, trained.text_projection)
    assert not torch.equal(resumed.audio.fc.weight, trained.audio.fc.weight)
    with pytest.raises(AssertionError):
        once(other, is_text, tmp_path, "text-tower", "b", never)


def learn_texts(model: AudioCLIP, report: Callable[[str], None], course: Path | None = None) -> None:
    targets = np.tile(np.eye(4, 16, dtype=np.float32), (8, 1))
    options = TextOptions(epochs=4, batch=8)
    train_text(model, Tokenizer.load(MERGES), ["happy", "sad", "angry", "scary"] * 8, targets, options, report, course)


def learn_sounds(model: AudioCLIP, report: Callable[[str], None], course: Path | None = None) -> None:
    train_audio(
        model.audio, two_sounds(), np.arange(16), AudioOptions(epochs=4, batch=8, frames=40), CPU, report, course
    )


@pytest.mark.parametrize("learn", [learn_texts, learn_sounds])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(learn: Callable[..., None], tmp_path: Path) -> None:
    whole, interrupted, resumed = tiny_model(), tiny_model(), tiny_model()
    lines: list[str] = []
    learn(whole, lines.append)

    def stop(line: str) -> None:
        if "epoch 3/" in line:
            raise KeyboardInterrupt

    course = tmp_path / "a.course"
    with pytest.raises(KeyboardInterrupt):
        learn(interrupted, stop, course)
    again: list[str] = []
    learn(resumed, again.append, course)
    assert again == lines[3:]
    states = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


def test_every_parameter_but_the_scales_and_the_trunk_belongs_to_one_stage() -> None:
    names = [n for n, _ in tiny_model().named_parameters()]
    assert all(is_audio(n) + is_text(n) + n.startswith(("visual.", "logit_scale")) == 1 for n in names)


def test_the_projects_own_texts_are_labelled() -> None:
    texts = read_own_texts()
    assert {t.kind for t in texts} == {"scene", "music", "query", "dialogue"}
    assert all(t.own and not t.validation and max(t.grades) <= 3 for t in texts)
    assert len({t.text for t in texts}) == len(texts)
    first = grades_of(texts).argmax(axis=1)[grades_of(texts).max(axis=1) >= 2]
    assert np.bincount(first, minlength=7).min() > len(first) / 14
