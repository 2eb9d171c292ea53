"""Group activities: captured people in composed places, and nothing but relations that tells the activity."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini.baselines import blind_features, fit_multinomial, pair_features, pairwise_features
from lart_mini.data.folds import split_by_fold
from lart_mini.data.group_activity import (
    ACTIVITIES,
    COMPOSED,
    GESTURES,
    GROUPS,
    MOVING,
    ROOM,
    RUNS,
    STANDING,
    STANDS,
    TROUPES,
    WALKS,
    Troupes,
    arrange,
    group_scenes,
    stretches,
)
from lart_mini.data.labelled_videos import Actors, actors_of, labelled_videos, own_motion
from lart_mini.files import BadInput
from lart_mini.people.body import Body
from lart_mini.people.clips import Clip, mirror
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.staging import Performance, closest
from lart_mini.scenes.takes import GUARD_FRAMES, TALK_TO, WAVE, segments

Library = dict[str, Clip]
MODULE = sys.modules["lart_mini.data.labelled_videos"]


@pytest.fixture(scope="module")
def troupes(library: Library) -> Troupes:
    return Troupes(segments(library, "train"))


@pytest.fixture(scope="module")
def scenes(troupes: Troupes, free_body: Body) -> dict[bool, list[Scene]]:
    """The four scenes of a standing troupe (False) and of a moving one (True)."""
    return {moving: group_scenes(troupes, (3, 0, int(moving)), moving, free_body) for moving in (False, True)}


# ------------------------------------------------------------------------------------------------- the motion


def captured(library: Library, actor: Performance) -> tuple[Clip, int]:
    """The clip, mirrored if the actor is, and the frame of it at which the actor begins."""
    clip = library[actor.takes[0].removesuffix("_mirrored")]
    clip = mirror(clip) if actor.takes[0].endswith("_mirrored") else clip
    same = (clip.pose[:, 1:] == actor.pose[0, 1:]).all(axis=(1, 2, 3))
    return clip, int(np.flatnonzero(same)[0])


@pytest.mark.parametrize("moving", [False, True])
def test_everybody_moves_as_captured(library: Library, scenes: dict[bool, list[Scene]], moving: bool) -> None:
    for scene in scenes[moving]:
        for actor in scene.actors:
            clip, first = captured(library, actor)
            part = slice(first, first + scene.frames)
            np.testing.assert_array_equal(actor.pose[:, 1:], clip.pose[part, 1:])
            # Legs of another length stretch a path by one factor, heights too.
            scale = actor.translation[:, 1] / clip.translation[part, 1]
            np.testing.assert_allclose(scale, scale[0], rtol=1e-4)
            assert 0.85 < scale[0] < 1.15
            speed, theirs = (
                np.linalg.norm(np.diff(path[:, [0, 2]], axis=0), axis=1)
                for path in (actor.translation, clip.translation[part])
            )
            np.testing.assert_allclose(speed, scale[0] * theirs, atol=2e-4)
            # Up stays up: only the heading was chosen.
            np.testing.assert_allclose(actor.pose[:, 0, 1], clip.pose[part, 0, 1], atol=1e-5)


@pytest.mark.parametrize("moving", [False, True])
def test_nobody_walks_through_anybody(scenes: dict[bool, list[Scene]], moving: bool) -> None:
    for scene in scenes[moving]:
        assert 3 <= len(scene.actors) <= 6
        assert all(closest(a, b) > ROOM for i, a in enumerate(scene.actors) for b in scene.actors[:i])


def test_who_stands_stands_and_one_of_them_gestures(scenes: dict[bool, list[Scene]]) -> None:
    for scene in scenes[False]:
        shares = [actor.labels[:, [TALK_TO - 1, WAVE - 1]].any(axis=1).mean() for actor in scene.actors]
        assert shares[0] > 0.5 and not any(shares[1:])
        for actor in scene.actors:
            assert np.linalg.norm(actor.translation[-1] - actor.translation[0]) < 0.4 * 1.15
    for scene in scenes[True]:
        for actor in scene.actors:
            assert np.linalg.norm((actor.translation[-1] - actor.translation[0])[[0, 2]]) > 1.5 * 0.85


@pytest.mark.parametrize("wanted", [STANDS, GESTURES, WALKS, RUNS])
def test_takes_of_train_and_val_are_disjoint(library: Library, wanted: object) -> None:
    learnt, held = (stretches(segments(library, split), wanted) for split in ("train", "val"))
    assert learnt and held
    for one in {(s.clip.take, s.clip.name) for s in learnt} & {(s.clip.take, s.clip.name) for s in held}:
        ends = [s.last for s in learnt if s.clip.name == one[1]]
        starts = [s.first for s in held if s.clip.name == one[1]]
        assert library[one[1]].split == "time" and max(ends) + 2 * GUARD_FRAMES <= min(starts)
    parted = split_by_fold(library, (1, 4))
    learnt, held = (stretches(segments(parted, split), wanted) for split in ("train", "val"))
    assert not {s.clip.take for s in learnt} & {s.clip.take for s in held}


# ---------------------------------------------------------------------------------- what tells the activity


@pytest.mark.parametrize("moving", [False, True])
def test_one_person_tells_nothing(scenes: dict[bool, list[Scene]], moving: bool) -> None:
    """Each of a troupe is the same in all four activities: exchanging them between scenes changes nothing."""
    first, *others = scenes[moving]
    for other in others:
        for a, b in zip(first.actors, other.actors, strict=True):
            assert a.takes == b.takes
            np.testing.assert_array_equal(a.pose[:, 1:], b.pose[:, 1:])
            np.testing.assert_array_equal(a.betas, b.betas)
            np.testing.assert_allclose(own_motion(a), own_motion(b), atol=2e-3)
            np.testing.assert_allclose(a.translation[:, 1], b.translation[:, 1], atol=1e-5)


def truth(library: Library, body: Body, split: str, count: int) -> tuple[Actors, np.ndarray]:
    """Actors and labels of `count` troupes that nobody films."""
    troupes, rng = Troupes(segments(library, split)), np.random.default_rng(count)
    videos, labels = [], []
    while len(videos) < 4 * count:
        moving = len(videos) // 4 % 2 == 1
        activities, troupe = MOVING if moving else STANDING, troupes.draw(rng, moving, body)
        placed = [arrange(rng, troupe, activity) for activity in activities]
        if all(placed):
            videos += placed
            labels += [ACTIVITIES.index(activity) for activity in activities]
    return actors_of(videos), np.array(labels)


def test_only_relations_tell_the_activity(library: Library, free_body: Body) -> None:
    learnt, labels = truth(library, free_body, "train", 28)
    held, asked = truth(library, free_body, "val", 12)
    found = {}
    for name, features in (("blind", blind_features), ("pairwise", pairwise_features)):
        model = fit_multinomial(features(learnt), labels, len(ACTIVITIES))
        found[name] = model.scores(features(held)).argmax(axis=1)
    blind, pairwise = ((guess == asked).mean() for guess in found.values())
    assert blind <= 0.27 and pairwise > 0.75
    # Blind, it knows who stands and who walks; of a four that look alike it can have one right.
    assert ((found["blind"] < 4) == (asked < 4)).mean() > 0.9
    assert (found["blind"] == asked).reshape(-1, 4).sum(axis=1).max() == 1


def test_layouts_are_what_they_are_called(library: Library, free_body: Body) -> None:
    actors, labels = truth(library, free_body, "train", 8)
    for video, label in enumerate(labels):
        own = actors.video == video
        place, facing, name = actors.place[own], actors.facing[own], ACTIVITIES[label]
        middle = place.mean(axis=0)
        towards = np.arctan2(*(middle - place)[:, 37].T) - facing[:, 37]
        radius = np.linalg.norm(place - middle, axis=2).mean(axis=0)
        if name == "queue":
            assert np.abs(np.exp(1j * facing[:, 37]).mean()) > 0.9
        elif name == "conversation":
            assert np.cos(towards).min() > 0.4
        elif name == "audience":
            to_speaker = np.arctan2(*(place[0] - place[1:])[:, 37].T) - facing[1:, 37]
            assert np.cos(to_speaker).min() > 0.5
        elif name == "gathering":
            assert radius[-1] < radius[0]
        elif name == "scattering":
            assert radius[-1] > radius[0]
        elif name == "together":
            way = place[:, -1] - place[:, 0]
            assert np.abs((way / np.linalg.norm(way, axis=1, keepdims=True)).mean(axis=0)).max() > 0.5


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.booleans())
def test_relations_do_not_depend_on_the_world(seed: int, people: int, flipped: bool) -> None:
    rng = np.random.default_rng(seed)
    place, facing = rng.normal(0, 2, (people, 9, 2)), rng.uniform(-np.pi, np.pi, (people, 9))
    turn, shift, order = rng.uniform(-np.pi, np.pi), rng.normal(0, 5, 2), rng.permutation(people)
    c, s = np.cos(turn), np.sin(turn)
    moved, turned = place @ np.array([[c, -s], [s, c]]) + shift, facing + turn
    if flipped:
        moved, turned = moved * [-1, 1], -turned
    known = pair_features(place, facing)
    np.testing.assert_allclose(pair_features(moved[order], turned[order]), known, atol=1e-8)
    nearer = place.copy()
    nearer[0, 4] += 0.5  # in the middle frame
    assert np.abs(pair_features(nearer, facing) - known).max() > 1e-3


# -------------------------------------------------------------------------------------- seeds, files, trouble


def test_a_scene_is_its_seeds(troupes: Troupes, free_body: Body, scenes: dict[bool, list[Scene]]) -> None:
    again = group_scenes(troupes, (3, 0, 0), False, free_body)
    other = group_scenes(troupes, (3, 0, 2), False, free_body)
    for a, b in zip(scenes[False], again, strict=True):
        assert a.seed == b.seed
        for one, two in zip(a.filmed, b.filmed, strict=True):
            np.testing.assert_array_equal(one.box, two.box)
    assert other[0].actors[0].takes != again[0].actors[0].takes or not np.array_equal(
        other[0].actors[0].translation, again[0].actors[0].translation
    )


@pytest.fixture(scope="module")
def few() -> object:
    return replace(GROUPS, units={"few": (2, 1)})


def test_a_data_set_is_kept_and_read(few: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = labelled_videos(few, "few", 0, tmp_path, jobs=1)
    assert data.text().splitlines()[0] == COMPOSED
    for split, units in (("train", 2), ("val", 1)):
        table, people = data.videos(split), data.actors(split)
        assert data.labels(split).tolist() == list(range(4 * units))
        assert len(set(data.resampled(split))) == units  # troupes
        assert table["people"].to_list() == np.bincount(people.video).tolist()
        for skeletons, tracklets, row in zip(
            data.skeletons(split), data.tracklets(split), table.iter_rows(named=True), strict=True
        ):
            assert skeletons.video == row["video"] == tracklets[0].video
            assert set(skeletons.person.tolist()) <= {-1, *range(row["people"])}
            assert all(len(tracklet) == 75 for tracklet in tracklets)
    digests = (data.path / "sha256.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "_compose", lambda *_: pytest.fail("composed what the cache holds"))
        assert labelled_videos(few, "few", 0, tmp_path, jobs=1) == data
    (data.path / "train-2d.npz").write_bytes(b"")
    labelled_videos(few, "few", 0, tmp_path, jobs=1)
    assert (data.path / "sha256.json").read_text() == digests
    assert not list(tmp_path.glob(".composing-*"))


def test_bad_input_is_told(few: object, library: Library, free_body: Body, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"groups: size: expected few, found huge"):
        labelled_videos(few, "huge", 0, tmp_path)
    with pytest.raises(BadInput, match="seed"):
        labelled_videos(few, "few", -1, tmp_path)
    with pytest.raises(BadInput, match="stands for 75 frames"):
        Troupes([])
    nobody = Troupes(segments(library, "val"))
    nobody.parts[GESTURES] = nobody.parts[RUNS] = []
    rng = np.random.default_rng(0)
    assert all(not a.labels[:, [TALK_TO - 1, WAVE - 1]].any() for a in nobody.draw(rng, False, free_body))
    assert nobody.draw(rng, True, free_body) and TROUPES > 1
