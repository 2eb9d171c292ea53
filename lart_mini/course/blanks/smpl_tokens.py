"""Blanks of 02_smpl_tokens."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lart_mini.course.check import Blank, Slip, gives
from lart_mini.lart.tokens import stats_of
from lart_mini.people.body import PARENTS, forward_kinematics, load_body
from lart_mini.scenes.camera import Camera, film, look_at
from lart_mini.scenes.staging import Performance
from lart_mini.tracklets.tracklet import VECTOR_WIDTH, Tracklet

HERE = "02_smpl_tokens"
Array = NDArray[Any]


def _rodrigues(vector: Array) -> Array:
    """SciPy's: axis times angle (3,) -> rotation matrix (3, 3)."""
    return np.asarray(Rotation.from_rotvec(vector).as_matrix())


def _cross_matrix(vector: Array) -> Array:
    """K with K x = vector × x."""
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def _series(vector: Array, K: Array, square: Array) -> Array:
    angle = np.linalg.norm(vector)
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * square


def _joints_of(pose: Array, rest: Array, place: Array) -> Array:
    """`forward_kinematics` of one frame: (24, 3, 3), (24, 3), (3,) -> (24, 3)."""
    return forward_kinematics(pose[None], rest, place[None])[0]


def _poses() -> list[tuple[Array, Array, Array]]:
    """The rest pose, moved; then every joint turned."""
    rest, still = load_body().rest_joints(), np.tile(np.eye(3), (24, 1, 1))
    turned = Rotation.random(24, random_state=0).as_matrix()
    return [(still, rest, np.array([1.0, 0.9, -2.0])), (turned, rest, np.array([0.5, 0.0, 1.0]))]


def _chained(
    together: Callable[[Array, Array], Array], turning: Callable[[list[Array], Array, int], Array]
) -> Callable[[Array, Array, Array], Array]:
    """Joints where G_j is together(G_parent, R_j), and turning(G, pose, j) turns the bone to joint j."""

    def joints(pose: Array, rest: Array, place: Array) -> Array:
        G, x = [pose[0]], [place]
        for j, parent in list(enumerate(PARENTS))[1:]:
            G.append(together(G[parent], pose[j]))
            x.append(x[parent] + turning(G, pose, j) @ (rest[j] - rest[parent]))
        return np.stack(x)

    return joints


def _in_camera(pose: Array, place: Array, C: Array, position: Array) -> tuple[Array, Array]:
    """What `film` sees of one actor: pose (T, 24, 3, 3) and place (T, 3) in the camera's frame."""
    T = len(pose)
    nobody, there, still = np.zeros((T, 80), np.uint8), np.ones(T, bool), np.zeros(T, np.int64)
    actor = Performance(pose, place, nobody, there, np.zeros(10, np.float32), ("one",), still, still)
    camera = Camera(np.tile(C, (T, 1, 1)), position, 1000.0, (720, 1280))
    seen = film([actor], camera, load_body())[0]
    return seen.pose, seen.translation


def _cameras() -> list[tuple[Array, Array, Array, Array]]:
    """A camera at the origin; then one that stands elsewhere, and is turned more."""
    draw = np.random.default_rng(1)
    made = []
    for position, target in (((0, 0, 0), (0.2, 0.1, 4)), ((3, 1.5, -2), (-1, 0.5, 2))):
        pose = Rotation.random(3 * 24, random_state=2).as_matrix().reshape(3, 24, 3, 3)
        place = np.array(target) + draw.normal(0, 0.3, (3, 3))
        stands = np.array(position, float)
        made.append((pose, place, look_at(stands, np.array([target], float))[0].astype(float), stands))
    return made


def _turned(joints: slice, turn: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array, Array]]:
    """`_in_camera` where turn(C, rotations) changes the rotations of `joints`."""

    def other(pose: Array, place: Array, C: Array, position: Array) -> tuple[Array, Array]:
        seen = pose.copy()
        seen[:, joints] = turn(C, pose[:, joints])
        return seen, (place - position) @ C.T

    return other


class _Rows(SimpleNamespace):
    """As much of a tracklet as its person-vector is made of."""

    def __len__(self) -> int:
        return len(self.pose)


def _person_vectors(pose: Array, betas: Array, place: Array) -> Array:
    """`Tracklet.vector` of (T, 24, 3, 3), (T, 10), (T, 3) -> (T, 229)."""
    rows: Any = _Rows(pose=pose, betas=betas, translation=place, depth_unit=1.0)
    return Tracklet.vector(rows)


def _people() -> list[tuple[Array, Array, Array]]:
    """One frame; then four."""
    draw = np.random.default_rng(3)
    return [
        (draw.normal(size=(T, 24, 3, 3)), draw.normal(size=(T, 10)), draw.normal(size=(T, 3))) for T in (1, 4)
    ]


def _normalise_vectors(vectors: Array, detected: Array) -> Array:
    """`stats_of` one tracklet, and what it makes of all its rows: (T, 229), (T,) bool -> (T, 229)."""
    rows: Any = SimpleNamespace(detected=detected, vector=lambda: vectors)
    return stats_of([rows]).normalise(vectors)


def _rows() -> list[tuple[Array, Array]]:
    """Everybody seen; then gaps full of nonsense, and a number that never changes."""
    draw = np.random.default_rng(4)
    vectors = draw.normal(
        np.linspace(-2, 2, VECTOR_WIDTH), np.linspace(0.5, 3, VECTOR_WIDTH), (12, VECTOR_WIDTH)
    )
    gaps = np.arange(12) % 4 > 0
    odd = np.where(gaps[:, None], vectors, 9 * vectors + 5)
    odd[:, 7] = np.where(gaps, 0.25, 0.75)
    return [(vectors, np.ones(12, bool)), (odd, gaps)]


def _plainly(rows: Array, vectors: Array) -> Array:
    """Vectors normalised by mean and deviation of `rows`, those that never change left out."""
    std = rows.std(axis=0)
    return (vectors - rows.mean(axis=0)) / np.where(std < 1e-6, 1, std)


BLANKS = (
    Blank(
        "rodrigues",
        HERE,
        _rodrigues,
        lambda: [(np.array([0.3, -1.2, 0.5]),), (np.array([0, np.pi, 0]),), (np.zeros(3),)],
        (
            Slip(
                "it turns the other way round: K has to be the matrix with K x = u × x",
                gives(lambda vector: _rodrigues(vector).T),
            ),
            Slip(
                "K K is a product of matrices (@), not of their entries",
                gives(
                    lambda vector: _series(
                        vector, *(lambda K: (K, K * K))(_cross_matrix(vector / np.linalg.norm(vector)))
                    )
                ),
            ),
            Slip(
                "u is a unit axis: the vector has to be divided by its length, which is the angle",
                gives(lambda vector: _series(vector, *(lambda K: (K, K @ K))(_cross_matrix(vector)))),
            ),
            Slip(
                "no turn at all has no axis: zero is divided by zero",
                lambda got, wanted, vector: not vector.any() and bool(np.isnan(got).any()),
            ),
        ),
    ),
    Blank(
        "joints_of",
        HERE,
        _joints_of,
        _poses,
        (
            Slip(
                "the pelvis has to be at `place`: x_0 is given, and everything hangs on it",
                lambda got, wanted, pose, rest, place: bool(
                    np.allclose(got - got[0], wanted - wanted[0], atol=1e-4)
                ),
            ),
            Slip(
                "the bone to joint j is turned by its parent's G, not by its own",
                gives(_chained(np.matmul, lambda G, pose, j: G[j]), 1e-4),
            ),
            Slip(
                "the parent's local rotation R turns the bone here; it takes the whole chain, G",
                gives(_chained(np.matmul, lambda G, pose, j: pose[PARENTS[j]]), 1e-4),
            ),
            Slip(
                "G_j is G_parent R_j, in this order: the parent's frame is the one that R_j is told in",
                gives(_chained(lambda G, R: R @ G, lambda G, pose, j: G[PARENTS[j]]), 1e-4),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "in_camera",
        HERE,
        _in_camera,
        _cameras,
        (
            Slip(
                "all 24 rotations have been turned: only joint 0's is told in the world",
                gives(_turned(slice(None), lambda C, R: C @ R), 1e-4),
            ),
            Slip(
                "the orientation is turned from the left: C G_0",
                gives(_turned(slice(0, 1), lambda C, R: R @ C), 1e-4),
            ),
            Slip(
                "C has been transposed: its rows are the camera's axes, so x' = C (x - c)",
                gives(lambda pose, place, C, position: _in_camera(pose, place, C.T, position), 1e-4),
            ),
            Slip(
                "the camera's position is in the world: subtract it first, then turn",
                gives(
                    lambda pose, place, C, position: (
                        _in_camera(pose, place, C, position)[0],
                        place @ C.T - position,
                    ),
                    1e-4,
                ),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "person_vectors",
        HERE,
        _person_vectors,
        _people,
        (
            Slip(
                "this is equation 4's order; the files begin with the orientation, joint 0",
                lambda got, wanted, *_: bool(
                    np.allclose(np.roll(got[:, :216], 9, axis=1), wanted[:, :216], atol=1e-4)
                ),
            ),
            Slip(
                "shape and place have changed places: ten numbers of shape come first",
                gives(
                    lambda pose, betas, place: np.concatenate(
                        [_person_vectors(pose, betas, place)[:, :216], place, betas], axis=1
                    )
                ),
            ),
            Slip(
                "the matrices have been written column by column; they stand row by row",
                gives(lambda pose, betas, place: _person_vectors(pose.swapaxes(-1, -2), betas, place)),
            ),
        ),
    ),
    Blank(
        "normalise_vectors",
        HERE,
        _normalise_vectors,
        _rows,
        (
            Slip(
                "mean and deviation are one number for all 229: take them along the frames, axis 0",
                gives(
                    lambda vectors, detected: (vectors - vectors[detected].mean()) / vectors[detected].std(),
                    1e-3,
                ),
            ),
            Slip(
                "frames without a detection have been counted: what stands there means nothing",
                gives(lambda vectors, detected: _plainly(vectors, vectors), 1e-3),
            ),
            Slip(
                "a number that never changes was divided by its deviation, 0: it gets deviation 1",
                lambda got, wanted, *_: bool(
                    np.allclose(np.delete(got, 7, 1), np.delete(wanted, 7, 1), atol=1e-3)
                    and not np.allclose(got[:, 7], wanted[:, 7], atol=1e-3)
                ),
            ),
            Slip(
                "the mean is not subtracted",
                gives(
                    lambda vectors, detected: _plainly(
                        vectors[detected] - vectors[detected].mean(0), vectors
                    ),
                    1e-3,
                ),
            ),
        ),
        tolerance=1e-3,
    ),
)
