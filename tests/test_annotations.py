"""pyskl's annotation files: read safely, converted whole or not at all, and given out as pyskl does."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import pyskl_input
from skeleton_files import MAKERS, annotations, dump, kinetics

from lart_mini import cli
from lart_mini.files import BadInput
from lart_mini.skeletr import annotations as module
from lart_mini.skeletr.annotations import read_annotations, upright
from lart_mini.skeletr.stgcnpp import LAYOUTS
from lart_mini.skeletr.store import SkeletonStore, convert_annotations
from lart_mini.skeletr.streams import (
    STREAMS,
    Stream,
    bone_starts,
    evaluation_frames,
    evaluation_input,
    training_frames,
    training_input,
)

KINDS = {"2d": LAYOUTS["coco"], "3d": LAYOUTS["nturgb+d"]}


def awkward(kind: str) -> dict[str, Any]:
    """Annotations of all lengths that sampling tells apart; in 3D also people who come late or never."""
    content = annotations(kind, 24, seed=3)
    listed = content["annotations"]
    for number, frames in ((1, 1), (2, 7), (3, 99), (4, 100), (5, 199), (6, 200), (7, 201)):
        listed[number] = MAKERS[kind](listed[number]["frame_dir"], number, 1 + number % 2, frames, number)
    if kind == "3d":
        for one in listed[8:12]:
            one["keypoint"] = np.concatenate([one["keypoint"][:1]] * 2)
        listed[8]["keypoint"][0] = 0
        listed[9]["keypoint"][0, 5:] = 0
        listed[10]["keypoint"][:, 3:6] = 0
        listed[11]["keypoint"][:] = 0
        listed[12]["keypoint"][0, 0, 1] = listed[12]["keypoint"][0, 0, 0]  # no spine
    return content


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_test_reads_what_pyskl_reads(tmp_path: Path, kind: str, protocol: int) -> None:
    content = awkward(kind)
    store = convert_annotations(dump(content, tmp_path / "a.pkl", protocol), tmp_path / "store")
    assert store.frame_dir == [one["frame_dir"] for one in content["annotations"]]
    for stream in STREAMS if protocol == 2 else STREAMS[:1]:
        found = evaluation_input(store, np.arange(len(store)), KINDS[kind], stream)
        for ours, annotation in zip(found, content["annotations"], strict=True):
            wanted = pyskl_input.sample(annotation, stream, 10)
            np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-6)


def test_what_float16_does_not_hold_is_normalised_first(tmp_path: Path) -> None:
    """At 4K, half a pixel in 1,024 is what float16 would lose; normalised, less than an eighth of it."""
    content = annotations("2d", 3)
    for one in content["annotations"]:
        one["img_shape"] = (2160, 3840)
        one["keypoint"] = one["keypoint"].astype(np.float32) * 2 + 0.3
    store = convert_annotations(dump(content, tmp_path / "a.pkl"), tmp_path / "store")
    for number, one in enumerate(content["annotations"]):
        found = evaluation_input(store, np.array([number]), KINDS["2d"])[0]
        wanted = pyskl_input.sample(one, count=10)
        assert np.abs(found.numpy() - wanted).max() < 2.0**-12 * np.abs(wanted).max() * 1.01


def test_joints_that_were_not_found_may_stay(tmp_path: Path) -> None:
    """MMAction2 normalises them as all others."""
    content = annotations("2d", 1)
    one = content["annotations"][0]
    path = dump(content, tmp_path / "a.pkl")
    middle = np.array(one["img_shape"][::-1]) / 2
    lost = one["keypoint_score"] <= np.float16(0.01)
    for least, wanted in ((-1, (one["keypoint"][lost] - middle) / middle), (0.01, np.zeros((lost.sum(), 2)))):
        (found,) = read_annotations(path, least_score=least)[1]
        joints = (found.keypoint - found.place[0]) @ found.place[1:]
        np.testing.assert_allclose(joints[lost][:, :2], wanted, atol=1e-6)


def test_training_input_is_right_at_the_frames_it_drew(tmp_path: Path) -> None:
    content = awkward("2d")
    store = convert_annotations(dump(content, tmp_path / "a.pkl"), tmp_path / "store")
    which = np.arange(len(store))[::-1].copy()
    found, label = training_input(store, which, KINDS["2d"], np.random.default_rng(0), "bone_motion")
    frames = training_frames(store.frames[which], np.random.default_rng(0))
    assert found.shape == (len(store), 2, 100, 17, 3) and found.dtype == torch.float32
    assert label.tolist() == [content["annotations"][i]["label"] for i in which]
    for ours, number, drawn in zip(found, which, frames, strict=True):
        x = pyskl_input.pixels(copy.deepcopy(content["annotations"][number]))
        x = pyskl_input.motion(pyskl_input.bone(x, pyskl_input.COCO_BONES, True), True)
        np.testing.assert_allclose(ours, pyskl_input.formatted(x, drawn, 1)[0], atol=1e-6)


@given(st.lists(st.integers(1, 450), min_size=1, max_size=12), st.integers(0, 99))
def test_training_frames_are_one_in_each_part(lengths: list[int], seed: int) -> None:
    frames = training_frames(np.array(lengths), np.random.default_rng(seed))
    assert frames.shape == (len(lengths), 100)
    for length, drawn in zip(lengths, frames, strict=True):
        assert drawn.min() >= 0 and drawn.max() < length
        steps = np.diff(drawn)
        if length < 100:
            assert (steps % length == 1 % length).all()
        elif length < 200:
            assert ((steps >= 1) & (steps <= 2)).all() and drawn[0] <= 1
        else:
            edge = np.arange(101) * length // 100
            assert ((edge[:-1] <= drawn) & (drawn < edge[1:])).all()


@pytest.mark.parametrize(("length", "draws"), [(30, 4000), (150, 4000), (230, 4000)])
def test_training_frames_are_drawn_alike(length: int, draws: int) -> None:
    """Every frame is drawn as often as by pyskl's own way of drawing."""
    ours = training_frames(np.full(draws, length), np.random.default_rng(0))
    np.random.seed(1)  # noqa: NPY002
    theirs = np.stack([pyskl_input.indices(length, None) for _ in range(draws)])
    counts = [np.bincount(one.ravel(), minlength=length) / draws for one in (ours, theirs)]
    np.testing.assert_allclose(*counts, atol=5 * np.sqrt(2 * 3.34 / draws))
    assert abs(ours.std() - theirs.std()) < 0.01 * theirs.std()


@given(st.integers(1, 500), st.integers(1, 12))
def test_frames_of_a_test_are_pyskls(length: int, count: int) -> None:
    wanted = pyskl_input.indices(length, count).reshape(count, 100)
    np.testing.assert_array_equal(evaluation_frames(length, clips=count), wanted)


def test_bones_begin_where_pyskls_do() -> None:
    assert dict(enumerate(bone_starts(LAYOUTS["coco"]))) == pyskl_input.COCO_BONES
    assert dict(enumerate(bone_starts(LAYOUTS["nturgb+d"]))) == pyskl_input.NTU_BONES
    openpose = (0, 0, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15)
    assert bone_starts(LAYOUTS["openpose"]) == openpose


@given(st.integers(0, 10_000))
def test_upright_bodies_stand(seed: int) -> None:
    """The spine is z, the shoulders x, the centre 0, and no length changes."""
    rng = np.random.default_rng(seed)
    body = rng.normal(0, 0.4, (1, 4, 25, 3)) + np.array([0, 0, 3])
    spine, across = body[0, 0, 1] - body[0, 0, 0], body[0, 0, 8] - body[0, 0, 4]
    body[0, 0, 8] -= spine * (across @ spine) / (spine @ spine)  # shoulders square to the spine
    centred, turn = upright(body)
    joints = centred @ turn
    np.testing.assert_allclose(joints[0, 0, 1] - joints[0, 0, 0], (0, 0, np.linalg.norm(spine)), atol=1e-9)
    shoulders = joints[0, 0, 8] - joints[0, 0, 4]
    np.testing.assert_allclose(shoulders, (np.linalg.norm(shoulders), 0, 0), atol=1e-9)
    np.testing.assert_allclose(joints[0, 0, 1], 0, atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) > 0


# ------------------------------------------------------------------------------------------------- Kinetics


def test_kinetics_files_are_unfolded(tmp_path: Path) -> None:
    content = kinetics(tmp_path)
    store = convert_annotations(
        dump(content, tmp_path / "k.pkl"), tmp_path / "store", keypoint_files=tmp_path / "kpfiles"
    )
    kept = pickle.loads((tmp_path / "kpfiles" / "some.pkl").read_bytes())
    for number, one in enumerate(content["annotations"]):
        points, shown = kept[one["frame_dir"]]["keypoint"], one["frame_inds"]
        frames = np.unique(shown)
        people = max((shown == frame).sum() for frame in frames)
        assert (store.people[number], store.frames[number]) == (people, len(frames))
        unfolded = np.zeros((people, len(frames), 17, 3), np.float16)
        for t, frame in enumerate(frames):
            unfolded[: (shown == frame).sum(), t] = points[shown == frame]
        literal = one | {"keypoint": unfolded[..., :2], "keypoint_score": unfolded[..., 2]}
        found = evaluation_input(store, np.array([number]), KINDS["2d"])[0]
        np.testing.assert_allclose(found, pyskl_input.sample(literal, count=10), atol=1e-6)


def test_of_a_crowd_those_of_high_scores_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PEOPLE", 1)
    content = kinetics(tmp_path)
    path = dump(content, tmp_path / "k.pkl")
    kept = pickle.loads((tmp_path / "kpfiles" / "some.pkl").read_bytes())
    for skeleton, one in zip(
        read_annotations(path, keypoint_files=tmp_path / "kpfiles")[1], content["annotations"], strict=True
    ):
        score = kept[one["frame_dir"]]["keypoint"][..., 2].sum(1, dtype=float)
        best = [score[one["frame_inds"] == frame].max() for frame in np.unique(one["frame_inds"])]
        np.testing.assert_allclose(skeleton.keypoint[0, ..., 2].sum(1, dtype=float), best)


@pytest.mark.parametrize("name", ["../some.pkl/../x.pkl", "some.pkl/..", "..", "/etc/hostname", "", "a\0", 7])
def test_no_file_outside_of_the_folder_is_opened(tmp_path: Path, name: Any) -> None:
    content = kinetics(tmp_path)
    dump({}, tmp_path / "x.pkl")
    (tmp_path / "kpfiles" / "hostname").symlink_to("/etc/hostname")
    content["annotations"][2]["raw_file"] = name
    with pytest.raises(BadInput, match=r"abc00000002, raw_file: expected a file in"):
        list(read_annotations(dump(content, tmp_path / "k.pkl"), keypoint_files=tmp_path / "kpfiles")[1])


# ---------------------------------------------------------------------------------------------------- store


def test_a_store_opens_again_and_knows_its_splits(tmp_path: Path) -> None:
    content = annotations("3d", 7)
    content["split"]["xsub_val"].append("of another file")
    made = convert_annotations(dump(content, tmp_path / "a.pkl"), tmp_path / "store")
    again = SkeletonStore(tmp_path / "store")
    np.testing.assert_array_equal(made.keypoint, again.keypoint)
    assert [again.frame_dir[i] for i in again.split("xsub_val")] == content["split"]["xsub_val"][:-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pkl", "store"]
    with pytest.raises(BadInput, match="split: expected one of xsub_train, xsub_val, found xview_val"):
        again.split("xview_val")


@pytest.mark.parametrize("name", ["keypoint.npy", "place.npy", "index.parquet", "splits.json"])
def test_a_damaged_store_is_refused(tmp_path: Path, name: str) -> None:
    convert_annotations(dump(annotations("2d", 3), tmp_path / "a.pkl"), tmp_path / "store")
    file = tmp_path / "store" / name
    content = file.read_bytes()
    for damage in (b"", content[: len(content) // 2], content[: len(content) // 2] + b"x" * 99):
        file.write_bytes(damage)
        with pytest.raises(BadInput):
            SkeletonStore(tmp_path / "store")
    file.unlink()
    with pytest.raises((BadInput, FileNotFoundError)):
        SkeletonStore(tmp_path / "store")


@pytest.mark.parametrize("shape", [(60, 50), (60, 0), (0, 51)], ids=str)
def test_keypoints_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    convert_annotations(dump(annotations("2d", 3), tmp_path / "a.pkl"), tmp_path / "store")
    np.save(tmp_path / "store" / "keypoint.npy", np.zeros(shape, np.float16))
    with pytest.raises(BadInput, match=r"keypoint\.npy: shape: expected rows of three numbers a joint"):
        SkeletonStore(tmp_path / "store")


def flat_25(count: int = 3) -> dict[str, Any]:
    """2D skeletons of as many joints as NTU's 3D ones have, in pixels that float16 does not hold."""
    content = annotations("2d", count, classes=5)
    for number, one in enumerate(content["annotations"]):
        one |= MAKERS["2d"](one["frame_dir"], one["label"], 1, 40, number, 25)
        one["keypoint"] = one["keypoint"].astype(np.float32) + np.float32(0.01)
    return content


def test_2d_and_3d_skeletons_are_told_apart(tmp_path: Path) -> None:
    for kind, content in (("2d", flat_25()), ("3d", annotations("3d", 3))):
        convert_annotations(dump(content, tmp_path / f"{kind}.pkl"), tmp_path / kind)
    evaluation_input(SkeletonStore(tmp_path / "3d"), np.arange(3), KINDS["3d"])
    with pytest.raises(BadInput, match=r"layout: expected 25 joints in 2D as in .*2d, found 25 joints in 3D"):
        evaluation_input(SkeletonStore(tmp_path / "2d"), np.arange(3), KINDS["3d"])
    file = tmp_path / "2d" / "splits.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"flat": None}))
    with pytest.raises(BadInput, match="flat: expected true or false, found None"):
        SkeletonStore(tmp_path / "2d")


def test_a_file_is_of_2d_or_of_3d_skeletons(tmp_path: Path) -> None:
    content = annotations("3d", 4)
    content["annotations"][1:2] = flat_25()["annotations"][1:2]
    with pytest.raises(BadInput, match=f"{NAME}, keypoint: expected 25 joints in 3D as .*, found 25 .* 2D"):
        list(read_annotations(dump(content, tmp_path / "a.pkl"))[1])


def change(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Put these into the second annotation; None takes a field away."""

    def changed(content: dict[str, Any]) -> None:
        one = content["annotations"][1]
        for name, value in values.items():
            if value is None:
                del one[name]
            else:
                one[name] = value(one) if callable(value) else value

    return changed


def with_nan(one: dict[str, Any]) -> np.ndarray:
    keypoint = one["keypoint"].copy()
    keypoint[0, 3, 2, 1] = np.nan
    return keypoint


NAME = "S001C002P001R000A001"
BAD = {
    "missing": (change(label=None), f"{NAME}, label: expected to be there, found no such field"),
    "no keypoint": (change(keypoint=None), f"{NAME}, keypoint: expected to be there"),
    "no score": (change(keypoint_score=None), f"{NAME}, keypoint_score: expected to be there"),
    "no shape": (change(img_shape=None), f"{NAME}, img_shape: expected to be there"),
    "no frames": (change(total_frames=None), f"{NAME}, total_frames: expected to be there"),
    "frames": (change(total_frames=5), f"{NAME}, keypoint: expected finite numbers of shape (M, 5, V, 2)"),
    "joints": (change(keypoint=lambda one: one["keypoint"][:, :, :16], keypoint_score=lambda one:
               one["keypoint_score"][:, :, :16]), f"{NAME}, keypoint: expected 17 joints in 2D as in"),
    "score": (change(keypoint_score=lambda one: one["keypoint_score"][:, 1:]), f"{NAME}, keypoint_score: "),
    "nan": (change(keypoint=with_nan), f"{NAME}, keypoint: expected finite numbers of shape"),
    "label": (change(label=60), f"{NAME}, label: expected a whole number from 0 to 59, found 60"),
    "below": (change(label=-1), f"{NAME}, label: expected a whole number from 0 to 59, found -1"),
    "half": (change(label=1.5), f"{NAME}, label: expected a whole number from 0 to 59, found 1.5"),
    "people": (change(keypoint=lambda one: one["keypoint"][:0]), f"{NAME}, keypoint: expected one person"),
    "list": (change(keypoint=[[1, 2]]), f"{NAME}, keypoint: expected finite numbers"),
    "huge": (change(keypoint=lambda one: one["keypoint"].astype(float) + 1e9), f"{NAME}, keypoint: expec"),
    "twice": (change(frame_dir="S001C001P001R000A000"), "S001C001P001R000A000, frame_dir: expected one"),
    "unnamed": (change(frame_dir=3), "annotations[1], frame_dir: expected a name, found 3"),
    "no list": (lambda content: content.update(annotations=[]), "annotations: expected a list with one"),
    "no split": (lambda content: content.pop("split"), "split: expected lists of frame_dir by name"),
    "split": (lambda content: content["split"].update(a=[1]), "split['a']: expected a list of frame_dir"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_annotations_end_in_one_line(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = annotations("2d", 4)
    changed, message = BAD[case]
    changed(content)
    path = dump(content, tmp_path / "a.pkl")
    command = ["skeletons", "convert", str(path), str(tmp_path / "store"), "--classes", "60"]
    with pytest.raises(SystemExit) as end:
        cli.main(command)
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.count("\n") == 1
    assert told.startswith(f"lart-mini: {path}: {message}")
    assert [file.name for file in tmp_path.iterdir()] == ["a.pkl"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("store --least-score nan", "--least-score: score: expected a finite number from -1 on, found nan"),
        ("store --classes 0", "--classes: classes: expected a whole number from 1 on, found 0"),
        (".", ".: destination: expected a new or empty folder, found the current folder"),
    ],
)
def test_what_cannot_be_asked_of_convert_is_one_line(
    tmp_path: Path,
    options: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = dump(annotations("2d", 4), tmp_path / "a.pkl")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SystemExit) as end:
        cli.main(["skeletons", "convert", str(path), *options.split()])
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.count("\n") == 1 and told.startswith(f"lart-mini: {message}")
    assert list(Path().iterdir()) == [] and len(list(tmp_path.iterdir())) == 2


def test_three_people_in_3d_are_refused(tmp_path: Path) -> None:
    content = annotations("3d", 2)
    one = content["annotations"][1]
    one["keypoint"] = np.concatenate([one["keypoint"][:1]] * 3)
    with pytest.raises(BadInput, match=f"{NAME}, keypoint: expected one or two people"):
        list(read_annotations(dump(content, tmp_path / "a.pkl"))[1])


def test_a_folder_with_content_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "mine").touch()
    with pytest.raises(BadInput, match="expected a new or empty folder"):
        convert_annotations(dump(annotations("2d", 2), tmp_path / "a.pkl"), tmp_path / "store")
    assert [file.name for file in (tmp_path / "store").iterdir()] == ["mine"]


class Runs:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("ran",)


def test_nothing_in_an_annotation_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = annotations("2d", 2) | {"more": Runs()}
    with pytest.raises(BadInput, match=r"found (posix|nt)\.mkdir"):
        read_annotations(dump(content, tmp_path / "a.pkl"))
    assert not Path("ran").exists()


def test_convert_says_what_a_store_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = dump(annotations("3d", 6), tmp_path / "a.pkl")
    with pytest.raises(SystemExit) as end:
        cli.main(["skeletons", "convert", str(path), str(tmp_path / "store")])
    assert end.value.code == 0
    told = capsys.readouterr().out
    frames = SkeletonStore(tmp_path / "store").frames.sum()
    assert told.startswith(f"6 annotations, {frames:,} frames, 25 joints; splits xsub_train 4, xsub_val 2: ")


@pytest.mark.parametrize("stream", STREAMS)
def test_memory_that_was_handed_back_is_read_again(
    tmp_path: Path, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = convert_annotations(dump(annotations("3d", 3), tmp_path / "a.pkl"), tmp_path / "store")
    before = evaluation_input(store, np.arange(3), KINDS["3d"], stream)
    monkeypatch.setattr("lart_mini.skeletr.store.RESIDENT_BYTES", 1)
    for _ in range(2):
        assert torch.equal(evaluation_input(store, np.arange(3), KINDS["3d"], stream), before)
