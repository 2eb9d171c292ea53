"""Skeletons: where joints are seen, what is linked to what, and that mini_ava does not know of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import rows_of, walkers
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import skeletr as reference

from lart_mini.data import skeletons as module
from lart_mini.data.mini_ava import SIZES, MiniAva, Size
from lart_mini.data.skeletons import (
    COCO17,
    Sequences,
    Skeletons,
    coco17,
    load_skeletons,
    mini_skeletons,
    mixed_identities,
    normalised,
    save_skeletons,
    sequences,
    skeletons_2d,
    skeletons_3d,
)
from lart_mini.data.videos import compose_scene, detected
from lart_mini.evaluation.key_boxes import key_boxes
from lart_mini.files import BadInput
from lart_mini.people.body import Body
from lart_mini.people.clips import Clip
from lart_mini.scenes.camera import project
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.takes import segments
from lart_mini.skeletr.stgcnpp import LAYOUTS
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.faults import Faults

Seen = tuple[Scene, Detections, Skeletons]


@pytest.fixture(scope="module")
def seen(library: dict[str, Clip], free_body: Body) -> list[Seen]:
    """Scenes of validation takes, their detections and 2D skeletons."""
    pool, found = segments(library, "val"), []
    for index in range(4):
        scene = compose_scene(pool, "ava-val", 1, 14, (5, index), free_body)
        detections = detected(scene, "ava-val", Faults())
        found.append((scene, detections, skeletons_2d(scene, detections, f"val00{index:06d}")))
    return found


# ---------------------------------------------------------------------------------------------------- joints


def test_layout_is_its_own_mirror_image() -> None:
    flipped = np.array(LAYOUTS["coco"].mirrored)
    assert (flipped[flipped] == np.arange(17)).all()
    swapped = [COCO17[i].replace("left", "?").replace("right", "left").replace("?", "right") for i in flipped]
    assert tuple(swapped) == COCO17
    edges = {frozenset(edge) for edge in enumerate(LAYOUTS["coco"].parents)}
    assert {frozenset(flipped[list(edge)].tolist()) for edge in edges} == edges


def test_joints_are_where_the_body_has_them(seen: list[Seen], free_body: Body) -> None:
    scene = seen[0][0]
    person = scene.filmed[0]
    joints = coco17(free_body, person.pose, person.betas, person.translation)
    rest = coco17(
        free_body, np.tile(np.eye(3, dtype=np.float32), (1, 24, 1, 1)), person.betas, np.zeros((1, 3))
    )
    left, right = (rest[0, [COCO17.index(f"{side}_{part}") for part in ("shoulder", "hip", "ankle", "ear")]]
                   for side in ("left", "right"))  # fmt: skip
    assert (left[:, 0] > 0).all() and (right[:, 0] < 0).all(), "left is +x at rest"
    assert rest[0, 0, 1] > rest[0, 5, 1] > rest[0, 11, 1] > rest[0, 13, 1] > rest[0, 15, 1], (
        "nose down to ankle"
    )
    bones = joints[:, [7, 9, 13, 15]] - joints[:, [5, 7, 11, 13]]
    lengths = np.linalg.norm(bones, axis=-1)
    np.testing.assert_allclose(lengths, np.tile(lengths[:1], (len(lengths), 1)), atol=1e-4)


def test_noise_is_as_large_as_told_where_joints_are_seen(seen: list[Seen], free_body: Body) -> None:
    """A mean object keypoint similarity of about 0.86: exp(−d²/8σ²area), d the error in pixels."""
    found = []
    for scene, _, skeletons in seen:
        for actor, person in enumerate(scene.filmed):
            rows = skeletons.person == actor
            frame = skeletons.frame[rows]
            true = project(coco17(free_body, person.pose, person.betas, person.translation), scene.camera)
            error = skeletons.keypoint[rows] - true[frame]
            area = module.BODY_SHARE * (person.box[:, 2:] - person.box[:, :2]).prod(axis=1)[frame]
            similar = np.exp(-(error**2).sum(-1) / (8 * module.SIGMAS**2 * area[:, None]))
            found.append(similar[skeletons.score[rows] >= 0.4])
    assert 0.83 < np.concatenate(found).mean() < 0.89


def test_doubted_joints_are_few_and_those_out_of_the_frame_are_among_them(seen: list[Seen]) -> None:
    real = [(s.keypoint[s.person >= 0], s.score[s.person >= 0]) for *_, s in seen]
    pixels, score = (np.concatenate(part) for part in zip(*real, strict=True))
    doubted = score < 0.35
    assert 0.02 < doubted.mean() < 0.15
    far = (pixels < -60).any(-1) | (pixels[..., 0] > 1340) | (pixels[..., 1] > 780)
    assert far.any() and doubted[far].mean() > 0.9
    assert ((score >= 0) & (score <= 1)).all() and not ((score >= 0.35) & (score < 0.4)).any()


def test_keypoints_lie_in_their_boxes(seen: list[Seen]) -> None:
    for _, detections, skeletons in seen:
        sure = (skeletons.score >= 0.4) & (skeletons.person >= 0)[:, None]
        low = skeletons.box[:, None, :2] - 0.25 * skeletons.box[:, None, 2:]
        high = skeletons.box[:, None, :2] + 1.25 * skeletons.box[:, None, 2:]
        inside = ((skeletons.keypoint > low) & (skeletons.keypoint < high)).all(-1)
        assert inside[sure].mean() > 0.97
        assert np.array_equal(skeletons.box, detections.box) and len(skeletons) == len(detections)


def test_2d_is_of_the_true_body_and_3d_of_hmrs(seen: list[Seen], free_body: Body) -> None:
    scene, detections, flat = seen[1]
    solid = skeletons_3d(scene, detections)
    rows = np.flatnonzero(detections.actor == 0)
    person, frame = scene.filmed[0], detections.frame[rows]
    true = coco17(free_body, person.pose, person.betas, person.translation)[frame]
    deep = np.abs(solid.keypoint[rows, :, 2] - true[..., 2]).mean()
    assert 0.02 < deep < 1.0, "HMR errs in depth, by centimetres to decimetres"
    shown = detections[rows]
    np.testing.assert_allclose(
        solid.keypoint[rows], coco17(free_body, shown.pose, shown.betas, shown.translation), atol=1e-5
    )
    assert np.array_equal(skeletons_2d(scene, detections).keypoint, flat.keypoint), "one seed, one noise"


# -------------------------------------------------------------------------------------------------- sequences


@pytest.mark.parametrize(("frames", "step"), [(10, 3), (6, 2), (15, 2), (30, 1)])
def test_links_are_those_made_one_by_one(seen: list[Seen], frames: int, step: int) -> None:
    for *_, skeletons in seen[:2]:
        found = sequences(skeletons, frames, step)
        expected = reference.sequences(skeletons, frames, step)
        assert found.centre.tolist() == list(expected)
        assert found.index.tolist() == list(expected.values())


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), frames=st.integers(2, 12), step=st.integers(1, 4))
def test_a_sequence_holds_its_centre_and_one_skeleton_of_a_frame(seed: int, frames: int, step: int) -> None:
    walk = walkers(seed=seed)
    found = sequences(walk, frames, step)
    half = frames * step // 2
    if half % step == 0:
        assert (found.index[:, half // step] == found.centre).all()
    offsets = np.arange(half % step, frames * step, step) - half
    wanted = walk.frame[found.centre][:, None] + offsets
    there = found.index >= 0
    assert (walk.frame[found.index][there] == wanted[there]).all()
    assert found.index.shape == (len(found), len(offsets))


def test_without_a_crossing_overlap_links_what_belongs_together() -> None:
    walk = walkers()
    by_overlap, by_person = (sequences(walk, 10, 3, links) for links in ("overlap", "true"))
    assert (by_overlap.index == by_person.index).all() and (by_overlap.index < 0).any()
    person = np.where(
        by_overlap.index >= 0, walk.person[by_overlap.index], walk.person[by_overlap.centre][:, None]
    )
    assert (person == walk.person[by_overlap.centre][:, None]).all()


def test_where_two_cross_overlap_mixes_them_and_longer_is_worse(seen: list[Seen]) -> None:
    table = mixed_identities([skeletons for *_, skeletons in seen])
    mixed, filled = table["mixed"].to_numpy(), table["filled"].to_numpy()
    assert mixed[0] < mixed[-1] and (np.diff(mixed) >= 0).all() and (np.diff(filled) <= 0).all()
    assert mixed_identities([walkers()])["mixed"].to_list() == [0, 0, 0, 0]
    for *_, skeletons in seen:
        found = sequences(skeletons, 60, 1, "true")
        own = skeletons.person[found.centre]
        shown = np.where(found.index >= 0, skeletons.person[found.index], own[:, None])
        assert (shown == own[:, None]).all()
        alone = (found.index >= 0).sum(1)[own < 0]
        assert (alone == 1).all(), "what is nobody real is linked to nothing"


def test_a_gap_keeps_the_last_box() -> None:
    walk = walkers()
    gap = rows_of(walk, (walk.person == 0) & ~np.isin(walk.frame, range(22, 26)) & (walk.frame < 45))
    found = sequences(gap, 30, 1)
    middle = found.index[gap.frame[found.centre] == 15][0]
    assert (middle[22:26] < 0).all() and (middle[26:30] >= 0).any()


def test_nobody_gives_no_sequence() -> None:
    nobody = rows_of(walkers(), np.zeros(0, np.int64))
    found = sequences(nobody)
    assert found.index.shape == (0, 10) and len(found) == 0
    assert normalised(nobody, found).shape == (0, 10, 17, 3)


# ----------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("unit", ["box", "frame"])
def test_box_units_do_not_know_where_somebody_is(unit: str) -> None:
    walk = walkers()
    move, size = np.float32([37, -21]), 1.7
    moved = replace(
        walk,
        box=np.concatenate([(walk.box[:, :2] + move) * size, walk.box[:, 2:] * size], 1, dtype=np.float32),
        keypoint=((walk.keypoint + move) * size).astype(np.float32),
    )
    before, after = (normalised(one, sequences(one), unit) for one in (walk, moved))  # type: ignore[arg-type]
    same = np.allclose(before, after, atol=1e-4)
    assert same == (unit == "box")


def test_a_sequence_is_read_about_its_centre_and_empty_frames_are_zero(seen: list[Seen]) -> None:
    scene, detections, flat = seen[0]
    found = sequences(flat)
    there = found.index >= 0
    given, solid = normalised(flat, found), normalised(skeletons_3d(scene, detections), found)
    assert not given[~there].any() and not solid[~there].any() and (~there).any()
    assert np.abs(solid[:, 5, module.HIPS].mean(1)).max() < 1e-5, "the centre's hips are the origin"
    assert np.abs(given[..., :2]).max() <= 3
    whole = normalised(flat, found, "frame")
    back = (whole[:, 5, :, :2] + 1) * flat.frame_size[::-1] / 2
    near = np.abs(whole[:, 5, :, :2]).max(-1) < 3
    np.testing.assert_allclose(back[near], flat.keypoint[found.centre][near], atol=1e-3)
    doubted = Sequences(found.index[:1], found.centre[:1])
    none = normalised(replace(flat, score=np.full_like(flat.score, 0.01)), doubted)
    assert not none[..., :2].any() and (none[..., 2][there[:1]] > 0).all()


# ----------------------------------------------------------------------------------------------- on the disk


def test_what_is_saved_is_read_again(seen: list[Seen], tmp_path: Path) -> None:
    videos = [skeletons for *_, skeletons in seen]
    save_skeletons(videos, tmp_path / "a.npz")
    again = load_skeletons(tmp_path / "a.npz")
    assert [one.video for one in again] == [one.video for one in videos]
    for one, other in zip(videos, again, strict=True):
        assert all(np.array_equal(value, vars(other)[name]) for name, value in vars(one).items())
    save_skeletons(again, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("field", "change", "told"),
    [
        ("keypoint", lambda x: np.where(np.arange(17)[:, None] == 3, np.nan, x), "NaN or infinity at row 0"),
        ("score", lambda x: x + 1, "numbers in [0, 1]"),
        ("score", lambda x: x[:, :5], "shape (2, 17)"),
        ("frame", lambda x: -x, "never fall"),
        ("box", lambda x: -x, "width and height above 0"),
        ("person", lambda x: x[:1], "shape (2,)"),
    ],
)
def test_wrong_fields_are_named(field: str, change: object, told: str) -> None:
    one = rows_of(walkers(), np.array([0, 3]))
    broken = replace(one, **{field: change(getattr(one, field))})  # type: ignore[operator]
    with pytest.raises(BadInput, match="two_walkers") as caught:
        broken.validate()
    assert caught.value.field == field and told in str(caught.value)


def test_mini_avas_boxes_all_have_their_skeleton(
    tiny: MiniAva, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "tiny", Size(train=8, kinetics=2, val=5, test=2, windows=1))
    before = {path.name: path.read_bytes() for path in tiny.path.iterdir()}
    for split in ("ava-train", "ava-val"):
        videos = {one.video: one for one in mini_skeletons(split, "tiny", 0, tmp_path, jobs=1)}
        tracklets = tiny.tracklets(split)
        boxes = key_boxes(tracklets)
        for owner, t in zip(boxes.tracklet, boxes.t, strict=True):
            video = videos[tracklets[owner].video]
            same = (video.box == tracklets[owner].box[t]).all(1) & (video.frame == tracklets[owner].frame[t])
            assert same.sum() == 1
    assert before == {path.name: path.read_bytes() for path in tiny.path.iterdir()}
    kept = next(tmp_path.glob("skeletons-tiny-*/ava-val-3d.npz"))
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    again = mini_skeletons("ava-val", "tiny", 0, tmp_path, jobs=1, kind="3d")
    assert kept.read_bytes() == whole and again[0].keypoint.shape[1:] == (17, 3)
    monkeypatch.setattr(module, "_compose", lambda *_: pytest.fail("made what the cache holds"))
    mini_skeletons("ava-val", "tiny", 0, tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": "val"},
        {"size": "huge"},
        {"kind": "4d"},
        {"seed": -1},
        {"jobs": 0},
        {"fold": (9, 4)},
        {"fold": (0, 4), "split": "ava-test"},
    ],
    ids=str,
)
def test_wrong_wishes_are_refused(wrong: dict, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        mini_skeletons(**{"split": "ava-val", "cache": tmp_path, "jobs": 1} | wrong)
    assert list(tmp_path.iterdir()) == []
