"""Clothes: one actor's body dressed, as colours of its vertices and how far cloth stands off the skin.

A garment is a set of triangles, told by the joint they hang on and by their height in the rest pose. Colours
come from the scene's outfits, the same that the simulated detector sees; cut, skin and hair are drawn apart,
so that nothing here knows what anybody does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lart_mini.people.body import Body, forward_kinematics, global_rotations
from lart_mini.scenes.staging import Performance
from lart_mini.scenes.takes import Array

SKIN = (
    np.array([[255, 219, 186], [233, 190, 150], [198, 144, 101], [150, 101, 67], [98, 64, 43]], np.float32)
    / 255
)
HAIR = np.array(
    [[28, 22, 20], [60, 38, 22], [110, 72, 40], [190, 150, 90], [150, 150, 150], [120, 45, 25]], np.float32
) / 255  # fmt: skip
LEGS, TORSO, FEET, HEAD = (0, 1, 2, 4, 5), (0, 3, 6, 9, 13, 14), (7, 8, 10, 11), (12, 15)
LEFT_ARM, RIGHT_ARM = (16, 18, 20, 22), (17, 19, 21, 23)
Wear = Callable[[np.ndarray, np.ndarray, float], None]  # vertices, colour, and m off the skin
CALM = 0.3  # of the outfits' colours is mixed with grey: cloth is seldom as bright as paint


@dataclass(frozen=True, eq=False)
class Dressed:
    """An actor's mesh, ready to be posed frame by frame."""

    faces: np.ndarray  # (F,3) int32
    vertices: Array  # (V,3) rest pose, shaped, cloth and hair on
    normals: Array  # (V,3) of the rest pose
    colours: Array  # (V,3) RGB in [0, 1]
    joint: np.ndarray  # (V,) the joint that each vertex hangs on most
    weights: Array  # (V,24)
    transforms: Array  # (T,24,12) of each frame, for linear blend skinning
    joints: Array  # (T,24,3) m, world
    facing: Array  # (T,3,3) the pelvis' orientation in the world

    def posed(self, frame: int) -> tuple[Array, Array]:
        """Vertices (V,3) in the world and their normals (V,3) at a frame."""
        blended = (self.weights @ self.transforms[frame]).reshape(-1, 3, 4)
        turned = blended[..., :3]
        vertices = (turned * self.vertices[:, None]).sum(-1) + blended[..., 3]
        normals = (turned * self.normals[:, None]).sum(-1)
        return vertices, normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)


def dressed(rng: np.random.Generator, actor: Performance, body: Body, outfit: Array) -> Dressed:
    """The actor in clothes of the colours `outfit` (8,3), RGB of each of scene.PARTS."""
    corners = body.faces
    middle, hangs = body.v_template[corners].mean(axis=1), body.weights[corners].mean(axis=1).argmax(axis=1)
    skin, cloth, off = _outfit(rng, body, middle, hangs, outfit)  # of each triangle
    ease = np.zeros(len(body.v_template), np.float32)
    np.maximum.at(ease, corners.ravel(), np.repeat(off, 3))
    shaped = body.v_template + body.shapedirs @ actor.betas
    normals = vertex_normals(shaped, corners)
    rest = body.rest_joints(actor.betas)
    rotations = global_rotations(actor.pose)
    joints = forward_kinematics(actor.pose, rest, actor.translation)
    offsets = joints - np.einsum("tjab,jb->tja", rotations, rest)
    transforms = np.concatenate([rotations, offsets[..., None]], -1).reshape(-1, 24, 12)
    of, faces, colours = cut_out(np.clip(np.where(np.isnan(cloth), skin, cloth), 0, 1), corners)
    return Dressed(
        faces=faces,
        vertices=(shaped + normals * ease[:, None]).astype(np.float32)[of],
        normals=normals[of],
        colours=colours,
        joint=body.weights.argmax(axis=1).astype(np.int16)[of],
        weights=body.weights.astype(np.float32)[of],
        transforms=transforms.astype(np.float32),
        joints=joints.astype(np.float32),
        facing=rotations[:, 0].astype(np.float32),
    )


def cut_out(colours: Array, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, Array]:
    """Triangles each of one colour, so that no cloth runs into the next.

    colours: (F,3) · faces: (F,3). Gives for each new vertex (V',) the one it was, faces (F,3) of new ones,
    and their colours (V',3): where cloths meet, a vertex stands once for each.
    """
    cloths, own = np.unique(colours.astype(np.float32), axis=0, return_inverse=True)
    pairs = faces.astype(np.int64) * len(cloths) + own.reshape(-1, 1)
    kept, corners = np.unique(pairs, return_inverse=True)
    return kept // len(cloths), corners.reshape(faces.shape).astype(np.int32), cloths[kept % len(cloths)]


def vertex_normals(vertices: Array, faces: np.ndarray) -> Array:
    """Outward normals (V,3) of a mesh, each the mean of its faces' by their size."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    return (normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)).astype(np.float32)


def _outfit(
    rng: np.random.Generator, body: Body, template: Array, joint: np.ndarray, outfit: Array
) -> tuple[Array, Array, Array]:
    """Skin (3,), cloth and hair (F,3) with NaN where skin is bare, and how far it stands off (F,) m.

    template: (F,3) the triangles' middles in the rest pose · joint: (F,) what they hang on.
    """
    rest, surface = body.rest_joints(), {name: body.v_template[k] for name, k in body.vertex_ids.items()}
    height, aside = template[:, 1], np.abs(template[:, 0])
    head, chest, hips, left, _, _, _, feet = outfit * (1 - CALM) + outfit.mean(axis=1, keepdims=True) * CALM
    skin = SKIN[rng.integers(len(SKIN))] * np.float32(rng.uniform(0.92, 1.05))
    cloth = np.full((len(template), 3), np.nan, np.float32)
    ease = np.zeros(len(template), np.float32)

    def wear(where: np.ndarray, colour: np.ndarray, off: float) -> None:
        cloth[where], ease[where] = colour, off

    waist, knee, elbow = rest[0, 1] + 0.09, rest[4, 1], rest[18, 0]
    hem = rng.choice([knee - 1, knee + 0.08], p=[0.7, 0.3])  # trousers or shorts
    wear(np.isin(joint, LEGS) & (height < waist) & (height > hem), hips * 0.85, rng.uniform(0.008, 0.025))
    sleeve = rng.choice([rest[20, 0], elbow - 0.06, rest[16, 0] + 0.03], p=[0.45, 0.4, 0.15])
    torso = np.isin(joint, TORSO) & (height > waist - rng.choice([0.05, 0.12, 0.22], p=[0.5, 0.3, 0.2]))
    arms = np.isin(joint, LEFT_ARM + RIGHT_ARM) & (aside < sleeve)
    off = rng.uniform(0.006, 0.026)
    wear(torso | arms, chest, off)
    pattern = rng.integers(5)
    if pattern == 1:  # stripes
        wear((torso | arms) & (np.floor(height / 0.055).astype(int) % 2 == 0), left, off)
    elif pattern == 2:  # other sleeves
        wear(arms, left, off)
    elif pattern == 3:  # an open jacket
        wear(torso & (aside < 0.05) & (template[:, 2] > 0), left, off)
    wear(np.isin(joint, FEET), feet * 0.55, 0.006)
    _head(rng, template, surface["nose"], joint, head, wear)
    for eye in ("leye", "reye"):
        gap = np.linalg.norm(template - surface[eye], axis=1)
        cloth[gap < 0.012] = 0.07
    mouth = surface["nose"] - [0, 0.035, 0.012]
    lips = np.linalg.norm(template - mouth, axis=1) < 0.018
    cloth[lips] = skin * [0.82, 0.5, 0.5]
    return skin, cloth, ease


def _head(
    rng: np.random.Generator, template: Array, nose: Array, joint: np.ndarray, colour: np.ndarray, wear: Wear
) -> None:
    """Hair, short or down to the neck, or a cap."""
    up, behind = template[:, 1] - nose[1], nose[2] - template[:, 2]
    head = np.isin(joint, HEAD)
    fringe, nape = rng.uniform(0.075, 0.1), rng.choice([-0.01, -0.075], p=[0.55, 0.45])
    hair = HAIR[rng.integers(len(HAIR))] * rng.uniform(0.9, 1.1)
    scalp = head & ((up > fringe) | ((behind > 0.105) & (up > nape)))
    wear(scalp, hair, 0.012 if nape > -0.05 else 0.02)
    if rng.random() < 0.2:
        wear(head & (up > 0.085), colour, 0.018)
