"""Released files: read as published, written and read back, refused where something does not fit."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import joblib
import numpy as np
import pytest
from factories import assert_same, make_tracklet, released_content

from lart_mini.files import BadInput
from lart_mini.tracklets.released import read_released, write_released
from lart_mini.tracklets.tracklet import Tracklet


def round_trip(tracklet: Tracklet, folder: Path) -> Tracklet:
    write_released(tracklet, folder / f"{tracklet.name}.pkl")
    return read_released(folder / f"{tracklet.name}.pkl")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("appearance", [0, 6])
def test_released_round_trip_is_exact(tmp_path: Path, compress: bool, appearance: int) -> None:
    tracklet = make_tracklet(appearance=appearance)
    path = tmp_path / f"{tracklet.name}.pkl"
    write_released(tracklet, path, compress)
    assert_same(tracklet, read_released(path))
    assert os.listdir(tmp_path) == [path.name]


def test_released_files_are_what_joblib_reads(tmp_path: Path) -> None:
    tracklet = make_tracklet(appearance=6)
    path = tmp_path / f"{tracklet.name}.pkl"
    write_released(tracklet, path)
    content = joblib.load(path)
    shapes = {
        "fid": (20, 1, 1), "pose_shape": (20, 1, 229), "3d_joints": (20, 1, 45, 3), "camera": (20, 1, 3),
        "camera_bbox": (20, 1, 3), "action_label_gt": (20, 1, 80), "has_gt": (20, 1, 1),
        "has_detection": (20, 1, 1), "apperance_index": (20, 1, 1),
    }  # fmt: skip
    assert {key: content[key].shape for key in shapes} == shapes
    lists = {"frame_name", "frame_size", "frame_bbox", "frame_conf"}
    assert content.keys() - shapes.keys() == {"action_label_psudo", "apperance_dict", *lists}
    # The released code appends to these and stacks their entries.
    assert all(isinstance(content[key], list) and len(content[key]) == 20 for key in lists)
    assert {row.shape for row in content["frame_size"]} == {(2,)}
    assert {row.shape for row in content["frame_bbox"]} == {(4,)}
    # It looks every index but -1 up in both tables.
    used = set(content["apperance_index"].ravel().tolist()) - {-1}
    assert used and used == content["apperance_dict"].keys() == content["action_label_psudo"].keys()
    truth = content["apperance_index"][content["has_gt"] == 2].tolist()
    assert truth and not any(content["action_label_psudo"][key].any() for key in truth)
    assert {row.shape for row in content["apperance_dict"].values()} == {(1, 6)}
    assert {row.shape for row in content["action_label_psudo"].values()} == {(1, 80)}
    np.testing.assert_array_equal(content["camera"][:, 0, 2], tracklet.translation[:, 2] / np.float32(200))


def test_lists_numpy_scalars_and_plain_pickles_are_read(tmp_path: Path) -> None:
    path, content = released_content(tmp_path)
    expected = read_released(path)
    content["frame_size"] = [[240, 320]] * 20
    content["frame_bbox"] = np.stack(content["frame_bbox"])[:, None]
    content["frame_conf"] = list(np.float32(content["frame_conf"]))  # np.float32 scalars
    content["pose_shape"] = np.asfortranarray(content["pose_shape"])
    joblib.dump(content, path, compress=3)
    assert_same(expected, read_released(path))
    for protocol in (3, 4, 5):
        joblib.dump(content, path, protocol=protocol)
        assert_same(expected, read_released(path))
    for protocol in (3, 4):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        assert_same(expected, read_released(path))


@pytest.mark.parametrize("nothing", [{}, None, "no key"])
def test_pseudo_labels_and_appearance_may_be_missing(tmp_path: Path, nothing: object) -> None:
    path, content = released_content(tmp_path)
    for key in ("action_label_psudo", "apperance_dict"):
        content[key] = nothing
        if nothing == "no key":
            del content[key]
    joblib.dump(content, path)
    tracklet = read_released(path)
    assert tracklet.appearance is None
    assert set(tracklet.label_source.tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pose_shape", None, "no such key"),
        ("pose_shape", np.zeros((20, 1, 226)), r"expected shape \(20, 1, 229\), found shape \(20, 1, 226\)"),
        ("frame_conf", [1.0] * 19, r"expected shape \(20, 1, 1\), found shape \(19, 1\)"),
        ("frame_bbox", [[1, 2], [3]], "ragged"),
        ("frame_bbox", ["a"] * 20, "expected numbers"),
        ("action_label_gt", np.zeros((20, 1, 81)), "action_label_gt: expected shape"),
        ("action_label_psudo", {0: np.zeros((1, 60))}, "expected 80 columns, found 60"),
        ("apperance_dict", {0: np.zeros((1, 6)), 7: np.zeros((1, 5))}, "one width"),
        ("has_gt", np.full((20, 1, 1), 300), "expected 0, 1 or 2"),
        ("has_gt", np.full((20, 1, 1), np.nan), "has_gt: expected whole numbers, found nan"),
        ("has_detection", np.full((20, 1, 1), np.nan), "has_detection: expected whole numbers, found nan"),
        ("fid", np.arange(20) + 0.5, r"fid: expected whole numbers, found 0\.5"),
        ("fid", 7, "fid: expected shape"),
        ("fid", np.array(7), "fid: expected shape"),
        ("fid", [], "T at least 1"),
        ("fid", None, "fid: expected to be there"),
        ("fid", [[1], "x"] * 10, "fid: expected numbers"),
        ("apperance_index", np.full((20, 1, 1), np.inf), "index: expected whole numbers, found inf"),
        ("frame_name", ["000100.jpg"] * 19, "frame_name: expected a list of 20 names, found 19"),
        ("frame_name", "000100.jpg", "found str"),
        ("camera", np.zeros((20, 1, 2)), "camera: expected shape"),
        ("camera", np.full((20, 1, 3), np.nan), "camera: expected finite numbers"),
        ("pose_shape", np.full((20, 1, 229), np.nan), "pose: expected finite numbers"),
        ("frame_size", [[240, 320]] * 10 + [[480, 640]] * 10, "one size in all frames"),
    ],
)
def test_bad_released_files_name_file_and_field(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    path, content = released_content(tmp_path)
    if value is None:
        del content[key]
    else:
        content[key] = value
    joblib.dump(content, path)
    with pytest.raises(BadInput, match=message) as caught:
        read_released(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_published_file_reads_as_it_is(tmp_path: Path) -> None:
    content = factories.published(np.random.default_rng(0), 140, 40)
    tracklet = read_released(factories.write_published(content, tmp_path))
    np.testing.assert_array_equal(tracklet.frame, np.arange(140, 180))
    np.testing.assert_array_equal(tracklet.detected, content["has_detection"][:, 0, 0] == 1)
    assert 5 < tracklet.detected.sum() < 39
    assert tracklet.frame_size.tolist() == [240, 320]
    np.testing.assert_array_equal(tracklet.box, np.float32(content["frame_bbox"]))
    assert tracklet.confidence[~tracklet.detected].max() == 0 < tracklet.confidence.max()
    assert tracklet.appearance is not None
    for t, key in enumerate(content["apperance_index"][:, 0, 0]):
        seen = np.zeros(factories.WIDTH) if key == -1 else content["apperance_dict"][key][0]
        np.testing.assert_array_equal(tracklet.appearance[t], seen)
        truth = content["has_gt"][t, 0, 0] == 2
        pseudo = np.zeros(80) if key == -1 else content["action_label_psudo"][key][0]
        label = content["action_label_gt"][t, 0] if truth else pseudo
        np.testing.assert_array_equal(tracklet.labels[t], np.float32(label))
    np.testing.assert_array_equal(tracklet.label_source, content["has_gt"][:, 0, 0])
    np.testing.assert_array_equal(tracklet.joints, content["3d_joints"][:, 0])


def test_published_depths_become_metres_and_the_vector_stays_the_files(tmp_path: Path) -> None:
    content = factories.published(np.random.default_rng(1), 140, 40)
    tracklet = read_released(factories.write_published(content, tmp_path))
    vector = content["pose_shape"][:, 0]
    assert tracklet.depth_unit == 200 and tracklet.camera is None
    np.testing.assert_allclose(tracklet.translation, vector[:, 226:] * [1, 1, 200], rtol=1e-6)
    np.testing.assert_allclose(tracklet.vector(), vector, rtol=1e-6)
    np.testing.assert_allclose(tracklet.camera_vectors(), content["camera"][:, 0], rtol=1e-6)
    assert_same(tracklet, round_trip(tracklet, tmp_path))


def test_the_depth_unit_is_told_by_the_camera_of_detected_frames(tmp_path: Path) -> None:
    content = factories.published(np.random.default_rng(2), 140, 40)
    seen = content["has_detection"][:, 0, 0] > 0
    metres = content["pose_shape"][:, 0, 226:].copy()
    wild = np.random.default_rng(3).normal(size=(40, 1, 3))
    cases: list[tuple[Any, float, bool]] = [
        (None, 1, False),  # no camera: nothing says that the depth was divided
        (metres / [1, 1, 200], 1, False),
        (wild, 1, True),
        (np.where(seen[:, None], metres, 9), 200, True),  # gaps tell nothing, and are kept
        (np.where(seen[:, None], metres / [1, 1, 200], 9), 1, True),
    ]
    for camera, unit, kept in cases:
        changed = {key: value for key, value in content.items() if key != "camera"}
        if camera is not None:
            changed["camera"] = camera.reshape(40, 1, 3)
        tracklet = read_released(factories.write_published(changed, tmp_path))
        assert tracklet.depth_unit == unit and (tracklet.camera is not None) == kept
        np.testing.assert_allclose(tracklet.vector(), content["pose_shape"][:, 0], rtol=1e-6)
        np.testing.assert_allclose(tracklet.translation, metres * [1, 1, unit], rtol=1e-6)
        if camera is not None:
            np.testing.assert_allclose(tracklet.camera_vectors(), changed["camera"][:, 0], rtol=1e-6)
        assert_same(tracklet, round_trip(tracklet, tmp_path))


@pytest.mark.parametrize("seed", range(4))
def test_a_smoothed_place_near_the_camera_is_in_its_unit(tmp_path: Path, seed: int) -> None:
    """LART's demo writes the model's smoothed place, whose depth is near `camera`'s: 18 m, not 0.09."""
    rng = np.random.default_rng(seed)
    content = factories.published(rng, 140, 40)
    place = content["pose_shape"][..., 226:]
    place[..., 2] = rng.uniform(3, 60) / 200 * rng.uniform(0.9, 1.1, (40, 1))
    camera = place * rng.uniform(0.95, 1.05, (40, 1, 3))
    camera[content["has_detection"][..., 0] == 0] = 0
    tracklet = read_released(factories.write_published(content | {"camera": camera}, tmp_path))
    assert tracklet.depth_unit == 200
    np.testing.assert_allclose(tracklet.translation[:, 2], 200 * place[:, 0, 2], rtol=1e-6)
    assert_same(tracklet, round_trip(tracklet, tmp_path))
    content["pose_shape"][..., 228] *= 200  # metres, beside a camera in units of 200
    tracklet = read_released(factories.write_published(content | {"camera": camera}, tmp_path))
    assert tracklet.depth_unit == 1


def test_depths_of_zero_tell_no_unit_and_index_minus_one_names_no_entry(tmp_path: Path) -> None:
    content = factories.published(np.random.default_rng(6), 140, 40)
    content["pose_shape"][..., 228] = content["camera"][..., 2] = 0
    content["apperance_dict"][-1] = content["apperance_dict"][0]
    content["action_label_psudo"][-1.0] = np.ones((1, 80))
    content["has_gt"][:] = 1
    tracklet = read_released(factories.write_published(content, tmp_path))
    assert tracklet.depth_unit == 1 and tracklet.appearance is not None
    unnamed = content["apperance_index"][:, 0, 0] == -1
    assert unnamed.any() and not tracklet.appearance[unnamed].any() and not tracklet.labels[unnamed].any()
    np.testing.assert_array_equal(tracklet.label_source, ~unnamed)


def test_a_camera_that_would_mislead_about_the_depth_is_not_written(tmp_path: Path) -> None:
    tracklet = make_tracklet()
    path = tmp_path / f"{tracklet.name}.pkl"
    for camera, unit in ((tracklet.translation, 1.0), (tracklet.translation + 1, 200.0)):
        with pytest.raises(BadInput, match=f"camera: expected one that tells the depth unit {unit:g}"):
            write_released(replace(tracklet, camera=camera, depth_unit=unit), path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("first", "names", "expected"),
    [
        (140, "video_{:06d}.jpg", 140),  # the same numbers twice
        (0, "video_{:06d}.jpg", 140),  # fid counts from the window's start: only the names hold frame 150
        (140, "{:06d}.png", 140),
        (0, "{}", 140),
        (145, "x{:06d}.jpg", 145),  # fid holds the key frame, and stays
        (0, "frame", 0),  # no numbers
        (0, "{:06d}99.jpg", 0),  # numbers without the key frame
        (0, "{:030d}.jpg", 0),  # not a frame number
    ],
)
def test_frame_numbers_come_from_what_holds_the_key_frame(
    tmp_path: Path, first: int, names: str, expected: int
) -> None:
    content = factories.published(np.random.default_rng(4), first, 40)
    content["frame_name"] = [names.format(140 + t) for t in range(40)]
    frame = read_released(factories.write_published(content, tmp_path)).frame
    np.testing.assert_array_equal(frame, np.arange(expected, expected + 40))


def test_frame_names_that_do_not_ascend_tell_no_frame_numbers(tmp_path: Path) -> None:
    content = factories.published(np.random.default_rng(5), 0, 40)
    content["frame_name"] = [f"{150 - t}.jpg" for t in range(40)]
    assert read_released(factories.write_published(content, tmp_path)).frame[0] == 0
    del content["frame_name"]
    joblib.dump(content, tmp_path / "ava-train_a_b-cdefghi_000150_0_40.pkl")
    assert read_released(tmp_path / "ava-train_a_b-cdefghi_000150_0_40.pkl").frame[0] == 0


def test_labels_that_do_not_count_survive_a_round_trip(tmp_path: Path) -> None:
    """A pseudo label may stand where `has_gt` is 0, and an all-zero one where it is 1."""
    tracklet = make_tracklet(appearance=6)
    labels, source = np.zeros((20, 80), np.float32), np.zeros(20, np.int8)
    labels[3:9, 5], source[5:12] = 0.5, 1
    source[15:] = 2
    labels[16, 7] = 1
    for appearance in (None, tracklet.appearance):
        changed = replace(tracklet, labels=labels, label_source=source, appearance=appearance)
        assert_same(changed, round_trip(changed, tmp_path))
