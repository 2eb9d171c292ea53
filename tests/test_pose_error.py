"""MPJPE and P-MPJPE against literal versions, scipy's Kabsch turn, and what geometry asks of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from lart_mini.evaluation.pose_error import align, heading_error, mpjpe, p_mpjpe
from lart_mini.files import BadInput

SEEDS = st.integers(0, 2**32 - 1)


def poses(seed: int, count: int = 4, noise: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 0.4, (count, 17, 3))
    return truth + rng.normal(0, noise, truth.shape), truth


def literal_mpjpe(found: np.ndarray, truth: np.ndarray) -> float:
    """One pose, joint by joint, in mm."""
    total = 0.0
    for j in range(len(found)):
        gap = [(found[j, k] - found[0, k]) - (truth[j, k] - truth[0, k]) for k in range(3)]
        total += (gap[0] ** 2 + gap[1] ** 2 + gap[2] ** 2) ** 0.5
    return 1000 * total / len(found)


def literal_align(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """scipy's best turn (Kabsch, no mirror), then the best scale along it."""
    a, b = found - found.mean(0), truth - truth.mean(0)
    turned = Rotation.align_vectors(b, a)[0].apply(a)
    return turned * (turned * b).sum() / (turned**2).sum() + truth.mean(0)


@settings(max_examples=30)
@given(SEEDS)
def test_equal_to_literal_versions(seed: int) -> None:
    found, truth = poses(seed)
    assert np.allclose(mpjpe(found, truth), [literal_mpjpe(*pair) for pair in zip(found, truth, strict=True)])
    moved = np.stack([literal_align(*pair) for pair in zip(found, truth, strict=True)])
    assert np.allclose(align(found, truth), moved, atol=1e-6)


@settings(max_examples=30)
@given(SEEDS)
def test_equal_to_scipys_procrustes_where_no_mirror_helps(seed: int) -> None:
    found, truth = poses(seed, 1, noise=0.05)  # so near that the best orthogonal map is a turn
    _, _, disparity = procrustes(truth[0], found[0])  # squares left over, of a truth of unit size
    size = np.square(truth[0] - truth[0].mean(0)).sum()
    assert np.square(align(found, truth)[0] - truth[0]).sum() / size == pytest.approx(disparity, rel=1e-6)


@settings(max_examples=30)
@given(SEEDS, st.floats(0.2, 5))
def test_p_mpjpe_forgives_a_similarity_and_no_mirror(seed: int, scale: float) -> None:
    found, truth = poses(seed)
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    moved = scale * found @ turn.T + [1, -2, 3]
    assert np.allclose(p_mpjpe(moved, truth), p_mpjpe(found, truth), atol=1e-6)
    assert p_mpjpe(scale * truth @ turn.T, truth).max() < 1e-6
    assert p_mpjpe(truth * [-1, 1, 1], truth).min() > 50
    # The two means differ in norm: squares are what the similarity makes least.
    assert (np.square(align(found, truth) - truth).sum((1, 2)) <= np.square(found - truth).sum((1, 2))).all()


def test_mpjpe_is_about_the_hip() -> None:
    found, truth = poses(0)
    assert np.allclose(mpjpe(found + 7, truth - 3), mpjpe(found, truth))
    off = truth.copy()
    off[:, 3, 1] += 0.17
    assert np.allclose(mpjpe(off, truth), 10)  # 170 mm in one of 17 joints


@pytest.mark.parametrize("degrees", [-170, -90, -10, 0, 35, 179])
def test_heading(degrees: float) -> None:
    _, truth = poses(1)
    turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    assert np.allclose(heading_error(truth @ turn.T, truth, (4, 1)), abs(degrees), atol=1e-6)
    assert np.allclose(heading_error(truth * [1, 5, 1], truth, (4, 1)), 0)  # height tells no heading


def test_bad_poses() -> None:
    found, truth = poses(0)
    with pytest.raises(BadInput, match="poses: shape: expected"):
        mpjpe(found[:, :16], truth)
    with pytest.raises(BadInput, match="coordinates: expected finite numbers"):
        p_mpjpe(found * np.nan, truth)
    assert np.isfinite(p_mpjpe(np.zeros_like(truth), truth)).all()  # a pose of no size is moved, not scaled
