"""What several test files make: tracklets, released files and a source of them, published weights."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor

from lart_mini.data.skeletons import Skeletons
from lart_mini.lart.tokens import Stats
from lart_mini.tracklets.released import write_released
from lart_mini.tracklets.tracklet import Tracklet

IDENTITY = Stats(np.zeros(229, np.float32), np.ones(229, np.float32))
WIDTH = 7  # of the appearance vectors in files
HEADS, HEAD_WIDTH = 2, 5  # of published weights


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


def of_smpl_size(fields: dict[str, np.ndarray], vertices: int = 6890) -> dict[str, np.ndarray]:
    """A body's fields under SMPL's names with as many vertices as SMPL, which smplx names by number."""
    rows = np.resize(np.arange(len(fields["v_template"])), vertices)
    return {
        name: array if name == "f" else array[:, rows] if name == "J_regressor" else array[rows]
        for name, array in fields.items()
    }


def scene(sizes: list[tuple[int, int]], keyframe: int = 150) -> list[Tracklet]:
    """Tracklets of one scene, from (first frame, length)."""
    people = []
    for track, (first, length) in enumerate(sizes):
        one = make_tracklet(length, seed=track + keyframe, track=track)
        name = f"ava-train_a_b-cdefghi_{keyframe:06d}_{track}_{length}"
        frame = np.arange(first, first + length)
        people.append(replace(one, name=name, keyframe=keyframe, frame=frame).validate())
    return people


def everywhere(tracklet: Tracklet) -> Tracklet:
    return replace(tracklet, detected=np.ones(len(tracklet), bool))


def changed(tracklet: Tracklet, field: str, row: int, value: object) -> Tracklet:
    array = getattr(tracklet, field).copy()
    array[row] = value
    return replace(tracklet, **{field: array})


def assert_same(a: Tracklet, b: Tracklet) -> None:
    for field in fields(Tracklet):
        left, right = getattr(a, field.name), getattr(b, field.name)
        assert type(left) is type(right), field.name
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right, err_msg=field.name)


# --------------------------------------------------------------------------------------- files as published


def published(rng: np.random.Generator, first: int, length: int, gaps: float = 0.3) -> dict[str, Any]:
    """A file's dict: float64, depths divided by 200 twice over, frames without a detection zero in places.

    Frame numbers run from `first`; about a share `gaps` of the frames has no detection, or no appearance.
    """
    detected = rng.random(length) >= gaps
    detected[rng.integers(length)] = True
    index = np.where(rng.random(length) < gaps, -1, np.arange(length) // 4 * 4)
    keys = np.unique(index[index >= 0])
    # Pseudo labels come with the appearance; ground truth does not.
    has_gt = np.where(index >= 0, rng.integers(0, 3, length), 2 * rng.integers(0, 2, length))
    place = rng.normal(size=(length, 3)) * [1, 1, 0.1]
    vector = np.concatenate([rng.normal(size=(length, 226)), place], axis=1)
    box = np.where(detected[:, None], rng.uniform(1, 99, (length, 4)), 0)
    return {
        "fid": np.arange(first, first + length, dtype=np.float64)[:, None, None],
        "pose_shape": vector[:, None],
        "3d_joints": rng.normal(size=(length, 1, 45, 3)).astype(np.float32),
        "camera": place[:, None].copy(),
        "camera_bbox": rng.normal(size=(length, 1, 3)),
        "action_label_gt": (rng.random((length, 1, 80)) < 0.05).astype(np.float64),
        "action_label_psudo": {key: rng.random((1, 80)).astype(np.float32) for key in keys},
        "has_gt": has_gt[:, None, None].astype(np.float64),
        "has_detection": detected[:, None, None].astype(np.float64),
        "apperance_index": index[:, None, None].astype(np.float64),
        "apperance_dict": {float(key): rng.normal(size=(1, WIDTH)).astype(np.float32) for key in keys},
        "frame_name": [f"video_{first + t:06d}.jpg" for t in range(length)],
        "frame_size": [np.array([240, 320]) * seen for seen in detected],
        "frame_bbox": list(box),
        "frame_conf": [np.array([rng.random()]) if seen else 0 for seen in detected],
    }


def write_published(content: dict[str, Any], folder: Path, track: int = 0, keyframe: int = 150) -> Path:
    """Dump a file's dict under a released name and return its path."""
    path = folder / f"ava-train_a_b-cdefghi_{keyframe:06d}_{track}_{len(content['frame_name'])}.pkl"
    joblib.dump(content, path)
    return path


def released_content(tmp_path: Path) -> tuple[Path, dict]:
    tracklet = make_tracklet(appearance=6)
    path = tmp_path / f"{tracklet.name}.pkl"
    write_released(tracklet, path)
    return path, joblib.load(path)


# -------------------------------------------------------------------------------------- a source of a store


def member(keyframe: int, track: int, first: int, length: int, appearance: int = WIDTH) -> Tracklet:
    one = make_tracklet(length, seed=100 * keyframe + track, track=track, appearance=appearance)
    name = f"ava-train_a_b-cdefghi_{keyframe:06d}_{track}_{length}"
    return replace(one, name=name, keyframe=keyframe, frame=np.arange(first, first + length)).validate()


def write_source(folder: Path) -> Path:
    """Scenes of our own and published files, with and without appearance, in folders; gives the root."""
    rng = np.random.default_rng(0)
    for keyframe, sizes in ((60, [(50, 20), (45, 30), (58, 9)]), (90, [(70, 25), (200, 12)])):
        for track, (first, length) in enumerate(sizes):
            tracklet = member(keyframe, track, first, length, appearance=0 if track == 1 else WIDTH)
            if track == 2:  # frame numbers with gaps
                tracklet = replace(tracklet, frame=tracklet.frame + np.arange(length) // 3)
            path = folder / str(track) / f"{tracklet.name}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_released(tracklet, path, compress=track == 0)
    (folder / "published").mkdir()
    for track in range(4):
        write_published(published(rng, 140 + track, 16 + track), folder / "published", track)
    own = published(rng, 140, 10) | {"camera": rng.normal(size=(10, 1, 3))}
    write_published(own, folder / "published", track=9)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


# ---------------------------------------------------------------------------------------- published weights


def make_weights(
    *,
    width: int = 16,
    depth: int = 2,
    heads: int = HEADS,
    head_width: int = HEAD_WIDTH,
    joints: int = 4,
    appearance: int = 5,
    classes: int = 60,
    table: tuple[int, int] = (20, 6),
    seed: int = 0,
) -> dict[str, Tensor]:
    """Random weights under the published names, the unused ones among them."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def put(name: str, *shape: int) -> None:
        weights[f"encoder.{name}"] = torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    def linear(name: str, inputs: int, outputs: int) -> None:
        put(f"{name}.weight", outputs, inputs)
        put(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        put(f"{name}.weight", width)
        weights[f"encoder.{name}.weight"] += 1
        put(f"{name}.bias", width)

    put("mask_token", width)
    put("class_token", 1, 1, width)
    put("pos_embedding", width, *table)
    weights["encoder.pe"] = weights["encoder.pos_embedding"]
    inner, pose = heads * head_width, width - (4 if joints else 0) - (6 if appearance else 0)
    for layer in range(depth):
        name = f"transformer.layers.{layer}"
        norm(f"{name}.0.norm")
        put(f"{name}.0.fn.to_qkv.weight", 3 * inner, width)
        linear(f"{name}.0.fn.to_out.0", inner, width)
        norm(f"{name}.1.norm")
        linear(f"{name}.1.fn.net.0", width, 12)
        linear(f"{name}.1.fn.net.3", 12, width)
    linear("pose_shape_encoder.0", 229, 11)
    linear("pose_shape_encoder.2", 11, pose)
    for encoder, inputs, outputs in (
        ("joint_encoder", 135 * bool(joints), 4),
        ("apperance_encoder", appearance, 6),
    ):
        if inputs:
            for layer, sizes in zip((0, 2, 4), ((inputs, 7), (7, 8), (8, outputs)), strict=True):
                linear(f"{encoder}.{layer}", *sizes)
    linear("action_head_ava.0.0", width, classes)
    for unused in ("conv_en", "conv_de", "smpl_head.0.decpose", "loca_head.0.0", "action_head_kinetics.4"):
        linear(unused, 3, 3)
    weights["smpl.faces_tensor"] = torch.zeros(2, 3, dtype=torch.int64)
    return weights


def write_weights(path: Path, weights: dict[str, Any], **beside: Any) -> Path:
    torch.save({"state_dict": OrderedDict(weights), "epoch": 3, **beside}, path)
    return path


def walkers(frames: int = 60, apart: float = 300.0, seed: int = 0) -> Skeletons:
    """Two people who cross the picture side by side, some frames without either."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(frames), 2)
    person = np.tile([0, 1], frames)
    box = np.stack([50 + 4 * frame + apart * person, 100 + 0 * frame, 80 + 0 * frame, 200 + 0 * frame], 1)
    kept = rng.random(len(frame)) < 0.85
    keypoint = rng.normal(0, 20, (len(frame), 17, 2)) + (box[:, :2] + box[:, 2:] / 2)[:, None]
    made = Skeletons(
        frame=frame,
        box=box.astype(np.float32),
        keypoint=keypoint.astype(np.float32),
        score=rng.uniform(0.2, 1, (len(frame), 17)).astype(np.float32),
        frame_size=np.array([720, 1280]),
        person=person,
        video="two_walkers",
    )
    return rows_of(made, kept)


def rows_of(skeletons: Skeletons, rows: np.ndarray) -> Skeletons:
    per_row = ("frame", "box", "keypoint", "score", "person")
    return replace(skeletons, **{name: getattr(skeletons, name)[rows] for name in per_row})
