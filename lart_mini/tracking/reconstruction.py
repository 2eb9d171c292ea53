"""What HMR would make of a person: a body that looks right from the camera, and is wrong where none can see.

A reconstruction is fitted to a picture. So its limbs are wrong mostly in how far they reach to or from the
camera, and its place mostly in its distance; where joints stand in the picture is nearly true. A person half
hidden is given a mean pose for a while.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lart_mini.people.body import (
    JOINT_NAMES,
    PARENTS,
    Body,
    forward_kinematics,
    global_rotations,
    local_rotations,
)
from lart_mini.scenes.camera import Filmed
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.takes import Array
from lart_mini.tracking.faults import Faults, bursts, drift

MEMORY = 0.95  # of a frame's noise in the next one: half of it is gone after half a second
# The joint at the end of each joint's bone; of hands, feet and head that of the bone that ends in them.
ENDS = np.array([3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 10, 11, 15, 16, 17, 15, 18, 19, 20, 21, 22, 23, 22, 23])
STARTS = np.where(np.arange(24) == ENDS, PARENTS, np.arange(24))


def mean_pose() -> Array:
    """Local rotations (23,3,3) of joints 1…23 of somebody who stands, arms down."""
    angles = np.zeros((24, 3))
    angles[JOINT_NAMES.index("left_shoulder"), 2] = -1.2
    angles[JOINT_NAMES.index("right_shoulder"), 2] = 1.2
    return Rotation.from_rotvec(angles[1:]).as_matrix().astype(np.float32)


def reconstruct(scene: Scene, faults: Faults) -> list[tuple[Array, Array, Array]]:
    """Pose (T,24,3,3), shape (T,10) and place (T,3) of each actor of a scene, as HMR would give them."""
    hidden, bodies = scene.stream("mean poses"), scene.stream("bodies")
    found = []
    for person in scene.filmed:
        half = person.visible < faults.half_hidden
        fallen = half & bursts(hidden, faults.mean_pose_start * half, faults.mean_pose_stop)
        found.append(_fitted(bodies, person, fallen, scene.body, faults))
    return found


def _fitted(
    rng: np.random.Generator, person: Filmed, fallen: NDArray[np.bool_], body: Body, faults: Faults
) -> tuple[Array, Array, Array]:
    frames = len(person.pose)
    betas = person.betas + rng.normal(0, faults.betas_noise, 10).astype(np.float32)
    rest, own = body.rest_joints(betas), body.rest_joints(person.betas)
    sight = person.translation / np.linalg.norm(person.translation, axis=1, keepdims=True)
    pose = misjudged(rng, person.pose, own, sight, faults)

    true = forward_kinematics(person.pose, own, person.translation)
    place = placed_on_sight(forward_kinematics(pose, rest, np.zeros((frames, 3), np.float32)), true)
    place *= 1 + drift(rng, faults.depth_noise, frames, 1, memory=MEMORY)
    aside = drift(rng, faults.lateral_noise, frames, 3)
    place += aside - _along(aside, sight)
    pose[fallen, 1:] = mean_pose()
    return pose, np.tile(betas, (frames, 1)), place.astype(np.float32)


def misjudged(rng: np.random.Generator, pose: Array, rest: Array, sight: Array, faults: Faults) -> Array:
    """`pose` (T,24,3,3) with noise that leaves its picture nearly alone.

    `rest` (24,3) are the joints of the rest pose, `sight` (T,3) the unit vector from camera to person. A bone
    turns freely about itself, and about the axis across both itself and the line of sight, which brings its
    end nearer or farther. That axis is as long as the sine between the two: a bone that points at the camera
    does not turn about it. Of all other noise there is the share `across`.
    """
    frames = len(pose)
    turned = global_rotations(pose)
    bone = rest[ENDS] - rest[STARTS]
    bone /= np.linalg.norm(bone, axis=1, keepdims=True)
    bones = (turned[:, STARTS] @ bone[..., None])[..., 0]  # (T,24,3)
    angles = faults.pose_noise * drift(rng, 1, frames, 24, 3, memory=MEMORY)
    angles += faults.orientation_noise * drift(rng, 1, frames, 1, 3, memory=MEMORY)
    unseen = _along(angles, bones) + _along(angles, np.cross(sight[:, None], bones))
    angles = unseen + faults.across * (angles - unseen)
    noise = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(frames, 24, 3, 3)
    return local_rotations((noise @ turned).astype(np.float32))


def _along(vectors: Array, axes: Array) -> Array:
    """The part (…,3) of vectors along axes (…,3) of length 1; along a shorter axis its square times less."""
    return (vectors * axes).sum(axis=-1, keepdims=True) * axes


def placed_on_sight(joints: Array, true: Array) -> NDArray[np.float64]:
    """Where (T,3) to move `joints` (T,J,3) to come nearest to the lines of sight of the `true` ones (T,J,3).

    With P_j = I − d_j d_jᵀ, d_j the direction to a true joint, Σ |P_j (x_j + t)|² is least where
    (Σ P_j) t = −Σ P_j x_j.
    """
    ray = true / np.linalg.norm(true, axis=-1, keepdims=True).astype(np.float64)
    across = joints - _along(joints, ray)
    matrix = ray.shape[1] * np.eye(3) - np.einsum("tja,tjb->tab", ray, ray)
    return np.linalg.solve(matrix, -across.sum(axis=1)[..., None])[..., 0]
