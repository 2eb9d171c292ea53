"""Boxes: conversions that come back, cuts that stay inside, and an overlap that is one number of both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lart_mini.boxes import (
    centre_ln_from_xywh,
    corners_from_xywh,
    fractions_from_corners,
    inside_frame,
    overlap,
    shared_area,
    xywh_from_centre_ln,
    xywh_from_corners,
)

places, extents = st.floats(-2000, 2000), st.floats(0.5, 2000)
box = st.tuples(places, places, extents, extents).map(np.array)  # x, y, w, h
boxes = arrays(np.float64, (5, 4), elements=places)  # corners in any order: whatever a detector may say
sizes = st.tuples(st.integers(2, 3000), st.integers(2, 3000))  # height, width


def in_pixels(one: np.ndarray) -> np.ndarray:
    """Which of 12 × 12 pixels x, y, w, h covers."""
    covered = np.zeros((12, 12), bool)
    x, y, w, h = one
    covered[y : y + h, x : x + w] = True
    return covered


@given(box)
def test_conversions_come_back(one: np.ndarray) -> None:
    np.testing.assert_allclose(xywh_from_corners(corners_from_xywh(one)), one, atol=1e-9)
    np.testing.assert_allclose(xywh_from_centre_ln(centre_ln_from_xywh(one)), one, atol=1e-9)


def test_conventions_by_hand() -> None:
    one = np.float32([100, 50, 40, 200])
    np.testing.assert_array_equal(corners_from_xywh(one), [100, 50, 140, 250])
    np.testing.assert_allclose(centre_ln_from_xywh(one), [120, 150, np.log(40), np.log(200)], rtol=1e-6)
    whole = fractions_from_corners(np.float32([[0, 0, 1280, 720], [640, 0, 1280, 180]]), (720, 1280))
    np.testing.assert_allclose(whole, [[0, 0, 1, 1], [0.5, 0, 1, 0.25]])


def test_any_number_of_axes_goes_through() -> None:
    many = np.random.default_rng(0).uniform(1, 50, (3, 2, 4)).astype(np.float32)
    for convert in (xywh_from_corners, corners_from_xywh, centre_ln_from_xywh, xywh_from_centre_ln):
        made = convert(many)
        assert made.shape == many.shape and made.dtype == many.dtype
        np.testing.assert_array_equal(made[1, 1], convert(many[1, 1]))


# -------------------------------------------------------------------------------------------------- the frame


@given(boxes, sizes)
def test_cut_boxes_are_inside_a_pixel_wide_and_cut_but_once(corners: np.ndarray, size: tuple) -> None:
    height, width = size
    cut = inside_frame(corners, size)
    assert (cut >= 0).all() and (cut[:, ::2] <= width).all() and (cut[:, 1::2] <= height).all()
    assert (cut[:, 2:] - cut[:, :2] >= 1 - 1e-9).all()
    np.testing.assert_array_equal(inside_frame(cut, size), cut)


@given(box, sizes)
def test_a_box_inside_stays_as_it_is(one: np.ndarray, size: tuple) -> None:
    height, width = size
    low = np.minimum(np.abs(one[:2]), [width - 1, height - 1])
    high = np.minimum(np.maximum(low + one[2:], low + 1), [width, height])
    corners = np.concatenate([low, high])
    np.testing.assert_array_equal(inside_frame(corners, size), corners)


def test_every_box_may_have_a_frame_of_its_own() -> None:
    corners = np.float32([[-10, -10, 500, 500]] * 2)
    cut = inside_frame(corners, np.float32([[100, 200], [300, 50]]))
    np.testing.assert_array_equal(cut, [[0, 0, 200, 100], [0, 0, 50, 300]])


# ---------------------------------------------------------------------------------------------------- overlap


@given(box, box)
def test_overlap_is_of_both_and_a_share(a: np.ndarray, b: np.ndarray) -> None:
    assert overlap(a, b) == pytest.approx(overlap(b, a), abs=1e-12)
    assert 0 <= overlap(a, b) <= 1 + 1e-9
    assert overlap(a, a) == pytest.approx(1, abs=1e-9)


@given(box, extents, st.booleans())
def test_boxes_apart_or_side_by_side_share_nothing(a: np.ndarray, gap: float, across: bool) -> None:
    beside = a.copy()
    beside[0 if across else 1] += a[2 if across else 3] + gap
    assert overlap(a, beside) == 0 == overlap(beside, a) and shared_area(a, beside) == 0


@given(box, box, st.tuples(places, places), st.floats(0.1, 50))
def test_neither_shift_nor_scale_matters(a: np.ndarray, b: np.ndarray, to: tuple, scale: float) -> None:
    moved = np.array([*to, 0, 0])
    assert overlap(a + moved, b + moved) == pytest.approx(overlap(a, b), abs=1e-6)
    assert overlap(a * scale, b * scale) == pytest.approx(overlap(a, b), abs=1e-9)


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(0, 5)] * 2), min_size=2, max_size=2))
def test_overlap_counts_pixels(pair: list) -> None:
    a, b = (in_pixels(np.array(one)) for one in pair)
    shared, either = (a & b).sum(), (a | b).sum()
    found = overlap(*(np.array(one, float) for one in pair))
    assert found == pytest.approx(shared / either if either else 0), "0 where neither has an area"


def test_overlap_by_hand_and_over_pairs() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]], np.float32)
    b = np.array([[0, 0, 2, 2], [1, 0, 2, 2], [2, 2, 1, 1], [5, 5, 1, 1]], np.float32)
    np.testing.assert_allclose(overlap(a, b), [1, 1 / 3, 0, 0], atol=1e-6)
    pairs = overlap(a[:3, None], b[None])
    assert pairs.shape == (3, 4)
    np.testing.assert_array_equal(np.diagonal(pairs), overlap(a[:3], b[:3]))
