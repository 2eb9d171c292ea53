"""UPS's four tasks: one split for all, cameras that obey geometry, and no look at the future."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skeleton_files import annotations, dump

from lart_mini.files import BadInput
from lart_mini.people.body import load_body
from lart_mini.people.clips import load_library, mirror
from lart_mini.skeletr.annotations import read_annotations
from lart_mini.ups import tasks
from lart_mini.ups.tasks import Filming, Windows, load_windows
from lart_mini.ups.vocabulary import TASKS

QUIET = Filming(noise_2d=0, noise_3d=0, astray=0, swapped=0)


@pytest.fixture(scope="module")
def split() -> dict[str, Windows]:
    return load_windows()


def some(seed: int, count: int = 6) -> Windows:
    """Windows of people near one spot, each a body that does not move."""
    rng = np.random.default_rng(seed)
    joints = np.repeat(rng.normal([1, 1, 2], 0.3, (count, 1, 17, 3)), tasks.SPAN, axis=1)
    return Windows(joints.astype(np.float32), np.arange(count) % 3, np.array([f"t{i}" for i in range(count)]))


def test_classes_are_those_that_both_sides_show() -> None:
    library, body = load_library(), load_body()
    counts = [
        np.bincount(tasks.windows(library, name, body, range(1, 81)).label + 1, minlength=81)[1:]
        for name in ("train", "val")
    ]
    shown = np.flatnonzero(np.minimum(*counts) >= 4) + 1
    assert tuple(shown.tolist()) == tasks.CLASSES


def test_one_split_for_all_tasks(split: dict[str, Windows]) -> None:
    library = load_library()
    in_time = {clip.take for clip in library.values() if clip.split == "time"}
    takes = {name: set(own.take) for name, own in split.items()}
    for one, other in pairwise([*takes, "train"]):
        assert takes[one] & takes[other] <= in_time  # a second of guard on either side, in scenes.takes
    for task in TASKS:
        held = set(tasks.scored_views(task, split["val"]).take)
        learnt = tasks.training_views(task, split["train"], np.random.default_rng(0), 400).take
        assert held <= takes["val"] and set(learnt) <= takes["train"]


def test_folds_part_all_takes_and_cover_them() -> None:
    held: list[str] = []
    for number in range(5):
        fold = load_windows((number, 5))
        own = {name: set(part.take) for name, part in fold.items()}
        assert not own["train"] & own["val"] and set(fold) == {"train", "val"}
        assert set(fold["val"].labelled.label) <= set(fold["train"].label)
        held += own["val"]
    assert len(held) == len(set(held)) > 60


def test_labels_are_the_majoritys(split: dict[str, Windows]) -> None:
    name, clip = next((n, c) for n, c in load_library().items() if c.split == "val" and len(c) > 120)
    own = tasks.windows({name: clip}, "val", load_body())
    for i, label in enumerate(own.label):
        rows = clip.labels[15 * i : 15 * i + 60]
        count = {a: sum(tasks.frame_class(row) == a for row in rows) for a in (0, *tasks.CLASSES)}
        if label >= 0:
            assert count[tasks.CLASSES[label]] == max(count.values()) >= 30
        else:
            assert max(count, key=lambda a: count[a]) == 0 or max(count.values()) < 30
    row = np.zeros(80, np.uint8)
    assert tasks.frame_class(row) == 0
    row[[12 - 1, 79 - 1]] = 1
    assert tasks.frame_class(row) == 79  # talking stands before standing


def test_mirrored_joints_are_a_mirror() -> None:
    """Left and right exchanged, and the motion library's own mirror gives the same joints."""
    order = np.array(tasks.MIRRORED)
    assert (order[order] == np.arange(17)).all()
    other = {"left": "right", "right": "left"}
    sides = [[other.get(word, word) for word in tasks.JOINTS[i].split("_")] for i in order]
    assert ["_".join(words) for words in sides] == list(tasks.JOINTS)
    body, clip = load_body(), load_library()["cmu_01_01"]
    plain, flipped = tasks.human36m(clip, body), tasks.human36m(mirror(clip), body)
    gap = np.linalg.norm((plain * [-1, 1, 1])[:, order] - flipped, axis=-1).max(axis=0)
    assert np.delete(gap, tasks.HEAD_TOP).max() < 4e-3
    assert gap[tasks.HEAD_TOP] < 0.06  # the highest vertex is not in the middle


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_cameras_move_nobody(seed: int) -> None:
    world = some(seed).joints
    camera = tasks.film(np.random.default_rng(seed), world)
    gaps = [np.linalg.norm(x[:, 0, :, None] - x[:, 0, None], axis=-1) for x in (world, camera)]
    assert np.allclose(gaps[0], gaps[1], atol=1e-5)
    assert (camera[..., 2] > 1).all()
    for own in zip(world[:, 0], camera[:, 0], strict=True):
        turn = np.linalg.lstsq(*(x - x[0] for x in own), rcond=None)[0]  # world @ turn is before the camera
        assert turn[1, 1] < 0, "up in the world is up in the picture, whose y is down"
        assert np.linalg.det(turn) == pytest.approx(1, abs=1e-3), "no mirror"


def test_2d_is_a_pinholes_picture() -> None:
    camera = tasks.film(np.random.default_rng(0), some(3).joints)
    flat = tasks.seen_in_2d(np.random.default_rng(0), camera, QUIET)
    for b, n, j in ((0, 0, 3), (2, 4, 16), (5, 9, 10)):
        middle = camera[b, tasks.MIDDLE, 0]
        for axis in (0, 1):
            place = camera[b, n, j, axis] / camera[b, n, j, 2] - middle[axis] / middle[2]
            assert flat[b, n, j, axis] == pytest.approx(4 * place, abs=1e-5)
    assert (flat[..., 2] == 0).all()


def test_detectors_faults_are_as_often_as_said() -> None:
    camera = tasks.film(np.random.default_rng(0), some(0, 400).joints)
    plain = tasks.seen_in_2d(np.random.default_rng(1), camera, QUIET)
    swapped = tasks.seen_in_2d(np.random.default_rng(1), camera, Filming(noise_2d=0, astray=0, swapped=0.2))
    share = (np.abs(swapped - plain).max(axis=(2, 3)) > 0.01).mean()
    assert share == pytest.approx(0.2, abs=0.03)
    how = Filming(noise_2d=0, astray=0.1, astray_by=0.1, swapped=0)
    off = (tasks.seen_in_2d(np.random.default_rng(1), camera, how) - plain)[..., :2]
    off -= np.median(off, axis=(1, 2), keepdims=True)  # where the middle hip, which all are about, is astray
    far = np.abs(off).max(axis=-1) > 1e-4
    assert far.mean() == pytest.approx(0.1, abs=0.01)
    assert (off * camera[..., 2:] / 4)[far].std() == pytest.approx(0.1, rel=0.03)
    noisy = tasks.seen_in_3d(np.random.default_rng(2), camera)
    assert (noisy - (camera - camera[:, :1, :1])).std() == pytest.approx(0.02, rel=0.02)


def test_early_prediction_sees_no_future(split: dict[str, Windows]) -> None:
    whole = tasks.scored_views("action3d", split["val"])
    for ratio in tasks.RATIOS:
        early = tasks.scored_views("early", split["val"], ratio)
        kept = round(ratio * tasks.FRAMES)
        assert (early.seen.sum(1) == kept).all() and early.seen[:, :kept].all()
        assert (early.pose[:, :kept] == whole.pose[:, :kept]).all() and not early.pose[:, kept:].any()
    # What is later changes nothing that is observed: poses are about the first frame's hip.
    changed = some(0)
    changed.joints[:, 31:] += 5
    pair = [
        tasks.seen_in_3d(np.random.default_rng(0), tasks.film(np.random.default_rng(0), w.joints))[:, :4]
        for w in (some(0), changed)
    ]
    assert np.allclose(*pair, atol=1e-6)


def test_goal_is_the_middle_frame_about_its_hip(split: dict[str, Windows]) -> None:
    seen = tasks.scored_views("lifting", split["val"])
    assert len(seen.goal) == len(split["val"]) and not seen.goal[:, 0].any()
    thigh = np.linalg.norm(seen.goal[:, 2] - seen.goal[:, 1], axis=-1)
    assert thigh.std() < 1e-4 and 0.3 < thigh.mean() < 0.6  # one body for all
    assert np.abs(seen.goal).max() < 1  # within the vocabulary's reach


def test_views_are_the_same_for_all_and_training_is_drawn_anew(split: dict[str, Windows]) -> None:
    one, two = (tasks.scored_views("lifting", split["test"], cameras=2) for _ in range(2))
    assert (one.pose == two.pose).all() and len(one.pose) == 2 * len(split["test"])
    assert not np.allclose(one.pose[: len(split["test"])], one.pose[len(split["test"]) :])
    rng = np.random.default_rng(0)
    first, second = (tasks.training_views("lifting", split["train"], rng, 8).pose for _ in range(2))
    assert not np.allclose(first, second)
    drawn = tasks.training_views("action3d", split["train"], rng, 4000).label
    share = np.bincount(split["train"].labelled.label, minlength=17) ** 0.5
    assert np.allclose(np.bincount(drawn, minlength=17) / 4000, share / share.sum(), atol=0.02)


def test_performers_can_be_varied() -> None:
    world = some(0, 200).joints
    plain = tasks.film(np.random.default_rng(0), world, augment=True)
    varied = tasks.film(np.random.default_rng(0), world, Filming(size=0.2), augment=True)
    size = [np.linalg.norm(x[:, 0, 1] - x[:, 0, 0], axis=-1) for x in (varied, plain)]
    ratio = size[0] / size[1]
    assert 0.8 <= ratio.min() < 0.85 and 1.15 < ratio.max() <= 1.2001
    world = np.zeros((200, tasks.SPAN, 17, 3), np.float32)
    world[:, :, tasks.HEAD_TOP, 1] = np.arange(tasks.SPAN)  # metres above the hip: the frame
    for slower in (0.0, 0.5):
        filmed = tasks.film(np.random.default_rng(0), world, Filming(slower=slower), augment=True)
        frame = np.linalg.norm(filmed[:, :, tasks.HEAD_TOP] - filmed[:, :, 0], axis=-1)
        passed = frame - frame[:, :1]
        rate = passed[:, -1:] / 54
        assert rate.min() == pytest.approx(1 - slower, abs=0.01) and rate.max() == pytest.approx(1, abs=0.01)
        assert np.abs(passed - rate * np.arange(0, 60, 6)).max() < 1.01  # rounded to whole frames


def test_a_users_skeletons_are_seen_as_the_kits() -> None:
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 1, (length, 25, 3)) for length in (64, 7, 1)]
    whole = tasks.skeleton_views("action3d", clips, [3, 1, 0], ["a", "b", "c"])
    assert whole.pose.shape == (3, 10, 25, 3) and whole.seen.all() and whole.label.tolist() == [3, 1, 0]
    assert np.allclose(whole.pose[0, 9], clips[0][63] - clips[0][0, 0], atol=1e-6)
    assert np.allclose(whole.pose[2], clips[2] - clips[2][0, 0], atol=1e-6)  # one frame, held
    early = tasks.skeleton_views("early", clips, [3, 1, 0], ["a", "b", "c"], ratio=0.4)
    assert (early.pose[:, :4] == whole.pose[:, :4]).all() and not early.pose[:, 4:].any()
    moved = tasks.skeleton_views("early", [clip + 9 for clip in clips], [3, 1, 0], ["a", "b", "c"], ratio=0.4)
    assert np.allclose(moved.pose, early.pose, atol=1e-5)
    gaps = clips[0].copy()
    gaps[[0, 5, 63]] = 0  # nobody
    without = np.delete(clips[0], [0, 5, 63], axis=0)
    shown = tasks.skeleton_views("action3d", [gaps, without], [0, 0], ["a", "b"])
    assert (shown.pose[0] == shown.pose[1]).all()
    whole = {"task": "early", "clips": clips, "labels": [0, 0, 0], "takes": ["a", "b", "c"]}
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"task": "lifting"}, "task: expected early"),
        ({"takes": ["a"]}, "clips, labels, takes: expected as many of each"),
        ({"clips": [], "labels": [], "takes": []}, "clips, labels, takes"),
        ({"clips": [*clips[:2], clips[2][:, :17]]}, r"clip c: expected numbers \(T, 25, 3\), found shape"),
        ({"clips": [clip[:, :24] for clip in clips]}, r"clip a: expected numbers \(T, 17 or 18 or 25, 3\)"),
        ({"clips": [*clips[:2], clips[2] * np.nan]}, "clip c: expected finite coordinates .* found nan"),
        ({"clips": [clip.tolist() for clip in clips]}, "clip a: expected numbers .* found list"),
        ({"clips": [clips[0], clips[1] * 0, clips[2]]}, "clip b: expected a frame in which somebody is seen"),
        ({"labels": [0, 0, np.nan]}, "labels: expected whole numbers, found float64"),
        ({"frames": 0}, "frames: expected a whole number from 1 on, found 0"),
        ({"frames": -1}, "frames: expected a whole number from 1 on, found -1"),
    )
    for change, match in changes:
        with pytest.raises(BadInput, match=f"ups: {match}"):
            tasks.skeleton_views(**whole | change)


def test_published_skeletons_are_seen_as_they_were_captured(tmp_path: Path) -> None:
    """pyskl's file of NTU: the main person, wherever listed, in the camera's axes, without empty frames."""
    content = annotations("3d", 4)
    listed = content["annotations"]
    alone = listed[0]["keypoint"][0]
    late = alone.copy()
    late[:9] = 0
    listed[0]["keypoint"] = np.stack([alone * 0, late])
    listed[1]["keypoint"][:] = 0
    _, found = read_annotations(dump(content, tmp_path / "ntu.pkl"), classes=60)
    shown = [(one.keypoint[0], one.label, one.frame_dir) for one in found if one.keypoint.any()]
    seen = tasks.skeleton_views("action3d", *zip(*shown, strict=True))
    assert seen.take.tolist() == [listed[i]["frame_dir"] for i in (0, 2, 3)]
    assert seen.label.tolist() == [0, 2, 3] and seen.pose.shape == (3, 10, 25, 3)
    at = np.linspace(9, len(alone) - 1, 10).round().astype(int)
    assert np.abs(seen.pose[0] - (alone[at] - alone[9, 0].astype(np.float32))).max() < 4e-3  # half precision
    everybody = [one.keypoint[0] for one in read_annotations(tmp_path / "ntu.pkl")[1]]
    with pytest.raises(BadInput, match="ups: clip b: expected a frame in which somebody is seen, found none"):
        tasks.skeleton_views("action3d", everybody, range(4), "abcd")


def test_bad_input(split: dict[str, Windows]) -> None:
    with pytest.raises(BadInput, match="ups: task: expected lifting"):
        tasks.scored_views("dance", split["val"])
    for ratio in (0, 1.2, np.nan):
        with pytest.raises(BadInput, match="ups: ratio: expected above 0"):
            tasks.scored_views("early", split["val"], ratio)
        with pytest.raises(BadInput, match="ups: ratio: expected above 0"):
            tasks.training_views("early", split["val"], np.random.default_rng(0), 2, ratio=ratio)
    with pytest.raises(BadInput, match="filming: near: expected a finite number"):
        Filming(near=float("nan"))
    for wrong in (
        {"near": 7.0},
        {"low": 3.0},
        {"astray": 1.1},
        {"swapped": 2.0},
        {"size": 1.0},
        {"slower": 1.5},
    ):
        with pytest.raises(
            BadInput, match=f"filming: {next(iter(wrong))}: expected a finite number from 0 to"
        ):
            Filming(**wrong)
    with pytest.raises(BadInput, match="windows: expected clips for test, found none"):
        tasks.windows({}, "test", load_body())
    with pytest.raises(BadInput, match="folds: fold"):
        load_windows((5, 5))
