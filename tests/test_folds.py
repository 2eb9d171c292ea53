"""Folds by take: every take is held out once, with its siblings, and no model sees what it is scored on."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from golden import TINY
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini import ava
from lart_mini.data.cache import intact
from lart_mini.data.folds import assign, rests_on, split_by_fold, takes_text
from lart_mini.data.mini_ava import SIZES, MiniAva, mini_ava
from lart_mini.evaluation import ava_csv
from lart_mini.files import BadInput
from lart_mini.people.clips import Clip
from lart_mini.scenes.takes import LISTEN_TO, segments

MODULE = sys.modules["lart_mini.data.mini_ava"]
Library = dict[str, Clip]


def pretended(shown: list[list[int]]) -> Library:
    """A library of one still clip a take, each showing some classes for 20 frames."""
    clips = {}
    for number, actions in enumerate(shown):
        labels = np.zeros((20, 80), np.uint8)
        labels[:, np.array(actions, int) - 1] = 1
        name = f"take{number}"
        pose, place = np.tile(np.eye(3, dtype=np.float32), (20, 24, 1, 1)), np.zeros((20, 3), np.float32)
        clips[name] = Clip(name, "source", "somebody", name, "train", None, None, pose, place, labels)
    return clips


@pytest.mark.parametrize("folds", [2, 4, 7])
def test_every_take_is_held_out_once_with_its_siblings(library: Library, folds: int) -> None:
    held = Counter()
    for number in range(folds):
        parted = split_by_fold(library, (number, folds))
        assert parted.keys() == library.keys()
        taken = {
            split: {clip.take for clip in parted.values() if clip.split == split}
            for split in ("train", "val")
        }
        assert not taken["train"] & taken["val"]
        held.update(taken["val"])
        for name, clip in parted.items():
            assert clip.labels is library[name].labels and clip.take == library[name].take
    labelled = {clip.take for clip in library.values() if clip.labels[:, np.array(ava.EVALUATED) - 1].any()}
    assert held == Counter(dict.fromkeys(labelled & set(held), 1))
    assert len(labelled - set(held)) <= 1, "all but takes that are labelled for less than half a second"


@pytest.mark.parametrize("folds", [2, 3, 4, 5])
def test_a_class_of_as_many_takes_is_in_every_fold(library: Library, folds: int) -> None:
    fold_of = assign(library, folds)
    many = 0
    for action in ava.EVALUATED:
        takes = {c.take for c in library.values() if c.labels[:, action - 1].any()} & fold_of.keys()
        if len(takes) >= folds:
            many += 1
            assert {fold_of[take] for take in takes} == set(range(folds)), ava.NAMES[action]
    assert many > 8


def test_folds_are_alike_in_size(library: Library) -> None:
    fold_of = assign(library, 4)
    frames = Counter[int]()
    for clip in library.values():
        if clip.take in fold_of:
            frames[fold_of[clip.take]] += int(clip.labels.any(axis=1).sum())
    assert max(frames.values()) < 2 * min(frames.values())


@given(
    shown=st.lists(
        st.lists(st.sampled_from(ava.EVALUATED[:6]), min_size=1, max_size=3, unique=True), min_size=2
    ),
    data=st.data(),
)
@settings(max_examples=60)
def test_any_library_is_dealt_out_evenly(shown: list[list[int]], data: st.DataObject) -> None:
    library = pretended(shown)
    folds = data.draw(st.integers(2, len(shown)))
    fold_of = assign(library, folds)
    assert fold_of.keys() == library.keys() and set(fold_of.values()) == set(range(folds)), "no fold is empty"
    rarest = min(sorted({a for one in shown for a in one}), key=lambda a: (sum(a in one for one in shown), a))
    dealt = Counter(fold_of[f"take{i}"] for i, one in enumerate(shown) if rarest in one)
    counts = [dealt[fold] for fold in range(folds)]
    assert max(counts) - min(counts) <= 1, "the rarest class comes first"
    backwards = dict(reversed(library.items()))
    assert assign(backwards, folds) == fold_of, "whatever the library's order"


def test_rare_classes_are_dealt_out_before_frequent_ones() -> None:
    fold_of = assign(pretended([[3, 5], [3, 1], [3, 7], [3, 1]]), 2)
    assert fold_of["take1"] != fold_of["take3"], "the two takes of class 1"


def test_nothing_is_scored_that_the_other_takes_do_not_show(library: Library) -> None:
    for number in range(4):
        parted = split_by_fold(library, (number, 4))
        learnt = frozenset().union(*(segment.actions for segment in segments(parted, "train")))
        scored = frozenset().union(*(segment.actions for segment in segments(parted, "val")))
        # Listeners are placed before who talks to nobody captured: training shows them all the same.
        assert scored - learnt <= {LISTEN_TO, 80}
        assert {12, 14, 10, 7, 3} <= scored
    assert not segments(parted, "test"), "other performers are pooled in"


def test_the_headline_rests_on_three_takes_of_two_sources(library: Library) -> None:
    found = {action: rests_on(library, 4, action) for action in (4, 11, 17, 20, 79)}
    assert [found[action].counts for action in (4, 11, 17, 20, 79)] == [True, True, False, False, False]
    assert len(found[17].takes) > 3 and found[17].sources == ("accad",), "many takes of one source"
    assert len(found[79].takes) == 2 and len(found[79].sources) == 2, "two sources, of one take each"
    assert found[20].clips == ("cmu_01_03",)


@pytest.mark.parametrize("folds", [1, 0, -1, 97, 2.0, "4"])
def test_more_folds_than_takes_are_refused(library: Library, folds: int) -> None:
    with pytest.raises(BadInput, match="folds: number of folds: expected a whole number from 2 to 96"):
        assign(library, folds)


def test_a_fold_without_anything_that_others_show_is_refused() -> None:
    library = pretended([[1], [3], [4]])
    with pytest.raises(
        BadInput, match="few enough that each holds out what others show, found none in fold 1 of 3"
    ):
        split_by_fold(library, (1, 3))


@pytest.mark.parametrize("action", [2, 81, 0])
def test_only_evaluated_classes_rest_on_takes(library: Library, action: int) -> None:
    with pytest.raises(BadInput, match="one of AVA's 60 evaluated classes"):
        rests_on(library, 4, action)
    with pytest.raises(BadInput, match="folds: class 57: expected a take that shows it"):
        rests_on(library, 4, 57)


def test_the_text_names_every_class_and_take(library: Library) -> None:
    text = takes_text(4)
    for action in (1, 4, 20, 79):
        assert f"{action:3d} {ava.NAMES[action]}" in text
    for take, fold in assign(library, 4).items():
        line = next(line for line in text.splitlines() if line.startswith(f"fold {fold} holds out"))
        assert take in line.split()
    assert takes_text(4, 20).splitlines()[-1].split()[-1] == "cmu_01_03"


# -------------------------------------------------------------------------------------------- composed folds


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> MiniAva:
    """Fold 1 of 4, of a few videos."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", replace(TINY, train=5, kinetics=1, val=10))
        return mini_ava("tiny", 0, tmp_path_factory.mktemp("cache"), jobs=1, fold=(1, 4))


def test_a_composed_fold_shows_its_takes_alone(composed: MiniAva, library: Library) -> None:
    fold_of = assign(library, 4)
    videos = composed.videos()
    assert videos["split"].to_list() == ["ava-train"] * 5 + ["kinetics-train"] + ["ava-val"] * 5, (
        "2 / K of val"
    )
    for row in videos.iter_rows(named=True):
        shown = {library[name.removesuffix("_mirrored")].take for actor in row["takes"] for name in actor}
        held_out = {take for take in shown if fold_of.get(take) == 1}
        assert held_out == (shown if row["split"] == "ava-val" else set())
    assert not (composed.path / "ava-test.npz").exists()


def test_more_training_scenes_come_after_the_same_first_ones(
    composed: MiniAva, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else, the boxes that are scored among it, is the same to the last byte."""
    monkeypatch.setitem(SIZES, "more", replace(TINY, train=7, kinetics=1, val=10))
    more = mini_ava("more", 0, tmp_path, jobs=1, fold=(1, 4))
    for name in ("ava-val.npz", "ava-val.csv", "clips.csv", "kinetics-train.npz"):
        assert (more.path / name).read_bytes() == (composed.path / name).read_bytes(), name
    few, many = (data.tracklets("ava-train") for data in (composed, more))
    assert len({one.video for one in many}) == 7
    for one, other in zip(few, many, strict=False):
        assert one.name == other.name
        np.testing.assert_array_equal(one.vector(), other.vector())
        np.testing.assert_array_equal(one.labels, other.labels)


def test_every_scored_box_names_the_clip_that_it_shows(composed: MiniAva, library: Library) -> None:
    truth = ava_csv.read_groundtruth(composed.groundtruth("ava-val"))
    keys = ["video", "second", "person"]
    clips = composed.clips()
    boxes = truth.select(keys).unique().sort(keys)
    assert clips.select(keys).rows() == [(v, s, int(p)) for v, s, p in boxes.rows()]
    takes = {row["video"]: row["takes"] for row in composed.videos("ava-val").iter_rows(named=True)}
    named = truth.with_columns(pl.col("person").cast(pl.Int64)).join(clips, on=keys)
    assert len(named) == len(truth)
    several = 0
    for row in named.iter_rows(named=True):
        chain = [name.removesuffix("_mirrored") for name in takes[row["video"]][row["person"]]]
        several += len(set(chain)) > 1
        assert row["clip"] in chain
        # Its action is one that the clip shows, or listening and watching, which are placed.
        assert library[row["clip"]].labels[:, row["action"] - 1].any() or row["action"] in (LISTEN_TO, 80)
    assert several, "somewhere an actor does one take after the other"


def test_the_clips_are_those_of_the_folder_of_its_name(tmp_path: Path) -> None:
    """`[1]` is no pattern that another folder fits."""
    for folder in ("a[1]", "a1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clips.csv").write_text(f"clip\n{folder}\n")
    assert MiniAva(tmp_path / "a[1]").clips()["clip"].to_list() == ["a[1]"]


def test_folds_have_folders_of_their_own(
    composed: MiniAva, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "tiny", replace(TINY, train=5, kinetics=1, val=10))
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "_compose", lambda *_: pytest.fail("composed what the cache holds"))
        assert mini_ava("tiny", 0, composed.path.parent, fold=(1, 4)) == composed
    recipes = {MODULE.recipe_digest(TINY, 0, "lart", fold) for fold in (None, (0, 4), (1, 4), (1, 5))}
    assert len(recipes) == 4 and "fold2of4" in composed.path.name
    with pytest.raises(BadInput, match="folds: fold: expected a whole number from 0 to 3, found 4"):
        mini_ava("tiny", 0, tmp_path, fold=(4, 4))
    with pytest.raises(BadInput, match="number of folds"):
        mini_ava("tiny", 0, tmp_path, fold=(0, 97))
    assert list(tmp_path.iterdir()) == []
    (composed.path / "clips.csv").write_text("video,second,person,clip\n")
    assert not intact(composed.path, MODULE.FOLD_FILES), "the clips are among what is checked"
