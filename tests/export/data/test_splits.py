"""Splits: groups stay whole, every class has its share, and a file keeps what was drawn."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr_export.data.datasets import Dataset, Item, Side
from mmr_export.data.splits import Kind, Split, apply_split, read_split, split_dataset, write_split
from mmr_runtime.errors import InputError, MissingFileError, UsageError

LABELS = "abcd"


def dataset(items: list[tuple[str, str]]) -> Dataset:
    """Items of (labels, group): one letter each."""
    found = [
        Item(f"{i:04}", Path("x"), "", tuple(dict.fromkeys(labels)), group, fold=i % 5 + 1)
        for i, (labels, group) in enumerate(items)
    ]
    return Dataset("made", "audio", tuple(found), tuple(LABELS), tuple(LABELS))


def grouped(sizes: dict[str, list[int]]) -> Dataset:
    """One label a group: the sizes of the groups of each label."""
    return dataset(
        [(label, f"{label}{i}") for label in sizes for i, size in enumerate(sizes[label]) for _ in range(size)]
    )


DATASETS = st.lists(
    st.tuples(st.text(LABELS, max_size=3), st.sampled_from([f"g{i}" for i in range(12)])), min_size=2, max_size=60
).filter(lambda items: len({group for _, group in items}) > 1)
SHARES = st.sampled_from([0.1, 0.2, 0.5, 0.8])


def validation_counts(data: Dataset, split: Split) -> Counter[str]:
    return Counter(label for item in apply_split(data, split)[1] for label in item.labels)


@given(DATASETS.map(dataset), st.sampled_from(["group", "item"]), SHARES, st.integers(0, 9))
def test_every_item_is_on_one_side_and_both_sides_have_some(data: Dataset, kind: Kind, share: float, seed: int) -> None:
    split = split_dataset(data, kind, share=share, seed=seed)
    assert sorted(split.train + split.validation) == [item.key for item in data.items]
    assert split.train
    assert split.validation
    assert list(split.train) == sorted(split.train)


@given(DATASETS.map(dataset), SHARES, st.integers(0, 9))
def test_no_group_is_on_both_sides(data: Dataset, share: float, seed: int) -> None:
    train, validation = apply_split(data, split_dataset(data, share=share, seed=seed))
    assert not {item.group for item in train} & {item.group for item in validation}


@given(DATASETS, st.sampled_from(["group", "item"]), st.integers(0, 9), st.randoms())
def test_a_seed_gives_one_split(items: list[tuple[str, str]], kind: Kind, seed: int, random: object) -> None:
    data = dataset(items)
    assert split_dataset(data, kind, seed=seed) == split_dataset(data, kind, seed=seed)
    relabelled = replace(data, items=tuple(replace(item, labels=item.labels[::-1]) for item in data.items))
    assert split_dataset(data, kind, seed=seed) == split_dataset(relabelled, kind, seed=seed)


@given(
    st.dictionaries(st.sampled_from(LABELS), st.lists(st.integers(1, 9), min_size=2, max_size=9), min_size=1), SHARES
)
def test_a_class_with_two_groups_stands_on_both_sides(sizes: dict[str, list[int]], share: float) -> None:
    data = grouped(sizes)
    split = split_dataset(data, share=share)
    validation, train = validation_counts(data, split), Counter(i.labels[0] for i in apply_split(data, split)[0])
    assert validation.keys() == train.keys() == sizes.keys()


@given(
    st.dictionaries(st.sampled_from(LABELS), st.lists(st.integers(1, 9), min_size=3, max_size=12), min_size=1),
    SHARES,
    st.integers(0, 9),
)
def test_a_class_misses_its_share_by_no_more_than_a_group(sizes: dict[str, list[int]], share: float, seed: int) -> None:
    data = grouped(sizes)
    counts = validation_counts(data, split_dataset(data, share=share, seed=seed))
    for label, groups in sizes.items():
        assert abs(counts[label] - share * sum(groups)) <= max(groups)


@given(st.lists(st.sampled_from(LABELS), min_size=40, max_size=120), st.integers(0, 9))
def test_single_items_meet_the_share_of_every_class(labels: list[str], seed: int) -> None:
    data = dataset([(label, "one") for label in labels])
    counts = validation_counts(data, split_dataset(data, "item", seed=seed))
    for label, n in Counter(labels).items():
        assert abs(counts[label] - 0.2 * n) <= 1


def test_a_rare_class_of_items_with_several_labels_stands_on_both_sides() -> None:
    data = dataset([("ab" if i in (3, 17) else "a" if i % 2 else "c", f"g{i}") for i in range(40)])
    for seed in range(20):
        assert validation_counts(data, split_dataset(data, seed=seed))["b"] == 1


def test_no_class_gets_a_side_at_the_cost_of_another() -> None:
    # `b` would be had most cheaply from the group that is the only one left to train `a`.
    items = [("abf", "one"), ("a", "two"), *[("bdh", "three")] * 9, *[("c", f"c{i}") for i in range(40)]]
    for seed in range(5):
        train, validation = apply_split(dataset(items), split_dataset(dataset(items), seed=seed))
        for side in (train, validation):
            assert {"a", "b", "c"} <= {label for item in side for label in item.labels}


def test_other_seeds_give_other_splits() -> None:
    data = grouped({"a": [3] * 20, "b": [2] * 20})
    assert len({split_dataset(data, seed=seed).validation for seed in range(10)}) == 10


def test_free_texts_are_split_by_share_alone() -> None:
    data = dataset([("", f"g{i}") for i in range(50)])
    assert len(split_dataset(data, share=0.2).validation) == 10


def test_single_items_may_leave_their_group() -> None:
    data = grouped({"a": [10, 10], "b": [10, 10]})
    train, validation = apply_split(data, split_dataset(data, "item"))
    assert {item.group for item in train} & {item.group for item in validation}


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(InputError, match="made: 5 items would train and 0 validate by the split group"):
        split_dataset(grouped({"a": [5]}))


def test_a_fold_validates() -> None:
    data = grouped({"a": [20], "b": [20]})
    split = split_dataset(data, "fold", fold=3)
    assert {item.fold for item in apply_split(data, split)[1]} == {3}
    assert len(split.train) == 32
    assert split.share == 0.2


def test_a_fold_must_be_named_and_there() -> None:
    data = grouped({"a": [20]})
    for fold in (None, 0, 6):
        with pytest.raises(UsageError, match=f"no fold {fold} .*1, 2, 3, 4, 5"):
            split_dataset(data, "fold", fold=fold)
    without = replace(data, items=tuple(replace(item, fold=None) for item in data.items))
    with pytest.raises(InputError, match="does not come in folds"):
        split_dataset(without, "fold", fold=1)


def sided(sides: list[Side | None]) -> Dataset:
    data = grouped({"a": [len(sides)]})
    items = [replace(item, side=side) for item, side in zip(data.items, sides, strict=True)]
    return replace(data, items=tuple(items))


def test_given_sides_are_taken_and_items_to_test_left_out() -> None:
    split = split_dataset(sided(["train", "validation", "test", "train"]), "given")
    assert (split.train, split.validation, split.share) == (("0000", "0003"), ("0001",), 1 / 3)


def test_given_sides_must_be_given() -> None:
    with pytest.raises(InputError, match="1 of 3 items name no side"):
        split_dataset(sided(["train", None, "validation"]), "given")
    with pytest.raises(InputError, match="2 items would train and 0 validate"):
        split_dataset(sided(["train", "train", "test"]), "given")


def test_options_that_cannot_be_are_named() -> None:
    data = grouped({"a": [2, 2]})
    with pytest.raises(UsageError, match="group, item, fold, given"):
        split_dataset(data, "title")  # type: ignore[arg-type]
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(UsageError, match="share must be between 0 and 1"):
            split_dataset(data, share=share)


@given(
    st.sampled_from(get_args(Kind)),
    st.integers(0, 99),
    st.floats(0.01, 0.99),
    st.sets(st.text(st.characters(), max_size=5)),
)
def test_a_file_gives_back_the_split(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, seed: int, share: float, keys: set[str]
) -> None:
    path = tmp_path_factory.mktemp("split") / "best.split.json"
    some = tuple(sorted(keys))
    split = Split(kind, seed, share, some[::2], some[1::2])
    write_split(split, path)
    assert read_split(path) == split
    assert json.loads(path.read_text(encoding="utf-8"))["schema"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2, not 1"),
        ({"kind": "title"}, "damaged"),
        ({"train": ["a", "b"], "validation": ["b"]}, "names an item twice"),
        ({"train": None}, "is no split"),
        ({"seed": "x"}, "is no split"),
    ],
)
def test_a_file_that_is_no_split_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "best.split.json"
    write_split(Split("group", 0, 0.2, ("a",), ("b",)), path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message) as caught:
        read_split(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("content", ["", "[]", "3", "{", "{}"])
def test_other_files_are_no_splits(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match="is no split"):
        read_split(tmp_path / "x.json")
    with pytest.raises(MissingFileError):
        read_split(tmp_path / "y.json")


def test_a_split_of_other_data_is_refused_with_counts() -> None:
    data = grouped({"a": [2, 2]})
    with pytest.raises(InputError, match="2 of 3 items of the split are not in made: x, y"):
        apply_split(data, Split("group", 0, 0.2, ("0000", "x"), ("y",)))


def test_items_that_a_split_does_not_name_are_left_out() -> None:
    data = grouped({"a": [2, 2]})
    train, validation = apply_split(data, Split("group", 0, 0.2, ("0002",), ("0001",)))
    assert ([item.key for item in train], [item.key for item in validation]) == (["0002"], ["0001"])
