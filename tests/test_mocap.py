"""The motion library: conversion against physics, labels and splits against their rules, files."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lart_mini.ava import NAMES
from lart_mini.build import motion, packages
from lart_mini.build.formats import Motion, read_bvh
from lart_mini.build.retarget import resample, retarget, rotation_between
from lart_mini.files import BadInput
from lart_mini.people.body import (
    FREE_BODY,
    JOINT_NAMES,
    PARENTS,
    forward_kinematics,
    global_rotations,
    load_body,
)
from lart_mini.people.clips import LIBRARY, MIRRORED_JOINTS, Clip, load_library, mirror, read_labels

GUARD = 30  # frames on either side of split_frame: two seconds between train and val
ANKLES, FEET = [7, 8], [10, 11]


@pytest.fixture(scope="module")
def library() -> dict[str, Clip]:
    return load_library()


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    return load_body(FREE_BODY).rest_joints()


@pytest.fixture(scope="module")
def places(library: dict[str, Clip], rest: np.ndarray) -> dict[str, np.ndarray]:
    return {name: forward_kinematics(clip.pose, rest, clip.translation) for name, clip in library.items()}


def labelled(clip: Clip, *actions: int) -> np.ndarray:
    """Frames (T,) bool whose labels are exactly these actions."""
    wanted = np.isin(np.arange(1, 81), actions)
    return (clip.labels.astype(bool) == wanted).all(1)


def side(clip: Clip) -> np.ndarray:
    """The fold (T,) of each frame; guard between the halves of a clip that is split in time."""
    if clip.split != "time":
        return np.full(len(clip), clip.split)
    assert clip.split_frame is not None
    frame = np.arange(len(clip))
    return np.where(
        frame < clip.split_frame - GUARD, "train", np.where(frame < clip.split_frame + GUARD, "guard", "val")
    )


# ---------------------------------------------------------------- physics


def test_rotations_are_rotations(library: dict[str, Clip]) -> None:
    for name, clip in library.items():
        product = np.swapaxes(clip.pose, -1, -2) @ clip.pose
        np.testing.assert_allclose(
            product, np.broadcast_to(np.eye(3), product.shape), atol=1e-5, err_msg=name
        )
        assert (np.linalg.det(clip.pose.reshape(-1, 3, 3)) > 0).all() and np.isfinite(clip.translation).all()
        assert clip.pose.shape == (len(clip), 24, 3, 3) and clip.labels.shape == (len(clip), 80)


def test_bones_keep_their_lengths(places: dict[str, np.ndarray], rest: np.ndarray) -> None:
    wanted = np.linalg.norm(rest[1:] - rest[PARENTS[1:]], axis=-1)
    for name, joints in places.items():
        lengths = np.linalg.norm(joints[:, 1:] - joints[:, PARENTS[1:]], axis=-1)
        np.testing.assert_allclose(lengths, np.broadcast_to(wanted, lengths.shape), atol=1e-4, err_msg=name)


def test_pelvis_height_while_standing(
    library: dict[str, Clip], places: dict[str, np.ndarray], rest: np.ndarray
) -> None:
    body = load_body(FREE_BODY)
    straight = float(rest[0, 1] - body.v_template[:, 1].min())  # pelvis above the soles with straight legs
    assert 0.9 < straight < 1.0
    for name, clip in library.items():
        still = labelled(clip, 12)
        if still.sum() > 15:
            height = np.median(places[name][still, 0, 1])
            assert 0.92 * straight < height < 1.06 * straight, (name, height)


def test_pelvis_height_while_lying(library: dict[str, Clip], places: dict[str, np.ndarray]) -> None:
    heights = [
        places[name][labelled(clip, 8), 0, 1] for name, clip in library.items() if labelled(clip, 8).any()
    ]
    assert len(heights) >= 5
    for height in heights:
        assert 0.07 < np.median(height) < 0.25


def test_soles_stay_near_the_floor(library: dict[str, Clip]) -> None:
    body = load_body(FREE_BODY)
    for name, clip in library.items():
        upright = labelled(clip, 12) | labelled(clip, 14)
        if upright.sum() > 15 and name != "cmu_01_03":  # climbs on things that were not captured
            soles = motion.sole_heights(body, clip.pose[upright], clip.translation[upright])
            assert abs(np.median(soles)) < 0.05 and soles.min() > -0.08, name


def test_feet_hardly_slide_while_walking(library: dict[str, Clip], places: dict[str, np.ndarray]) -> None:
    """The slower foot's horizontal speed: one of them always carries the walker."""
    slides = {}
    for name, clip in library.items():
        walking = labelled(clip, 14)[1:]
        if walking.sum() >= 60:
            feet = places[name][:, FEET][..., [0, 2]]
            slides[name] = np.median((np.linalg.norm(np.diff(feet, axis=0), axis=-1) * 30).min(1)[walking])
    assert len(slides) >= 20
    assert np.median(list(slides.values())) < 0.1 and max(slides.values()) < 0.2, slides


def test_nobody_moves_faster_than_people_can(library: dict[str, Clip], places: dict[str, np.ndarray]) -> None:
    for name, joints in places.items():
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * 30
        assert speed.max() < 15, (name, JOINT_NAMES[speed.max(0).argmax()])
        assert speed[:, 0].max() < 7, name  # the pelvis


def test_knees_bend_forwards(library: dict[str, Clip], places: dict[str, np.ndarray]) -> None:
    """A skeleton whose rest pose was read as facing another way bends its knees backwards, or sideways."""
    for name, clip in library.items():
        thigh, shin = global_rotations(clip.pose)[:, [1, 2]], clip.pose[:, [4, 5]].reshape(-1, 3, 3)
        bent = Rotation.from_matrix(shin).as_rotvec(degrees=True)
        assert np.quantile(bent[:, 0], 0.05) > -12, name
        assert np.quantile(abs(bent[:, 1:]), 0.9) < 45, name
        hip, knee, ankle = (places[name][:, joints] for joints in ([1, 2], [4, 5], [7, 8]))
        ahead = ((knee - (hip + ankle) / 2) * thigh[..., 2]).sum(-1)  # along the thigh's front
        assert np.quantile(ahead, 0.05) > -0.02, name


def test_walkers_go_where_they_face(library: dict[str, Clip]) -> None:
    for name, clip in library.items():
        forwards = (labelled(clip, 14) | labelled(clip, 10))[1:]
        if forwards.sum() >= 25 and "SideStep" not in name:  # or the other way: some walk backwards
            gone, front = np.diff(clip.translation, axis=0)[:, [0, 2]], clip.pose[1:, 0][:, [0, 2], 2]
            along = abs((gone * front).sum(1)) / np.linalg.norm(front, axis=1)
            assert np.median((along / np.linalg.norm(gone, axis=1).clip(1e-6))[forwards]) > 0.6, name


def test_the_pair_faces_each_other(library: dict[str, Clip]) -> None:
    first, second = library["gazebo_talk_a"], library["gazebo_talk_b"]
    assert first.partner == second.name and second.partner == first.name and first.take == second.take
    gap = second.translation - first.translation
    distance = np.linalg.norm(gap[:, [0, 2]], axis=1)
    assert 0.9 < distance.min() and distance.max() < 1.6
    facing = first.pose[:, 0, :, 2], second.pose[:, 0, :, 2]  # where the pelvis' z axis points
    assert ((facing[0] * gap).sum(1) / distance).min() > 0.5 and (
        -(facing[1] * gap).sum(1) / distance
    ).min() > 0.5


# ---------------------------------------------------------------- mirror and retargeting


def test_mirror_twice_is_the_clip(library: dict[str, Clip]) -> None:
    clip = library["gazebo_talk_a"]
    once, twice = mirror(clip), mirror(mirror(clip))
    assert (
        once.name == "gazebo_talk_a_mirrored"
        and once.partner == "gazebo_talk_b_mirrored"
        and once.take == clip.take
    )
    assert twice.name == clip.name and twice.partner == clip.partner
    np.testing.assert_array_equal(twice.pose, clip.pose)
    np.testing.assert_array_equal(twice.translation, clip.translation)


def test_mirrored_kinematics(library: dict[str, Clip], rest: np.ndarray) -> None:
    clip = library["accad_B09_WalkTurnLeft90"]
    flip = np.array([-1, 1, 1])
    even = (rest + rest[MIRRORED_JOINTS] * flip) / 2  # the body's own sides differ by millimetres
    joints = forward_kinematics(clip.pose, even, clip.translation)
    other = mirror(clip)
    mirrored = forward_kinematics(other.pose, even, other.translation)
    np.testing.assert_allclose(mirrored, joints[:, MIRRORED_JOINTS] * flip, atol=1e-5)


def test_retarget_keeps_limb_directions(rest: np.ndarray) -> None:
    """A skeleton of other proportions whose arms hang: limbs must point as the source's do."""
    rng = np.random.default_rng(0)
    source = rest.astype(np.float64) * [1.1, 0.9, 1.0]
    source[[18, 20]] = source[16] + [[0, -0.3, 0], [0, -0.5, 0]]
    source[[19, 21]] = source[17] + [[0, -0.3, 0], [0, -0.5, 0]]
    rotations = Rotation.random(24, random_state=rng).as_matrix()[None]
    positions = np.zeros((1, 24, 3))
    for joint in range(1, 24):
        bone = source[joint] - source[PARENTS[joint]]
        positions[:, joint] = positions[:, PARENTS[joint]] + rotations[:, PARENTS[joint]] @ bone
    motion = Motion(
        list(JOINT_NAMES), rotations, positions, np.tile(np.eye(3), (24, 1, 1)), source, np.zeros(1)
    )
    pose, pelvis = retarget(motion, {name: i for i, name in enumerate(JOINT_NAMES)}, rest.astype(np.float64))
    joints = forward_kinematics(pose, rest, pelvis)
    for joint, child in ((1, 4), (4, 7), (16, 18), (18, 20), (17, 19), (19, 21)):
        ours, theirs = joints[0, child] - joints[0, joint], positions[0, child] - positions[0, joint]
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert cosine > 1 - 1e-6, JOINT_NAMES[joint]


def test_rotation_between_turns_one_onto_the_other() -> None:
    start, end = np.array([1.0, 2, 3]), np.array([-2.0, 0.5, 1])
    turned = rotation_between(start, end) @ start
    np.testing.assert_allclose(turned / np.linalg.norm(turned), end / np.linalg.norm(end), atol=1e-12)


def test_resample_goes_half_way() -> None:
    pose = np.tile(np.eye(3), (2, 24, 1, 1))
    pose[1, 0] = Rotation.from_euler("y", 90, degrees=True).as_matrix()
    turned, moved = resample(pose, np.array([[0.0, 0, 0], [2, 0, 0]]), np.array([0.0, 2 / 30]))
    assert len(turned) == 3
    np.testing.assert_allclose(
        turned[1, 0], Rotation.from_euler("y", 45, degrees=True).as_matrix(), atol=1e-12
    )
    np.testing.assert_allclose(moved[:, 0], [0, 1, 2])


BVH = """HIERARCHY
ROOT Hips
{
OFFSET 5 5 5
CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
JOINT Knee
{
OFFSET 0 -2 0
CHANNELS 3 Zrotation Xrotation Yrotation
End Site
{
OFFSET 0 -1 0
}
}
}
MOTION
Frames: 2
Frame Time: 0.04
1 2 3 0 0 0 0 0 0
1 2 3 90 0 90 0 0 0
"""


def test_bvh_multiplies_channels_in_their_order() -> None:
    motion = read_bvh(BVH, "tiny.bvh")
    np.testing.assert_allclose(motion.rest_positions, [[0, 0, 0], [0, -2, 0]])
    np.testing.assert_allclose(motion.positions[0, 1], [1, 0, 3])
    # Rz·Ry on (0,−2,0): Ry leaves it, Rz takes −y to +x.
    np.testing.assert_allclose(motion.positions[1, 1], [3, 2, 3], atol=1e-12)
    np.testing.assert_allclose(motion.times, [0, 0.04])
    with pytest.raises(BadInput, match=r"tiny.bvh: MOTION: expected 2 rows of 9"):
        read_bvh(BVH.replace("90 0 90", "90 0"), "tiny.bvh")


# ---------------------------------------------------------------- labels and splits


def test_one_pose_action_in_every_labelled_frame(library: dict[str, Clip]) -> None:
    for name, clip in library.items():
        marked = clip.labels.any(1)
        np.testing.assert_array_equal(clip.labels[marked, :14].sum(1), 1, err_msg=name)
    frames = sum(len(clip) for clip in library.values())
    covered = sum(int(clip.labels.any(1).sum()) for clip in library.values())
    assert covered > 0.9 * frames
    assert {i + 1 for clip in library.values() for i in np.flatnonzero(clip.labels.any(0))} <= set(NAMES)


def test_siblings_share_a_fold(library: dict[str, Clip]) -> None:
    folds = defaultdict(set)
    for clip in library.values():
        folds[clip.take].add((clip.split, clip.split_frame))
        if "_S2_" in clip.name or clip.name.endswith("T2"):
            assert clip.take == "_".join(clip.name.split("_")[:2])
    assert all(len(fold) == 1 for fold in folds.values()), {
        take: fold for take, fold in folds.items() if len(fold) > 1
    }
    assert all(clip.split == "test" for clip in library.values() if clip.source == "deepmimic")


def test_every_class_can_be_learnt_and_tested(library: dict[str, Clip]) -> None:
    seconds: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for clip in library.values():
        for fold in set(side(clip)):
            for column in np.flatnonzero(clip.labels[side(clip) == fold].any(0)):
                seconds[int(column) + 1][fold] += clip.labels[side(clip) == fold, column].sum() / 30
    # Falling was captured once; it lies behind that clip's split and cannot be learnt
    # (data_samples/README.md).
    assert {action for action in seconds if not seconds[action]["train"]} == {5}
    assert {action for action in seconds if not seconds[action]["val"]} == set()


def test_time_splits_leave_a_guard(library: dict[str, Clip]) -> None:
    halves = [clip for clip in library.values() if clip.split == "time"]
    assert len(halves) >= 6
    for clip in halves:
        fold = side(clip)
        assert (
            (fold == "guard").sum() == 2 * GUARD
            and (fold == "train").sum() > GUARD
            and (fold == "val").sum() > GUARD
        )
    assert all(clip.split_frame is None for clip in library.values() if clip.split != "time")


@pytest.mark.parametrize(("row", "message"), [
    ("walk,0,9,14;90", "walk: expected AVA ids 1…80"),
    ("walk,0,10,14", "walk: expected frames within 0…9"),
    ("run,0,9,14", "clip: expected a clip of the manifest"),
    ("walk,0,5,14\nwalk,5,9,12", "walk: expected ranges that do not overlap"),
    ("walk,0,x,14", "walk: expected whole frame numbers"),
    ("walk,0,²,14", "walk: expected whole frame numbers"),
    ("walk,0," + "9" * 5000 + ",14", "walk: expected whole frame numbers"),
    ("walk,0,9,²", "walk: expected AVA ids 1…80"),
    ("walk,0,9", "row walk,0,9: expected 4 fields, found 3"),
    ("walk", "row walk: expected 4 fields, found 1"),
    ("walk,0,9,14,79", "row walk,0,9,14,79: expected 4 fields, found 5"),
])  # fmt: skip
def test_bad_labels_are_named(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"clip,first_frame,last_frame,actions\n{row}\n")
    with pytest.raises(BadInput, match=f"labels.csv: {message}"):
        read_labels(path, {"walk": 10})


def test_labels_stand_at_their_frames_in_the_column_before_their_id(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("clip,first_frame,last_frame,actions\nwalk,2,4,14;79\nwalk,5,5,80\n")
    labels = read_labels(path, {"walk": 10, "wave": 3})
    assert np.argwhere(labels["walk"]).tolist() == [[t, k] for t in (2, 3, 4) for k in (13, 78)] + [[5, 79]]
    assert labels["wave"].shape == (3, 80) and not labels["wave"].any()


def test_tables_are_utf_8_and_may_say_so(tmp_path: Path) -> None:
    path, rows = tmp_path / "labels.csv", "clip,first_frame,last_frame,actions\n\n# é\nwalk,2,4,14\n"
    for text in (rows, f"\ufeff{rows}"):
        path.write_text(text, encoding="utf-8")
        assert read_labels(path, {"walk": 10})["walk"].sum() == 3
    for damaged in (rows.encode("latin-1"), b"clip,first_frame,last_frame,actions\nw" + b"a" * 200_000):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=r"labels.csv: file: expected a CSV table in UTF-8"):
            read_labels(path, {"walk": 10})
    path.write_text("# nothing else\n")
    with pytest.raises(BadInput, match=r"labels.csv: columns: expected \['clip'"):
        read_labels(path, {"walk": 10})


def test_bad_takes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "takes.csv"
    header, row = ",".join(motion.TAKE_COLUMNS), "walk,accad,walk.bvh,me,walk,time,,,no,\n"
    path.write_text(f"{header}\n{row}")
    with pytest.raises(BadInput, match=r"takes.csv: walk: split"):
        motion.read_takes(path)


def test_library_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"manifest.json: file: expected"):
        load_library(tmp_path)


# ---------------------------------------------------------------- files


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_match_the_manifest() -> None:
    manifest = json.loads((LIBRARY / "manifest.json").read_text(encoding="utf-8"))
    for source in manifest["sources"].values():
        path = LIBRARY / source["file"]
        assert checksum(path) == source["sha256"] and path.stat().st_size == source["bytes"]
        assert (LIBRARY.parent / "licences" / source["licence_file"]).stat().st_size > 500 and source[
            "attribution"
        ]
    assert (LIBRARY.parent / "licences" / "makehuman.txt").is_file()
    files = [path for folder in (LIBRARY, FREE_BODY.parent) for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    takes = {take.clip: take for take in motion.read_takes(LIBRARY / "takes.csv")}
    assert set(takes) == set(manifest["clips"])
    assert all(manifest["clips"][name]["split"] == take.split for name, take in takes.items()), "build again"
    readme = (LIBRARY.parent / "README.md").read_text(encoding="utf-8")
    assert checksum(FREE_BODY) in readme and all(
        source["sha256"] in readme for source in manifest["sources"].values()
    )


@pytest.mark.skipif("LART_MINI_DOWNLOADS" not in os.environ, reason="needs the registry packages")
def test_build_gives_the_same_bytes(tmp_path: Path) -> None:
    motion.build(tmp_path, Path(os.environ["LART_MINI_DOWNLOADS"]))
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (LIBRARY / path.name).read_bytes(), path.name


def test_packages_are_checked(tmp_path: Path) -> None:
    package = replace(packages.PYBULLET, file="wrong.whl")
    (tmp_path / "wrong.whl").write_bytes(b"something else")
    with pytest.raises(BadInput, match=r"wrong.whl: sha256: expected 5d858abf"):
        packages.fetch(package, tmp_path)


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    for package, client in ((packages.MATRIX_ENGINE, "npm"), (packages.ASSIMP, "apt-get")):
        with pytest.raises(BadInput, match=f"^{client}: command: expected installed, found No such file"):
            packages.fetch(package, tmp_path)


def deb_member(name: str, content: bytes) -> bytes:
    return (
        f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        + content
        + b"\n" * (len(content) % 2)
    )


def test_a_deb_is_read_without_dpkg(tmp_path: Path) -> None:
    import io
    import tarfile

    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as archive:
        entry = tarfile.TarInfo("./usr/a.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    path = tmp_path / "a.deb"
    path.write_bytes(
        b"!<arch>\n" + deb_member("debian-binary", b"2.0") + deb_member("data.tar.xz", inner.getvalue())
    )
    read: Callable[[str], bytes] = motion.open_package(path)
    assert read("./usr/a.txt") == b"hello"
