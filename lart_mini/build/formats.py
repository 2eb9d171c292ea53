"""Readers of motion-capture files (BVH, DeepMimic's json, Collada) into one form: joints that turn and move.

Every reader gives y up, the actor of the rest pose facing +z with the left side at +x: SMPL's axes.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from lart_mini.files import BadInput


@dataclass(frozen=True, eq=False)
class Motion:
    """T frames of a skeleton of J joints in the world, in the file's own unit of length."""

    names: list[str]  # J
    rotations: np.ndarray  # (T,J,3,3)
    positions: np.ndarray  # (T,J,3)
    rest_rotations: np.ndarray  # (J,3,3) in the rest pose
    rest_positions: np.ndarray  # (J,3)
    times: np.ndarray  # (T,) seconds from the first frame


def _chain(local: np.ndarray, offsets: np.ndarray, parents: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations (T,J,3,3) and offsets (T,J,3) -> rotations and places in the world."""
    rotations, positions = local.copy(), offsets.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            rotations[:, joint] = rotations[:, parent] @ local[:, joint]
            turned = np.einsum("tab,tb->ta", rotations[:, parent], offsets[:, joint])
            positions[:, joint] = positions[:, parent] + turned
    return rotations, positions


@dataclass
class _Skeleton:
    names: list[str]
    parents: list[int]
    offsets: list[list[float]]
    channels: list[list[str]]


def _bvh_skeleton(lines: list[str]) -> _Skeleton:
    skeleton, open_joints, in_end = _Skeleton([], [], [], []), [-1], False
    for line in lines:
        words = line.split() or [""]
        if words[0] in ("ROOT", "JOINT"):
            skeleton.names.append(words[1])
            skeleton.parents.append(open_joints[-1])
            skeleton.channels.append([])
        elif words[0] == "End":
            in_end = True
        elif words[0] == "{":
            open_joints.append(len(skeleton.names) - 1)
        elif words[0] == "}":
            open_joints.pop()
            in_end = False
        elif words[0] == "OFFSET" and not in_end:
            skeleton.offsets.append([float(word) for word in words[1:4]])
        elif words[0] == "CHANNELS":
            skeleton.channels[-1] = words[2:]
    return skeleton


def read_bvh(text: str, file: str) -> Motion:
    """A BVH file. Its zero pose is the rest pose; its channels multiply in the order in which they stand."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.strip() == "MOTION"]
    if len(starts) != 1:
        raise BadInput(file, "MOTION", "one such line", len(starts))
    skeleton = _bvh_skeleton(lines[: starts[0]])
    frame_count, step = int(lines[starts[0] + 1].split()[1]), float(lines[starts[0] + 2].split()[2])
    rows = [line.split() for line in lines[starts[0] + 3 :] if line.strip()][:frame_count]
    width = sum(len(channels) for channels in skeleton.channels)
    if not rows or {len(row) for row in rows} != {width}:
        raise BadInput(file, "MOTION", f"{frame_count} rows of {width} numbers", f"{len(rows)} rows")
    values, joints = np.array(rows, float), len(skeleton.names)
    offsets = np.tile(np.array(skeleton.offsets), (len(values), 1, 1))
    local = np.tile(np.eye(3), (len(values), joints, 1, 1))
    column = 0
    for joint, channels in enumerate(skeleton.channels):
        for channel in channels:
            if channel.endswith("position"):
                offsets[:, joint, "XYZ".index(channel[0])] = values[:, column]
            else:
                turn = Rotation.from_euler(channel[0].lower(), values[:, column, None], degrees=True)
                local[:, joint] = local[:, joint] @ turn.as_matrix()
            column += 1
    rotations, positions = _chain(local, offsets, skeleton.parents)
    still = np.array(skeleton.offsets)[None]
    still[:, 0] = 0
    rest_rotations, rest_positions = _chain(np.tile(np.eye(3), (1, joints, 1, 1)), still, skeleton.parents)
    return Motion(
        skeleton.names,
        rotations,
        positions,
        rest_rotations[0],
        rest_positions[0],
        step * np.arange(len(values)),
    )


# DeepMimic's columns after time step and root place: joint, number of values (4: quaternion wxyz, 1: angle),
# parent, and the joint's place relative to its parent in metres (Peng et al. 2018, the humanoid3d character),
# SMPL axes.
_DEEPMIMIC = (
    ("root", 4, "", (0.0, 0.0, 0.0)),
    ("chest", 4, "root", (0.0, 0.236151, 0.0)),
    ("neck", 4, "chest", (0.0, 0.223894, 0.0)),
    ("right_hip", 4, "root", (-0.084887, 0.0, 0.0)),
    ("right_knee", 1, "right_hip", (0.0, -0.421546, 0.0)),
    ("right_ankle", 4, "right_knee", (0.0, -0.409870, 0.0)),
    ("right_shoulder", 4, "chest", (-0.18311, 0.2435, -0.02405)),
    ("right_elbow", 1, "right_shoulder", (0.0, -0.274788, 0.0)),
    ("left_hip", 4, "root", (0.084887, 0.0, 0.0)),
    ("left_knee", 1, "left_hip", (0.0, -0.421546, 0.0)),
    ("left_ankle", 4, "left_knee", (0.0, -0.409870, 0.0)),
    ("left_shoulder", 4, "chest", (0.18311, 0.2435, -0.02405)),
    ("left_elbow", 1, "left_shoulder", (0.0, -0.274788, 0.0)),
)
_TO_SMPL = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]], float)  # DeepMimic: x forward, y up, z right


def read_deepmimic(text: str, file: str) -> Motion:
    """A DeepMimic humanoid clip (json, 44 columns). Rest pose: standing, arms hanging. Unit: metres.

    The bend of the chest is shared out over three joints spine1…3, that of the neck over neck and head;
    wrists are added, which hold still, so that the forearm has a direction.
    """
    frames = np.array(json.loads(text)["Frames"], float)
    if frames.ndim != 2 or frames.shape[1] != 44:
        raise BadInput(file, "Frames", "44 columns", frames.shape)
    turns: dict[str, Rotation] = {}
    column = 4
    for name, size, _, _ in _DEEPMIMIC:
        block = frames[:, column : column + size]
        # One-angle joints turn about DeepMimic's z axis.
        turn = (
            Rotation.from_rotvec(block * [0.0, 0.0, 1.0])
            if size == 1
            else Rotation.from_quat(block[:, [1, 2, 3, 0]])
        )
        turns[name] = Rotation.from_matrix(_TO_SMPL @ turn.as_matrix() @ _TO_SMPL.T)
        column += size
    third = Rotation.from_rotvec(turns["chest"].as_rotvec() / 3)
    half = Rotation.from_rotvec(turns["neck"].as_rotvec() / 2)
    still = Rotation.identity(len(frames))
    turns |= {
        "spine1": third,
        "spine2": third,
        "chest": third,
        "neck": half,
        "head": half,
        "right_wrist": still,
        "left_wrist": still,
    }
    rows = [
        _DEEPMIMIC[0],
        ("spine1", 4, "root", (0.0, 0.08, 0.0)),
        ("spine2", 4, "spine1", (0.0, 0.08, 0.0)),
        ("chest", 4, "spine2", (0.0, 0.076151, 0.0)),
        *_DEEPMIMIC[2:],
        ("head", 4, "neck", (0.0, 0.1, 0.0)),
        ("right_wrist", 4, "right_elbow", (0.0, -0.258947, 0.0)),
        ("left_wrist", 4, "left_elbow", (0.0, -0.258947, 0.0)),
    ]
    names = [row[0] for row in rows]
    parents = [names.index(row[2]) if row[2] else -1 for row in rows]
    offsets = np.tile(np.array([row[3] for row in rows], float), (len(frames), 1, 1))
    rest = _chain(np.tile(np.eye(3), (1, len(names), 1, 1)), offsets[:1], parents)
    offsets[:, 0] = frames[:, 1:4] @ _TO_SMPL.T
    local = np.stack([turns[name].as_matrix() for name in names], 1)
    times = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    return Motion(names, *_chain(local, offsets, parents), rest[0][0], rest[1][0], times)


def _floats(element: ElementTree.Element | None) -> np.ndarray:
    return np.array((element.text or "").split() if element is not None else [], float)


def _keys(root: ElementTree.Element) -> dict[str, np.ndarray]:
    """Animated nodes of a Collada file: name -> local matrices (T,4,4)."""
    arrays = {source.get("id", ""): _floats(source.find("float_array")) for source in root.iter("source")}
    outputs = {
        sampler.get("id", ""): entry.get("source", "")[1:]
        for sampler in root.iter("sampler")
        for entry in sampler.iter("input")
        if entry.get("semantic") == "OUTPUT"
    }
    return {
        channel.get("target", "").split("/")[0]: arrays[outputs[channel.get("source", "")[1:]]].reshape(
            -1, 4, 4
        )
        for channel in root.iter("channel")
    }


def _bind_pose(root: ElementTree.Element) -> dict[str, np.ndarray]:
    """World matrices (4,4) of the joints in the pose in which the skin was bound to them: the rest pose."""
    skin = next(root.iter("skin"))
    sources = {source.get("id", ""): source for source in skin.findall("source")}
    inputs = {
        entry.get("semantic"): sources[entry.get("source", "")[1:]] for entry in skin.findall("joints/input")
    }
    names = (inputs["JOINT"].findtext("Name_array") or "").split()
    return dict(
        zip(
            names,
            np.linalg.inv(_floats(inputs["INV_BIND_MATRIX"].find("float_array")).reshape(-1, 4, 4)),
            strict=True,
        )
    )


def read_dae(text: str, file: str, frames_per_second: float, hips: tuple[str, str]) -> Motion:
    """A Collada file of gazebo's actors: 4×4 matrices per joint and key, z up, metres.

    The keys' own times are not the capture's (they say 24 a second where CMU captured 120), so the rate is
    given. The files' bind poses face different ways: each is turned until the left of its `hips` is at +x.
    """
    root = ElementTree.fromstring(text.replace(' xmlns="', ' skipped="', 1))
    keys, bind = _keys(root), _bind_pose(root)
    frame_count = max(len(matrices) for matrices in keys.values())
    world: dict[str, np.ndarray] = {}

    def visit(node: ElementTree.Element, parent: np.ndarray) -> None:
        name = node.get("id", "")
        if node.get("type") == "JOINT":
            own = keys.get(name, _floats(node.find("matrix")).reshape(-1, 4, 4))
            parent = world[name] = parent @ np.broadcast_to(own, (frame_count, 4, 4))
        for child in node.findall("node"):
            visit(child, parent)

    scene = root.find("library_visual_scenes/visual_scene")
    if scene is None:
        raise BadInput(file, "visual_scene", "one", "none")
    for node in scene.findall("node"):
        visit(node, np.eye(4))
    names = [name for name in world if name in bind]
    turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)  # z up -> y up
    moving, still = np.stack([world[name] for name in names], 1), np.stack([bind[name] for name in names])
    left, right = (turn @ still[names.index(hip), :3, 3] for hip in hips)
    heading = np.arctan2(left[2] - right[2], left[0] - right[0])
    ahead = Rotation.from_rotvec([0, heading, 0]).as_matrix() @ turn  # of the bind pose alone
    return Motion(
        names,
        turn @ moving[..., :3, :3],
        moving[..., :3, 3] @ turn.T,
        ahead @ still[:, :3, :3],
        still[:, :3, 3] @ ahead.T,
        np.arange(frame_count) / frames_per_second,
    )
