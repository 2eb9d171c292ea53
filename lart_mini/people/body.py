"""The body: an SMPL-shaped skinned mesh that turns pose, shape and place into joints and vertices.

LART reads people as SMPL parameters (LART paper, section 3; SMPL: Loper et al. 2015): 24 rotations, 10 shape
numbers and a place. The kit ships a free body in SMPL's own format (data_samples/README.md); the environment
variable LART_MINI_SMPL names a licensed SMPL file (.npz or .pkl) to use in its stead.

Rest pose: a T-pose facing +z, y up, left = +x, metres. Rotations are 3×3 matrices that act on column vectors.
"""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lart_mini.files import BadInput, optional, shipped
from lart_mini.people.smpl_file import read_smpl_file
from lart_mini.reading.text import parse_json

JOINT_NAMES: tuple[str, ...] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hand", "right_hand",
)  # fmt: skip
PARENTS: np.ndarray = np.array(
    [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
)
PARENTS.flags.writeable = False

# The vertices that smplx appends to the 24 joints, in its order: they become joints 24…44 of its output.
SURFACE_NAMES: tuple[str, ...] = (
    "nose", "reye", "leye", "rear", "lear", "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
    *(side + finger for side in "lr" for finger in ("thumb", "index", "middle", "ring", "pinky")),
)  # fmt: skip
# OpenPose's 25 joints as places in smplx's 45 (24 joints, then SURFACE_NAMES).
OPENPOSE: tuple[int, ...] = (24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, *range(25, 35))
HEAD_TOP = -1  # stands for the highest vertex of the head in EXTRA
# The 19 joints that follow in the released files: right ankle, knee, hip, left hip, knee, ankle, right wrist,
# elbow, shoulder, left shoulder, elbow, wrist, neck, head top, pelvis, thorax, spine, jaw, head. Their
# released regressor is not free, so each is the nearest SMPL joint here (head top and head: a vertex). This
# is our choice.
EXTRA: tuple[int, ...] = (8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20, 12, HEAD_TOP, 0, 12, 6, 15, HEAD_TOP)
FREE_BODY: Path = shipped("data_samples") / "body" / "free_body.npz"
_CHUNK = 2048  # frames skinned at once: keeps the temporary arrays in the tens of megabytes


def global_rotations(pose: np.ndarray) -> np.ndarray:
    """Local rotations (…,24,3,3), each relative to its parent joint -> relative to the world, same shape."""
    rotations = np.array(pose)
    for joint in range(1, 24):
        rotations[..., joint, :, :] = rotations[..., PARENTS[joint], :, :] @ rotations[..., joint, :, :]
    return rotations


def local_rotations(rotations: np.ndarray) -> np.ndarray:
    """The inverse of `global_rotations`: world (…,24,3,3) -> relative to the parent joint, same shape."""
    pose = np.array(rotations)
    parents = np.swapaxes(rotations[..., PARENTS[1:], :, :], -1, -2)
    pose[..., 1:, :, :] = parents @ rotations[..., 1:, :, :]
    return pose


def forward_kinematics(pose: np.ndarray, rest_joints: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Pose (T,24,3,3), rest_joints (24,3) or (T,24,3), translation (T,3) -> (T,24,3), metres.

    Joint 0 (the pelvis) lands on `translation`; each other joint is its parent plus the rest bone, turned
    with the parent (SMPL paper, equation 3).
    """
    return _placed(global_rotations(pose), np.asarray(rest_joints), np.asarray(translation))


def _placed(rotations: np.ndarray, rest_joints: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """`forward_kinematics` of rotations relative to the world."""
    bones = rest_joints[..., 1:, :] - rest_joints[..., PARENTS[1:], :]
    steps = (rotations[:, PARENTS[1:]] @ bones[..., None])[..., 0]
    joints = np.empty((*rotations.shape[:2], 3), np.result_type(rotations, rest_joints, translation))
    joints[:, 0] = translation
    for joint in range(1, 24):
        joints[:, joint] = joints[:, PARENTS[joint]] + steps[:, joint - 1]
    return joints


@dataclass(frozen=True, eq=False)
class Body:
    """A body model in SMPL's format: V vertices, F triangles, 24 joints, 10 shape numbers; metres."""

    name: str
    v_template: np.ndarray  # (V,3) mean shape in the rest pose
    shapedirs: np.ndarray  # (V,3,10) movement of each vertex by each shape number
    posedirs: np.ndarray  # (V,3,207) movement by pose; zero in the free body
    joint_regressor: np.ndarray  # (24,V) joints as weighted means of vertices
    weights: np.ndarray  # (V,24) skinning weights, rows sum to 1
    faces: np.ndarray  # (F,3) vertex numbers
    vertex_ids: dict[str, int]  # named surface points, smplx's names

    @cached_property
    def _rest(self) -> tuple[np.ndarray, np.ndarray]:
        regressor = self.joint_regressor.astype(np.float64)
        directions = np.tensordot(regressor, self.shapedirs.astype(np.float64), 1)  # (24,3,10)
        return (regressor @ self.v_template).astype(np.float32), directions.astype(np.float32)

    @cached_property
    def head_top(self) -> int:
        """The highest vertex of the head in the rest pose."""
        return int(np.where(self.weights[:, 15] > 0.5, self.v_template[:, 1], -np.inf).argmax())

    @cached_property
    def _bends(self) -> bool:
        return bool(np.any(self.posedirs))

    def rest_joints(self, betas: np.ndarray | None = None) -> np.ndarray:
        """Joints of the rest pose: betas (…,10), None for zeros -> (…,24,3) metres."""
        template, directions = self._rest
        if betas is None:
            return template.copy()
        return template + np.tensordot(np.asarray(betas, np.float32), directions, (-1, -1))

    def points(
        self,
        pose: np.ndarray,
        betas: np.ndarray | None,
        translation: np.ndarray,
        vertices: np.ndarray | list[int],
    ) -> np.ndarray:
        """n chosen vertices: pose (T,24,3,3), betas (10,) or (T,10), translation (T,3) -> (T,n,3) metres.

        The same linear blend skinning as in `vertices` without the rest of the mesh; the pelvis is at
        `translation`.
        """
        pose, translation = np.asarray(pose, np.float32), np.asarray(translation, np.float32)
        frames, chosen = len(pose), np.asarray(vertices, np.int64)
        betas = _per_frame(betas, frames)
        out = np.empty((frames, len(chosen), 3), np.float32)
        for start in range(0, frames, _CHUNK):
            part = slice(start, start + _CHUNK)
            out[part] = self._skin(pose[part], betas[part], translation[part], chosen)
        return out

    def _skin(
        self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray, chosen: np.ndarray
    ) -> np.ndarray:
        rest = self.rest_joints(betas)  # (T,24,3)
        rotations = global_rotations(pose)
        joints = _placed(rotations, rest, translation)
        # A vertex v that hangs on joint j alone goes to R v + offset.
        offsets = joints - np.einsum("tjab,tjb->tja", rotations, rest)
        shaped = self.v_template[chosen] + np.tensordot(betas, self.shapedirs[chosen], (-1, -1))  # (T,n,3)
        if self._bends:
            feature = (pose[:, 1:] - np.eye(3, dtype=np.float32)).reshape(len(pose), 207)
            shaped = shaped + np.tensordot(feature, self.posedirs[chosen], (-1, -1))
        transforms = np.concatenate([rotations, offsets[..., None]], -1).reshape(len(pose), 24, 12)
        blended = (self.weights[chosen] @ transforms).reshape(len(pose), len(chosen), 3, 4)
        return np.einsum("tnab,tnb->tna", blended[..., :3], shaped) + blended[..., 3]

    def joints45(self, pose: np.ndarray, betas: np.ndarray | None = None) -> np.ndarray:
        """The 45 joints of a released tracklet: pose (T,24,3,3), betas (10,) or (T,10) -> (T,45,3) metres.

        25 OpenPose joints, 19 extra ones (see EXTRA) and one row of zeros. The pelvis stays at its rest
        place, as in the released `3d_joints`: a body that is turned but not moved.
        """
        pose = np.asarray(pose, np.float32)
        rest = np.broadcast_to(self.rest_joints(betas), (len(pose), 24, 3))
        joints = forward_kinematics(pose, rest, rest[:, 0])
        surface = [self.vertex_ids[name] for name in SURFACE_NAMES[:11]] + [self.head_top]
        skinned = self.points(pose, betas, rest[:, 0], surface)
        everything = np.concatenate([joints, skinned], 1)  # (T,24+11+1,3): HEAD_TOP = -1 is its last row
        order = list(OPENPOSE) + list(EXTRA)
        return np.concatenate([everything[:, order], np.zeros_like(joints[:, :1])], 1)

    def smplx(self) -> Any:
        """The `smplx.SMPL` layer of this body, built from the arrays (no file, no pickle).

        Raises BadInput where smplx is not installed.
        """
        smplx = optional("smplx", "smplx", "the mesh")
        arrays = smplx.utils.Struct(
            v_template=self.v_template,
            shapedirs=self.shapedirs,
            posedirs=self.posedirs,
            J_regressor=self.joint_regressor,
            weights=self.weights,
            f=self.faces.astype(np.int64),
            kintree_table=np.stack([PARENTS, np.arange(24)]),
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a warning about 10 shape numbers
            return smplx.SMPL(model_path="", data_struct=arrays, vertex_ids=self.vertex_ids, num_betas=10)

    @cached_property
    def _layer(self) -> Any:
        return self.smplx()

    def vertices(self, pose: np.ndarray, betas: np.ndarray | None, translation: np.ndarray) -> np.ndarray:
        """Mesh through smplx: pose (T,24,3,3), betas (10,) or (T,10), translation (T,3) -> (T,V,3) metres.

        The pelvis joint lands on `translation` (smplx alone would add it to the pelvis' rest place).
        """
        import torch

        frames = len(pose)
        betas = _per_frame(betas, frames)
        move = np.asarray(translation, np.float32) - self.rest_joints(betas)[:, 0]
        rotations = torch.tensor(np.array(pose, np.float32))
        with torch.no_grad():
            posed = self._layer(
                betas=torch.tensor(np.array(betas, np.float32)),
                global_orient=rotations[:, :1],
                body_pose=rotations[:, 1:],
                transl=torch.as_tensor(move),
                pose2rot=False,
            )
        return posed.vertices.numpy()

    def spread(self, count: int = 120) -> np.ndarray:
        """Vertex numbers (count,) spread over the body by farthest-point choice; always the same."""
        template = self.v_template
        return np.array(_spread(template.tobytes(), template.dtype.str, self.head_top, count))


@lru_cache(maxsize=8)  # by content: a process that composes is handed the body anew with every scene
def _spread(template: bytes, kind: str, first: int, count: int) -> tuple[int, ...]:
    vertices, chosen = np.frombuffer(template, kind).reshape(-1, 3), [first]
    distance = np.full(len(vertices), np.inf)
    for _ in range(count - 1):
        gap = np.linalg.norm(vertices - vertices[chosen[-1]], axis=1)
        distance = np.minimum(distance, gap)
        chosen.append(int(distance.argmax()))
    return tuple(chosen)


def _per_frame(betas: np.ndarray | None, frames: int) -> np.ndarray:
    """Shape numbers (10,), (T,10) or None for zeros -> (T,10) float32."""
    return np.broadcast_to(np.asarray(0 if betas is None else betas, np.float32), (frames, 10))


def load_body(path: str | Path | None = None) -> Body:
    """Read a body: `path`, else the file that LART_MINI_SMPL names, else the free body of data_samples/body.

    An .npz is read without pickles; an official SMPL .pkl by a reader that admits arrays only. Raises
    BadInput naming file and field when a field is missing, has a wrong shape, or is anything but an array.
    """
    chosen = Path(path or os.environ.get("LART_MINI_SMPL") or FREE_BODY)
    fields = read_smpl_file(chosen)
    own = "vertex_ids" in fields
    vertex_ids = _vertex_ids(chosen, fields) if own else _smplx_vertex_ids(chosen, fields)
    return Body(
        name=chosen.stem,
        v_template=fields["v_template"],
        shapedirs=fields["shapedirs"],
        posedirs=fields["posedirs"],
        joint_regressor=fields["J_regressor"],
        weights=fields["weights"],
        faces=fields["f"],
        vertex_ids=vertex_ids,
    )


def _vertex_ids(path: Path, fields: dict[str, Any]) -> dict[str, int]:
    """The file's own table of named vertices, as JSON."""
    named, count = parse_json(str(fields["vertex_ids"]), path, "vertex_ids"), len(fields["v_template"])
    expected = f"names of surface points, each with its vertex from 0 to {count - 1}"
    if not isinstance(named, dict):
        raise BadInput(path, "vertex_ids", expected, type(named).__name__)
    missing = sorted(set(SURFACE_NAMES[:11]) - named.keys())
    if missing:
        raise BadInput(path, "vertex_ids", expected, f"no {', '.join(missing)}")
    for name, vertex in named.items():
        if type(vertex) is not int or not 0 <= vertex < count:
            raise BadInput(path, "vertex_ids", expected, f"{name}: {vertex!r}")
    return named


def _smplx_vertex_ids(path: Path, fields: dict[str, Any]) -> dict[str, int]:
    """smplx's table of named vertices, for a file without one of its own."""
    tables = optional("smplx.vertex_ids", "smplx", "the vertices of a mesh").vertex_ids
    named = dict(tables["smplh"])  # SMPL and SMPL-H share their 6,890 vertices
    last, count = max(named.values()), len(fields["v_template"])
    if last >= count:
        raise BadInput(path, "vertex_ids", f"more than {last} vertices, or an .npz's own table", count)
    return named
