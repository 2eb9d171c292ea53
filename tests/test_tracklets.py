"""Tracklets: validation, the released files (round trip, and nothing executed), the packed store."""

from __future__ import annotations

import os
import pickle
from dataclasses import fields, replace
from pathlib import Path

import joblib
import numpy as np
import pytest

from lart_mini.errors import BadInput
from lart_mini.tracklets import (
    FRAME_FIELDS,
    Tracklet,
    load_tracklets,
    read_released,
    save_tracklets,
    write_released,
)


def make_tracklet(length: int = 20, seed: int = 0, track: int = 3, appearance: int = 0) -> Tracklet:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=(length, *shape)).astype(np.float32)

    source = rng.integers(0, 3, length).astype(np.int8)
    labels = (rng.random((length, 80)) < 0.05).astype(np.float32)
    labels[source == 1] *= rng.random(80).astype(np.float32)
    labels[source == 0] = 0
    rows = normal(appearance)[np.arange(length) // 7] if appearance else None
    return Tracklet(
        name=f"ava-train_a_b-cdefghi_000150_{track}_{length}",
        video="a_b-cdefghi",
        track=track,
        keyframe=150,
        frame=np.arange(100, 100 + length),
        pose=normal(24, 3, 3),
        betas=normal(10),
        translation=normal(3),
        joints=normal(45, 3),
        detected=rng.random(length) < 0.8,
        box=np.tile(np.array([10, 20, 30, 40], np.float32), (length, 1)),
        frame_size=np.array([240, 320]),
        confidence=rng.random(length).astype(np.float32),
        labels=labels,
        label_source=source,
        appearance=rows,
    ).validate()


def assert_same(a: Tracklet, b: Tracklet) -> None:
    for field in fields(Tracklet):
        left, right = getattr(a, field.name), getattr(b, field.name)
        assert type(left) is type(right), field.name
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right, err_msg=field.name)


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


def changed(tracklet: Tracklet, field: str, row: int, value: object) -> Tracklet:
    array = getattr(tracklet, field).copy()
    array[row] = value
    return replace(tracklet, **{field: array})


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
        "has_detection": (20, 1, 1), "apperance_index": (20, 1, 1), "frame_size": (20, 1, 2),
        "frame_bbox": (20, 1, 4), "frame_conf": (20, 1, 1),
    }  # fmt: skip
    assert {key: content[key].shape for key in shapes} == shapes
    assert content.keys() - shapes.keys() == {"action_label_psudo", "apperance_dict", "frame_name"}
    assert len(content["frame_name"]) == 20
    assert {row.shape for row in content["apperance_dict"].values()} == {(1, 6)}
    assert {row.shape for row in content["action_label_psudo"].values()} == {(1, 80)}
    np.testing.assert_array_equal(content["camera"][:, 0, 2], tracklet.translation[:, 2] / np.float32(200))


def released_content(tmp_path: Path) -> tuple[Path, dict]:
    tracklet = make_tracklet(appearance=6)
    path = tmp_path / f"{tracklet.name}.pkl"
    write_released(tracklet, path)
    return path, joblib.load(path)


def test_lists_numpy_scalars_and_plain_pickles_are_read(tmp_path: Path) -> None:
    path, content = released_content(tmp_path)
    expected = read_released(path)
    content["frame_size"] = [[240, 320]] * 20
    content["frame_bbox"] = [row[0] for row in content["frame_bbox"]]
    content["frame_conf"] = list(content["frame_conf"][:, 0, 0])  # np.float32 scalars
    content["pose_shape"] = np.asfortranarray(content["pose_shape"])
    joblib.dump(content, path, compress=3)
    assert_same(expected, read_released(path))
    for protocol in (3, 4, 5):
        joblib.dump(content, path, protocol=protocol)
        assert_same(expected, read_released(path))
    for protocol in (3, 4):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        assert_same(expected, read_released(path))


def test_pseudo_labels_and_appearance_may_be_missing(tmp_path: Path) -> None:
    path, content = released_content(tmp_path)
    content["action_label_psudo"], content["apperance_dict"] = {}, {}
    joblib.dump(content, path)
    tracklet = read_released(path)
    assert tracklet.appearance is None
    assert set(tracklet.label_source.tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pose_shape", None, "no such key"),
        ("pose_shape", np.zeros((20, 1, 226)), r"expected shape \(20, 1, 229\), found shape \(20, 1, 226\)"),
        ("frame_conf", [1.0] * 19, r"expected shape \(20, 1, 1\), found shape \(19,\)"),
        ("frame_bbox", [[1, 2], [3]], "ragged"),
        ("frame_bbox", ["a"] * 20, "expected numbers"),
        ("action_label_gt", np.zeros((20, 1, 81)), "action_label_gt: expected shape"),
        ("action_label_psudo", {0: np.zeros((1, 60))}, "expected 80 columns, found 60"),
        ("apperance_dict", {0: np.zeros((1, 6)), 7: np.zeros((1, 5))}, "one width"),
        ("has_gt", np.full((20, 1, 1), 300), "expected 0, 1 or 2"),
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


class Runs:
    """Unpickling this with pickle or joblib would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize("inside_array", [False, True])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, compress: int, inside_array: bool) -> None:
    path, content = released_content(tmp_path)
    trap = Runs(tmp_path / "executed")
    content["frame_name"] = np.array([trap], object) if inside_array else [trap]
    joblib.dump(content, path, compress=compress)
    with pytest.raises(BadInput, match=r"containers only, found (dtype 'O8'|posix\.mkdir|nt\.mkdir)"):
        read_released(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "found os.system"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "found builtins.eval"),
        (b"cnumpy\nload\n.", "found numpy.load"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.", "found numpy.ndarray.dump"),
        (b"cnumpy\ndtype\n(S'f8'\ntR}b.", "dtype of state"),
        (b"cnumpy\ndtype\n(S'V8'\ntR.", "found dtype 'V8'"),
        (b"(ios\nsystem\n.", "found os.system"),
        (b"\x80\x02\x82\x01.", "expected a joblib pickle of numpy data"),
        (b"Pperson\n.", "expected a joblib pickle"),
        (b"hello", "expected a joblib pickle"),
        (b"", "truncated"),
        (b"\x78\x9cgarbage", "expected a joblib pickle"),
        (b"N.", "expected a dict, found NoneType"),
    ],
)
def test_foreign_files_are_refused_in_one_line(tmp_path: Path, stream: bytes, message: str) -> None:
    path = tmp_path / "ava-train_abcdefghijk_000150_3_20.pkl"
    path.write_bytes(stream)
    with pytest.raises(BadInput, match=message):
        read_released(path)


@pytest.mark.parametrize("compress", [0, 3])
def test_truncated_files_are_refused(tmp_path: Path, compress: int) -> None:
    path, content = released_content(tmp_path)
    joblib.dump(content, path, compress=compress)
    whole = path.read_bytes()
    for size in (1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match="pickle"):
            read_released(path)


def test_a_file_that_claims_a_huge_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ava-train_abcdefghijk_000150_3_20.pkl"
    joblib.dump({"fid": np.zeros(3)}, path)
    shape = b"K\x03\x85"  # the tuple (3,)
    assert path.read_bytes().count(shape) == 1
    path.write_bytes(path.read_bytes().replace(shape, b"\x8a\x06\xff\xff\xff\xff\xff\x00\x85"))
    with pytest.raises(BadInput, match="pickle"):
        read_released(path)


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
    save_tracklets([], tmp_path / "none.npz")
    assert load_tracklets(tmp_path / "none.npz") == []


def test_store_keeps_binary_labels_in_a_byte(tmp_path: Path) -> None:
    tracklet = make_tracklet()
    save_tracklets([replace(tracklet, labels=np.round(tracklet.labels))], tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["labels"].dtype == np.uint8


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
    with pytest.raises(BadInput, match="betas: expected 20 rows, found 19"):
        load_tracklets(path)
