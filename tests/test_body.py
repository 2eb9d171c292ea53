"""The body: our kinematics against smplx's, the released joints, and what reading a body file refuses."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import of_smpl_size
from scipy.spatial.transform import Rotation

from lart_mini.files import BadInput
from lart_mini.people import body as body_module
from lart_mini.people.body import (
    EXTRA,
    HEAD_TOP,
    JOINT_NAMES,
    OPENPOSE,
    PARENTS,
    Body,
    forward_kinematics,
    global_rotations,
    load_body,
    local_rotations,
)

FRAMES = 7


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def posed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    pose = (
        Rotation.random(FRAMES * 24, random_state=rng)
        .as_matrix()
        .reshape(FRAMES, 24, 3, 3)
        .astype(np.float32)
    )
    return (
        pose,
        rng.normal(size=(FRAMES, 10)).astype(np.float32),
        rng.normal(size=(FRAMES, 3)).astype(np.float32),
    )


def smplx_joints(body: Body, pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
    rotations = torch.tensor(pose)
    with torch.no_grad():
        out = body.smplx()(
            betas=torch.tensor(betas),
            global_orient=rotations[:, :1],
            body_pose=rotations[:, 1:],
            pose2rot=False,
        )
    return out.joints.numpy()


def test_kinematics_agree_with_smplx(body: Body, posed: tuple[np.ndarray, ...]) -> None:
    pose, betas, _ = posed
    rest = body.rest_joints(betas)
    ours = forward_kinematics(pose, rest, rest[:, 0])
    np.testing.assert_allclose(ours, smplx_joints(body, pose, betas)[:, :24], atol=1e-5)


def test_pelvis_lands_on_translation(body: Body, posed: tuple[np.ndarray, ...]) -> None:
    pose, betas, translation = posed
    joints = forward_kinematics(pose, body.rest_joints(betas), translation)
    np.testing.assert_array_equal(joints[:, 0], translation)
    mesh = body.vertices(pose, betas, translation)
    # The same mesh as smplx makes about its own rest place, moved.
    regressed = np.einsum(
        "jv,tvc->tjc",
        body.joint_regressor,
        body.vertices(np.tile(np.eye(3), (FRAMES, 24, 1, 1)), betas, translation),
    )
    np.testing.assert_allclose(regressed[:, 0], translation, atol=1e-5)
    np.testing.assert_allclose(
        body.points(pose, betas, translation, np.arange(len(body.v_template))), mesh, atol=1e-5
    )


def test_one_shape_for_all_frames(body: Body, posed: tuple[np.ndarray, ...]) -> None:
    pose, betas, translation = posed
    chosen = body.spread(5)
    one = body.points(pose, betas[0], translation, chosen)
    np.testing.assert_allclose(
        one, body.points(pose, np.tile(betas[:1], (FRAMES, 1)), translation, chosen), atol=1e-6
    )
    np.testing.assert_array_equal(
        body.points(pose, None, translation, chosen), body.points(pose, np.zeros(10), translation, chosen)
    )


def test_joints45_order(body: Body, posed: tuple[np.ndarray, ...]) -> None:
    pose, betas, _ = posed
    joints = body.joints45(pose, betas)
    reference = smplx_joints(body, pose, betas)
    np.testing.assert_allclose(joints[:, :25], reference[:, list(OPENPOSE)], atol=1e-5)
    kept = [i for i, joint in enumerate(EXTRA) if joint != HEAD_TOP]
    np.testing.assert_allclose(
        joints[:, [25 + i for i in kept]], reference[:, [EXTRA[i] for i in kept]], atol=1e-5
    )
    assert joints.shape == (FRAMES, 45, 3) and not joints[:, 44].any()
    standing = body.joints45(np.tile(np.eye(3), (1, 24, 1, 1)))[0]
    assert standing[:, 1].argmax() in (25 + 13, 25 + 18)  # the two head tops stand highest


# Rows of the 45 joints that a turn of this joint moves: OpenPose's 0…24, then the 19 extra ones from 25 on.
MOVED = {
    "right_hip": {10, 11, 22, 23, 24, 25, 26},
    "right_knee": {11, 22, 23, 24, 25},
    "left_hip": {13, 14, 19, 20, 21, 29, 30},
    "left_knee": {14, 19, 20, 21, 30},
    "right_shoulder": {3, 4, 31, 32},
    "right_elbow": {4, 31},
    "left_shoulder": {6, 7, 35, 36},
    "left_elbow": {7, 36},
    "neck": {0, 15, 16, 17, 18, 38, 42, 43},
}


@pytest.mark.parametrize("joint", MOVED)
def test_a_limb_moves_its_own_rows_of_the_45_joints(body: Body, joint: str) -> None:
    pose = np.tile(np.eye(3, dtype=np.float32), (2, 24, 1, 1))
    pose[1, JOINT_NAMES.index(joint)] = Rotation.from_rotvec([0.7, 0, 0.7]).as_matrix()
    before, after = body.joints45(pose)
    way = np.linalg.norm(after - before, axis=1)
    assert set(np.flatnonzero(way > 0.01).tolist()) == MOVED[joint]


def test_left_rows_of_the_45_joints_are_on_the_left(body: Body) -> None:
    x = body.joints45(np.tile(np.eye(3), (1, 24, 1, 1)))[0, :, 0]
    left = [5, 6, 7, 12, 13, 14, 16, 18, 19, 20, 21, 28, 29, 30, 34, 35, 36]
    right = [2, 3, 4, 9, 10, 11, 15, 17, 22, 23, 24, 25, 26, 27, 31, 32, 33]
    assert (x[left] > 0.01).all() and (x[right] < -0.01).all()
    middle = sorted(set(range(45)) - {*left, *right})
    assert np.abs(x[middle]).max() < 0.03


def test_the_top_of_the_head_is_the_bodys_highest_point(body: Body) -> None:
    joints = body.joints45(np.tile(np.eye(3), (1, 24, 1, 1)))[0]
    assert joints[38, 1] == pytest.approx(body.v_template[:, 1].max(), abs=1e-5) == joints[:44, 1].max()


def test_long_clips_are_skinned_a_part_at_a_time(
    body: Body, posed: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = body.points(*posed, [3, 500])
    monkeypatch.setattr(body_module, "_CHUNK", 3)
    np.testing.assert_array_equal(body.points(*posed, [3, 500]), at_once)


def test_rotations_local_and_global(posed: tuple[np.ndarray, ...]) -> None:
    pose = posed[0].astype(np.float64)
    np.testing.assert_allclose(local_rotations(global_rotations(pose)), pose, atol=1e-5)


def test_shape_of_the_free_body(body: Body) -> None:
    assert len(JOINT_NAMES) == len(PARENTS) == 24 and (PARENTS[1:] < np.arange(1, 24)).all()
    rest = body.rest_joints()
    left, right = [JOINT_NAMES.index(f"{side}_wrist") for side in ("left", "right")]
    assert rest[left, 0] > 0.5 and rest[right, 0] < -0.5  # T-pose, left = +x
    assert rest[10, 2] > rest[7, 2]  # feet point to +z
    assert 1.6 < np.ptp(body.v_template[:, 1]) < 1.75
    np.testing.assert_allclose(body.weights.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(body.joint_regressor.sum(1), 1, atol=1e-3)
    taller = body.v_template + body.shapedirs[:, :, 0]
    assert np.ptp(taller[:, 1]) > np.ptp(body.v_template[:, 1]) + 0.02  # the first shape number is height


def test_spread_covers_the_box(body: Body, posed: tuple[np.ndarray, ...]) -> None:
    pose, betas, translation = posed
    few, mesh = (
        body.points(pose, betas, translation, body.spread(120)),
        body.vertices(pose, betas, translation),
    )
    assert np.abs(few.min(1) - mesh.min(1)).max() < 0.08 and np.abs(few.max(1) - mesh.max(1)).max() < 0.08


def smpl_fields(body: Body, vertices: int = 6890) -> dict[str, np.ndarray]:
    return of_smpl_size(
        {
            "v_template": body.v_template,
            "shapedirs": body.shapedirs,
            "posedirs": body.posedirs,
            "J_regressor": body.joint_regressor,
            "weights": body.weights,
            "f": body.faces,
        },
        vertices,
    )


def save_npz(path: Path, body: Body, **changed: np.ndarray | None) -> Path:
    fields: dict[str, np.ndarray | None] = smpl_fields(body) | changed
    np.savez(path, **{name: value for name, value in fields.items() if value is not None})  # type: ignore[arg-type]
    return path


def test_npz_by_environment(body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bends = np.random.default_rng(0).normal(size=(6890, 3, 207)).astype(np.float32) / 1000
    path = save_npz(tmp_path / "mine.npz", body, posedirs=bends)
    monkeypatch.setenv("LART_MINI_SMPL", str(path))
    mine = load_body()
    assert mine.name == "mine" and mine.vertex_ids["nose"] == 332  # no ids in the file: smplx's table
    pose = Rotation.random(48, random_state=1).as_matrix().reshape(2, 24, 3, 3)
    free_ids = Body(**{**vars(load_body(path)), "vertex_ids": body.vertex_ids})
    np.testing.assert_allclose(
        free_ids.points(pose, None, np.zeros((2, 3)), [3, 5, 900]),
        free_ids.vertices(pose, None, np.zeros((2, 3)))[:, [3, 5, 900]],
        atol=1e-5,
    )


@pytest.mark.parametrize(("changed", "field"), [
    ({"weights": None}, "weights"),
    ({"f": np.zeros((4, 2))}, "f"),
    ({"f": np.zeros((0, 3), np.int64)}, "f"),
    ({"shapedirs": np.zeros((5, 3, 10))}, "shapedirs"),
    ({"v_template": np.full((5, 3), np.nan)}, "v_template"),
])  # fmt: skip
def test_bad_fields_are_named(
    body: Body, tmp_path: Path, changed: dict[str, np.ndarray | None], field: str
) -> None:
    path = save_npz(tmp_path / "bad.npz", body, **changed)
    with pytest.raises(BadInput, match=f"bad.npz: {field}: expected"):
        load_body(path)


def test_a_body_without_ids_has_the_vertices_of_smplx_table(body: Body, tmp_path: Path) -> None:
    assert (
        load_body(save_npz(tmp_path / "good.npz", body, **smpl_fields(body, 6788)))
        .joints45(np.zeros((1, 24, 3, 3)))
        .any()
    )
    with pytest.raises(BadInput, match=r"bad.npz: vertex_ids: expected more than 6787 vert.* found 6787$"):
        load_body(save_npz(tmp_path / "bad.npz", body, **smpl_fields(body, 6787)))


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch ran",)


def test_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"v_template": Runs()}))
    with pytest.raises(BadInput, match=r"evil.pkl: pickle: .* found (posix|nt)\.system"):
        load_body(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["missing.npz", "empty.npz", "empty.pkl"])
def test_unreadable_files_are_named(tmp_path: Path, name: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadInput, match=f"{name}: file: expected"):
        load_body(tmp_path / name)


def test_import_needs_no_smplx() -> None:
    code = (
        "import sys; sys.modules['smplx'] = None; import lart_mini.people.body as body;"
        "body.load_body().joints45(body.np.zeros((1, 24, 3, 3)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
