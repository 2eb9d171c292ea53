"""Tracklets: validation, tables of distinct rows, the packed .npz file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import assert_same, changed, make_tracklet

from lart_mini.files import BadInput
from lart_mini.tracklets.npz import load_tracklets, save_tracklets
from lart_mini.tracklets.tracklet import FRAME_FIELDS, tables


def test_vector_holds_its_parts_in_order() -> None:
    tracklet = make_tracklet()
    vector = tracklet.vector()
    assert vector.shape == (20, 229) and vector.dtype == np.float32
    np.testing.assert_array_equal(vector[:, :9].reshape(-1, 3, 3), tracklet.pose[:, 0])
    np.testing.assert_array_equal(vector[:, 9:216].reshape(-1, 23, 3, 3), tracklet.pose[:, 1:])
    np.testing.assert_array_equal(vector[:, 216:], np.c_[tracklet.betas, tracklet.translation])
    assert tracklet.dataset == "ava-train" and tracklet.scene == "ava-train_a_b-cdefghi_000150"


@pytest.mark.parametrize("field", FRAME_FIELDS)
def test_every_field_is_held_to_its_shape_and_dtype(field: str) -> None:
    tracklet = make_tracklet()
    array = getattr(tracklet, field)
    with pytest.raises(BadInput, match=rf"{tracklet.name}: {field}: expected"):
        replace(tracklet, **{field: array[..., None]}).validate()
    with pytest.raises(BadInput, match=field):
        replace(tracklet, **{field: array.astype(np.complex64)}).validate()


def test_the_vector_has_its_depth_in_the_files_unit() -> None:
    tracklet = make_tracklet()
    divided = replace(tracklet, depth_unit=200.0).validate()
    np.testing.assert_array_equal(divided.translation, tracklet.translation)
    np.testing.assert_allclose(divided.vector()[:, 228], tracklet.translation[:, 2] / 200, rtol=1e-6)
    np.testing.assert_array_equal(divided.vector()[:, :228], tracklet.vector()[:, :228])
    for one in (tracklet, divided):
        np.testing.assert_allclose(one.camera_vectors(), tracklet.translation / [1, 1, 200], rtol=1e-6)
    camera = tracklet.translation + 1
    assert replace(tracklet, camera=camera).camera_vectors() is camera


def test_optional_fields_are_checked() -> None:
    tracklet = make_tracklet()
    with pytest.raises(BadInput, match="depth_unit: expected 1 or 200, found 100"):
        replace(tracklet, depth_unit=100.0).validate()
    with pytest.raises(BadInput, match=r"camera: expected shape \(20, 3\)"):
        replace(tracklet, camera=tracklet.translation[1:]).validate()
    with pytest.raises(BadInput, match="camera: expected finite numbers"):
        replace(tracklet, camera=tracklet.translation * np.float32(np.nan)).validate()


@pytest.mark.parametrize("width", [60, 81])
def test_labels_of_another_width_are_refused(width: int) -> None:
    with pytest.raises(BadInput, match=rf"labels: expected shape \(20, 80\), found shape \(20, {width}\)"):
        replace(make_tracklet(), labels=np.zeros((20, width), np.float32)).validate()


def test_tables_hold_each_row_once_and_give_it_back() -> None:
    tracklet = make_tracklet(30, appearance=6)
    appearance = np.repeat(np.arange(6, dtype=np.float32), 5)[:, None] % 4 * np.ones(6, np.float32)
    packed = tables(replace(tracklet, appearance=appearance).validate())
    assert packed.appearance is not None
    assert packed.appearance[:, 0].tolist() == [1, 2, 3]  # 0 is nobody's vector, and 1 comes again
    assert packed.appearance_index[::5].tolist() == [-1, 0, 1, 2, -1, 0]
    for rows, table, index in (
        (appearance, packed.appearance, packed.appearance_index),
        (tracklet.labels, packed.labels, packed.label_index),
    ):
        padded = np.concatenate([table, np.zeros_like(table[:1])])
        np.testing.assert_array_equal(padded[index], rows)
        assert len(np.unique(table, axis=0)) == len(table) and table.any(axis=1).all()
    bare = tables(replace(make_tracklet(), labels=np.zeros((20, 80), np.float32)))
    assert bare.appearance is None and bare.labels.shape == (0, 80)
    assert set(bare.appearance_index) == set(bare.label_index) == {-1}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pose", np.nan, "NaN or infinity at row 4"),
        ("translation", np.inf, "NaN or infinity at row 4"),
        ("labels", 1.5, r"values in \[0, 1\]"),
        ("label_source", 3, r"pseudo or 2 ground truth, found \[3\]"),
        ("frame", 0, "ascending"),
        ("box", [300, 0, 30, 30], "inside the frame of 320 x 240 pixels"),
        ("box", [5, 5, 0, 10], "inside the frame"),
    ],
)
def test_wrong_values_are_refused_by_name(field: str, value: object, message: str) -> None:
    tracklet = changed(make_tracklet(), "detected", 4, True)
    with pytest.raises(BadInput, match=f"{field}: .*{message}"):
        changed(tracklet, field, 4, value).validate()


def test_boxes_may_round_by_a_pixel_and_mean_nothing_without_detection() -> None:
    tracklet = changed(make_tracklet(), "detected", 4, True)
    changed(tracklet, "box", 4, [-1, 0, 321, 241]).validate()
    changed(changed(tracklet, "box", 4, [999, 0, 0, 0]), "detected", 4, False).validate()


def test_a_name_that_disagrees_is_refused() -> None:
    with pytest.raises(BadInput, match="track: expected 3 as in the name, found 4"):
        replace(make_tracklet(), track=4).validate()
    with pytest.raises(BadInput, match="name: expected <dataset>_"):
        replace(make_tracklet(), name="somebody").validate()


def test_store_round_trip_is_exact_and_reproducible(tmp_path: Path) -> None:
    tracklets = [
        make_tracklet(20, 0, track=1), make_tracklet(7, 1, track=2, appearance=6),
        make_tracklet(12, 2, track=3), make_tracklet(9, 3, track=4, appearance=6),
    ]  # fmt: skip
    save_tracklets(tracklets, tmp_path / "a.npz")
    save_tracklets(tracklets, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = load_tracklets(tmp_path / "a.npz")
    assert len(loaded) == 4
    for before, after in zip(tracklets, loaded, strict=True):
        assert_same(before, after)
    camera = tracklets[2].translation + 1
    given = [tracklets[0], replace(tracklets[2], camera=camera), replace(tracklets[1], depth_unit=200.0)]
    save_tracklets(given, tmp_path / "given.npz")
    for before, after in zip(given, load_tracklets(tmp_path / "given.npz"), strict=True):
        assert_same(before, after)
    save_tracklets([], tmp_path / "none.npz")
    assert load_tracklets(tmp_path / "none.npz") == []


def test_store_keeps_binary_labels_in_a_byte(tmp_path: Path) -> None:
    tracklet = make_tracklet()
    save_tracklets([replace(tracklet, labels=np.round(tracklet.labels))], tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["labels"].dtype == np.uint8
        assert not {"appearance", "camera", "depth_unit"} & set(archive.files)


def test_store_writes_nothing_bad_and_reads_nothing_bad(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(BadInput, match="pose"):
        save_tracklets([changed(make_tracklet(), "pose", 0, np.nan)], path)
    with pytest.raises(BadInput, match="one width"):
        save_tracklets([make_tracklet(appearance=6), make_tracklet(appearance=5)], path)
    assert os.listdir(tmp_path) == []
    path.write_bytes(b"no archive")
    with pytest.raises(BadInput, match="store of tracklets"):
        load_tracklets(path)
    np.savez(path, name=np.array(["x"]))
    with pytest.raises(BadInput, match="no such array"):
        load_tracklets(path)
    save_tracklets([make_tracklet()], path)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["betas"] = arrays["betas"][1:]
    np.savez(path, **arrays)
    with pytest.raises(BadInput, match=r"betas: expected numbers of shape \(20, 10\), found .*\(19, 10\)"):
        load_tracklets(path)


@pytest.mark.parametrize(
    ("field", "number"), [("label_source", 258), ("frame", 41.7), ("frame", np.nan), ("detected", -3.5)]
)
def test_numbers_that_would_become_others_are_refused(tmp_path: Path, field: str, number: float) -> None:
    path = tmp_path / "a.npz"
    save_tracklets([make_tracklet()], path)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays[field] = arrays[field].astype(np.asarray(number).dtype)
    arrays[field][4] = number
    np.savez(path, **arrays)
    with pytest.raises(BadInput, match=f"{field}: expected (int8|int64|bool), found {number:g}"):
        load_tracklets(path)
