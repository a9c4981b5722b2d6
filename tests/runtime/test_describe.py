"""`mmr_runtime.describe`: keywords by zero-shot querying, and a caption that claims no more than the scores."""

# ruff: noqa: ARG002 (the engines here answer like the real one, whatever they are asked)

from __future__ import annotations

import string
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmr_runtime.books import VectorCache
from mmr_runtime.bundle import default_folder
from mmr_runtime.describe import (
    Describer,
    Seen,
    Term,
    built_in_vocabulary,
    describe,
    modality_of,
    read_vocabulary,
)
from mmr_runtime.engine import Engine
from mmr_runtime.errors import AudioError, ImageError, InputError, MissingFileError, UsageError
from mmr_runtime.limits import MAX_TERM_CHARS, MAX_TERMS, MAX_VOCABULARY_BYTES
from mmr_runtime.moods import MOODS
from tests.runtime.fake_engine import SIZE, FakeEngine, seeded, unit, write_song

WORDS = (Term("rain"), Term("snow"), Term("a fight", "scene"), Term("a kiss", "scene"))


class Referenced(FakeEngine):
    """The fake engine with a reference set; the moods that it sees are what the test sets."""

    shares: tuple[float, ...] = (1 / 7,) * 7

    def reference(self, modality: str) -> np.ndarray:
        return unit(np.random.default_rng(3).normal(size=(50, SIZE)))

    def moods(self, vectors: np.ndarray, modality: str) -> np.ndarray:
        return np.tile(np.float32(self.shares), (len(vectors), 1))


def vector(name: str) -> np.ndarray:
    return unit(seeded(name)[None])[0]


def shares(**named: float) -> tuple[float, ...]:
    rest = (1 - sum(named.values())) / (len(MOODS) - len(named))
    return tuple(named.get(mood, rest) for mood in MOODS)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    Image.effect_noise((32, 48), 60).save(tmp_path / "page.png")
    return tmp_path / "page.png"


# -- scores -----------------------------------------------------------------------------------------------------------


def test_a_score_counts_standard_deviations_above_the_reference_set() -> None:
    engine = Referenced()
    usual = engine.reference("image") @ vector("rain")
    found = Describer(engine, WORDS).describe_vector(vector("rain"), "image")
    assert found.measure == "deviations"
    assert found.keywords[0].text == "rain"
    assert found.keywords[0].score == pytest.approx((1 - usual.mean()) / usual.std(), rel=1e-4)


def test_a_reference_page_scores_zero_on_the_average() -> None:
    engine = Referenced()
    describer = Describer(engine, WORDS)
    scores = [
        {k.text: k.score for k in describer.describe_vector(row, "image").keywords} for row in engine.reference("image")
    ]
    for term in WORDS:
        own = np.array([s[term.text] for s in scores])
        assert own.mean() == pytest.approx(0, abs=1e-4)
        assert own.std() == pytest.approx(1, rel=1e-3)


def test_without_a_reference_set_scores_are_audioclips_softmax_in_equal_shares_of_the_group() -> None:
    found = Describer(FakeEngine(), WORDS).describe_vector(vector("x"), "audio")
    assert found.measure == "ratio"
    sums: Counter[str] = Counter()
    for keyword in found.keywords:
        sums[keyword.group] += keyword.score
    assert sums == pytest.approx({"": 2, "scene": 2})
    by_text = {k.text: k.score for k in found.keywords}
    logits = {text: 10 * float(vector(text) @ vector("x")) for text in ("rain", "snow")}
    assert by_text["rain"] / by_text["snow"] == pytest.approx(np.exp(logits["rain"] - logits["snow"]), rel=1e-3)


def test_a_term_that_is_alone_in_its_group_does_not_win_by_that() -> None:
    words = [Term("banana", "fruit"), *(Term(w, "mood") for w in ("x", "calm", "grim", "wild"))]
    found = Describer(FakeEngine(), words).describe_vector(vector("x"), "audio", top=10)
    assert found.keywords[0].text == "x"
    assert next(k.score for k in found.keywords if k.text == "banana") == pytest.approx(1)


def test_no_group_fills_the_list() -> None:
    words = [*(Term(f"near {i}", "scene") for i in range(20)), Term("calm", "mood"), Term("grim", "mood")]
    found = Describer(FakeEngine(), words).describe_vector(vector("near 3"), "image", top=6)
    assert Counter(k.group for k in found.keywords) == {"scene": 3, "mood": 2}
    assert found.keywords[0].text == "near 3"


def test_a_term_that_never_changes_does_not_win_by_rounding() -> None:
    class Flat(Referenced):
        def reference(self, modality: str) -> np.ndarray:
            return np.tile(vector("usual"), (20, 1))

    usual = vector("usual")
    nearly = unit((usual + np.float32(1e-4) * vector("x"))[None])[0]
    (keyword,) = Describer(Flat(), [Term("rain")]).describe_vector(nearly, "image").keywords
    assert abs(keyword.score) < 0.1


@given(st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=8), min_size=1, max_size=12, unique=True))
def test_best_first_and_another_order_of_terms_changes_nothing(texts: list[str]) -> None:
    engine = Referenced()
    query = vector("a query")
    found = Describer(engine, [Term(t) for t in texts]).describe_vector(query, "image", top=20)
    turned = Describer(engine, [Term(t) for t in reversed(texts)]).describe_vector(query, "image", top=20)
    scores = [k.score for k in found.keywords]
    assert scores == sorted(scores, reverse=True)
    assert {k.text for k in found.keywords} == set(texts)
    assert [k.text for k in turned.keywords] == [k.text for k in found.keywords]
    assert [k.score for k in turned.keywords] == pytest.approx(scores, abs=1e-4)


def test_top_keywords_only() -> None:
    describer = Describer(Referenced(), WORDS)
    everything = describer.describe_vector(vector("x"), "image", top=99).keywords
    assert len(everything) == len(WORDS)
    assert describer.describe_vector(vector("x"), "image", top=2).keywords == everything[:2]
    with pytest.raises(UsageError, match="top must be at least 1, not 0"):
        describer.describe_vector(vector("x"), "image", top=0)


# -- the caption ------------------------------------------------------------------------------------------------------


SAD = "A knight kneels by the body of his horse."
FUNNY = "A wizard's apprentice turns his own nose into a carrot."


class Tuned(Referenced):
    """Whatever is described is as near to the texts of `near` as they say, and far from all others."""

    near: Mapping[str, float] = MappingProxyType({SAD: 1.0})

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        here, away = vector("here"), unit(-vector("here")[None] + 0.1 * seeded("away"))[0]
        return np.stack([here * self.near[t] + away * (1 - self.near[t]) if t in self.near else away for t in texts])


def caption(engine: FakeEngine, modality: str = "image") -> str:
    return Describer(engine, WORDS).describe_vector(vector("here"), modality).caption


@pytest.mark.parametrize(
    ("moods", "opening"),
    [
        (shares(Scary=0.5), "Reads as scary"),
        (shares(Scary=0.3, Sad=0.4), "Reads as sad and scary"),
        (shares(Scary=0.3, Sad=0.29, Angry=0.24), "Reads as scary and sad"),
        (shares(), "No plain mood"),
        (shares(Happy=0.28), "No plain mood"),
    ],
)
def test_a_mood_is_named_only_where_it_is_plain(moods: tuple[float, ...], opening: str) -> None:
    engine = Tuned()
    engine.shares = moods
    assert caption(engine).startswith(f"{opening}; ")


def test_a_song_sounds_and_a_page_reads() -> None:
    engine = Tuned()
    engine.shares = shares(Tender=0.6)
    assert caption(engine, "audio").startswith("Sounds tender; ")


def test_a_near_description_of_the_same_mood_is_quoted() -> None:
    engine = Tuned()
    engine.shares = shares(Sad=0.6)
    assert caption(engine) == f'Reads as sad; near to "{SAD}"'


def test_a_nearer_one_of_another_mood_is_passed_over() -> None:
    engine = Tuned()
    engine.shares, engine.near = shares(Sad=0.6), {SAD: 0.9, FUNNY: 1.0}
    assert caption(engine) == f'Reads as sad; near to "{SAD}"'
    found = Describer(engine, WORDS).describe_vector(vector("here"), "image")
    assert [text for text, _ in found.nearest[:2]] == [FUNNY, SAD]


def test_where_only_another_mood_is_near_the_caption_says_so() -> None:
    engine = Tuned()
    engine.shares, engine.near = shares(Sad=0.6), {FUNNY: 1.0}
    assert caption(engine) == f'Reads as sad; the nearest is of another mood: "{FUNNY}"'


def test_without_a_plain_mood_the_nearest_description_is_as_good_as_any() -> None:
    engine = Tuned()
    engine.near = {SAD: 0.9, FUNNY: 1.0}
    assert caption(engine) == f'No plain mood; near to "{FUNNY}"'


def test_a_page_that_is_near_to_nothing_is_said_to_be() -> None:
    engine = Tuned()
    engine.near = {}
    nearest = Describer(engine, WORDS).describe_vector(vector("here"), "image").nearest[0][0]
    assert caption(engine) == f'No plain mood; near to nothing described, the nearest: "{nearest}"'


def test_a_model_without_moods_claims_none() -> None:
    engine = Tuned(has_moods=False)
    assert caption(engine) == f'Near to "{SAD}"'
    assert Describer(engine, WORDS).describe_vector(vector("here"), "image").moods == ()


@pytest.mark.parametrize("modality", ["image", "audio"])
@pytest.mark.parametrize("mood", MOODS)
def test_every_mood_has_a_description_to_quote(modality: str, mood: str) -> None:
    class Near(Referenced):
        def embed_texts(self, texts: list[str]) -> np.ndarray:
            return np.tile(vector("here"), (len(texts), 1))

    engine = Near()
    engine.shares = shares(**{mood: 0.9})
    assert '; near to "' in caption(engine, modality)


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_ending_tells_pages_from_songs(page: Path, tmp_path: Path) -> None:
    song = write_song(tmp_path / "song.WAV", 440)
    engine = Referenced()
    assert describe(engine, page, vocabulary=WORDS).modality == "image"
    assert describe(engine, str(song), vocabulary=WORDS).modality == "audio"
    assert engine.embedded == ["page.png", "song.WAV"]
    with pytest.raises(InputError, match=r"notes\.txt tells neither a page nor a song"):
        modality_of("notes.txt")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "broken.mp3").write_bytes(b"no sound")
    describer = Describer(Referenced(), WORDS)
    with pytest.raises(ImageError, match=r"broken\.png"):
        describer.describe(tmp_path / "broken.png")
    with pytest.raises(AudioError, match=r"broken\.mp3"):
        describer.describe(tmp_path / "broken.mp3")


def test_texts_are_embedded_once_and_with_a_cache_once_for_all(tmp_path: Path) -> None:
    class Counting(Referenced):
        count = 0

        def embed_texts(self, texts: list[str]) -> np.ndarray:
            Counting.count += len(texts)
            return super().embed_texts(texts)

    cache = VectorCache(tmp_path / "cache.db")
    first = Describer(Counting(), WORDS, cache=cache)
    found = [first.describe_vector(vector("x"), "image") for _ in range(2)]
    once = Counting.count
    again = Describer(Counting(), WORDS, cache=cache).describe_vector(vector("x"), "image")
    other = Describer(Counting(), WORDS[:2], cache=cache).describe_vector(vector("x"), "image")
    cache.close()
    assert found == [again, again]
    assert once > len(WORDS)
    assert Counting.count == once + 2
    assert {k.text for k in other.keywords} == {"rain", "snow"}


# -- vocabularies -----------------------------------------------------------------------------------------------------


def test_the_built_in_vocabulary_is_sound() -> None:
    terms = built_in_vocabulary()
    assert 150 <= len(terms) <= 300
    assert len({(t.text, t.group) for t in terms}) == len(terms)
    assert {t.group for t in terms} == {"mood", "pace", "scene", "story", "sound", "style"}
    assert all(len(t.text) <= 40 for t in terms)


def test_a_page_is_not_asked_for_instruments_nor_a_song_for_what_is_drawn() -> None:
    describer = Describer(Referenced())
    asked = {
        m: {k.group for k in describer.describe_vector(vector("x"), m, top=999).keywords} for m in ("image", "audio")
    }
    assert asked == {"image": {"mood", "pace", "scene", "story"}, "audio": {"mood", "pace", "sound", "style"}}


def test_pages_are_compared_with_scenes_and_songs_with_music() -> None:
    describer = Describer(Referenced())
    modalities: tuple[Seen, ...] = ("image", "audio")
    queries = [vector(str(i)) for i in range(30)]
    page, song = ({text for q in queries for text, _ in describer.describe_vector(q, m).nearest} for m in modalities)
    assert page
    assert song
    assert not page & song


def test_all_groups_of_an_own_vocabulary_are_asked_of_everything() -> None:
    found = Describer(Referenced(), WORDS).describe_vector(vector("x"), "audio")
    assert {(k.text, k.group) for k in found.keywords} == {(t.text, t.group) for t in WORDS}


def test_an_own_vocabulary_is_lines_or_a_table(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeff# remark\r\nrain\r\n\r\n  snow \r\nscene\ta fight\r\nrain\r\n".encode())
    assert read_vocabulary(path) == (Term("rain"), Term("snow"), Term("a fight", "scene"))


WORD = st.text(string.ascii_letters + " é語", min_size=1, max_size=20).map(str.strip).filter(bool)


@given(st.lists(st.builds(Term, WORD, st.just("") | WORD), min_size=1))
def test_what_is_written_is_read(terms: list[Term]) -> None:
    lines = [f"{t.group}\t{t.text}" if t.group else t.text for t in terms]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.tsv"
        path.write_text("\n".join(lines), encoding="utf-8")
        assert read_vocabulary(path) == tuple(dict.fromkeys(terms))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"# only remarks\n\n", "is empty"),
        (b"rain\nscene\t \n", "line 2: no term behind the group"),
        (b"a\tb\tc\n", "line 1: 2 tabs"),
        (b"x" * (MAX_TERM_CHARS + 1), f"line 1: a term of {MAX_TERM_CHARS + 1} characters"),
        ("\n".join(f"word {i}" for i in range(MAX_TERMS + 1)).encode(), f"{MAX_TERMS + 1} terms, more than"),
        (b"caf\xe9", r"no UTF-8 text \(byte 3\)"),
        (b"\n" * (MAX_VOCABULARY_BYTES + 1), "bytes"),
    ],
)
def test_a_vocabulary_that_cannot_be_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_vocabulary(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_vocabulary_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"words\.txt"):
        read_vocabulary(tmp_path / "words.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read_vocabulary(tmp_path)
    with pytest.raises(UsageError, match="the vocabulary is empty"):
        Describer(Referenced(), [])


# -- the shipped model ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if not (default_folder() / "manifest.json").exists():
        pytest.skip("no default model")
    with Engine.open(device="cpu") as engine:
        yield engine


@pytest.mark.parametrize(("text", "word"), [("furious", "furious"), ("a funeral", "a funeral"), ("battle", "battle")])
def test_a_page_whose_vector_is_a_words_gets_that_word(engine: Engine, text: str, word: str) -> None:
    found = Describer(engine).describe_vector(engine.embed_texts([text])[0], "image", top=12)
    assert word in {k.text for k in found.keywords}


def test_the_shipped_model_scores_in_deviations(engine: Engine, page: Path) -> None:
    found = describe(engine, page)
    assert found.measure == "deviations"
    assert len(found.keywords) == 8
    assert len(found.nearest) == 3
    assert sum(found.moods) == pytest.approx(1, abs=1e-5)
    assert found == describe(engine, page)
