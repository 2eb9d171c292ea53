"""What is looked at of a person, where, and what becomes of it: no rendered scene is needed for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import everywhere, make_tracklet
from reference.appearance import roi_samples as literal_samples

from lart_mini.appearance.looks import (
    Looks,
    Projection,
    fit_projection,
    load_projection,
    looks_of,
    principal_components,
    together,
    with_appearance,
)
from lart_mini.appearance.pooling import CROP, box_features, crop_places, cut, focal_length, roi_samples
from lart_mini.appearance.trunk import EfficientNetLite0, load_trunk
from lart_mini.boxes import xywh_from_corners
from lart_mini.files import BadInput
from lart_mini.lart.assembly import assemble
from lart_mini.lart.tokens import stats_of
from lart_mini.tracklets.released import read_released, write_released
from lart_mini.tracklets.tracklet import Tracklet, middles

FOCAL = 300.0
SIZE = (240, 320)


@dataclass
class Painted:
    """Frames of one colour with a disc that hides the middle of somebody's hand; remembers what was asked."""

    size: tuple[int, int] = SIZE
    discs: list[tuple[np.ndarray, float]] = field(default_factory=list)  # middle and radius, of SIZE's pixels
    asked: list[int] = field(default_factory=list)

    def pictures(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        self.asked += numbers
        scale = self.size[1] / SIZE[1]
        y, x = np.mgrid[: self.size[0], : self.size[1]] + 0.5
        for number in numbers:
            picture = np.full((*self.size, 3), 60 + number % 7, np.uint8)
            picture[..., 0] += (x / scale / 4).astype(np.uint8)
            for middle, radius in self.discs:
                picture[np.hypot(x - middle[0] * scale, y - middle[1] * scale) < radius * scale] = [
                    250,
                    230,
                    20,
                ]
            yield picture


@pytest.fixture(scope="module")
def trunk() -> EfficientNetLite0:
    return load_trunk()


def person(x: float, z: float, seed: int = 0, track: int = 0, first: int = 106, length: int = 20) -> Tracklet:
    """Somebody x m aside and z m away, whose box is the outline of the joints; of one second by default."""
    rng = np.random.default_rng(seed)
    joints = (rng.uniform(-1, 1, (1, 45, 3)) * [0.4, 0.8, 0.2]).repeat(length, axis=0).astype(np.float32)
    place = np.tile(np.array([x, 0, z], np.float32), (length, 1))
    plane = (joints[:, :44] + place[:, None])[..., :2] / (joints[:, :44] + place[:, None])[..., 2:]
    corners = np.concatenate([plane.min(axis=1), plane.max(axis=1)], axis=1) * FOCAL + [160, 120, 160, 120]
    one = replace(make_tracklet(length, seed, track), joints=joints, translation=place)
    name = f"ava-train_a_b-cdefghi_000150_{track}_{length}"
    box = xywh_from_corners(corners.astype(np.float32))
    frame = np.arange(first, first + length)
    return replace(everywhere(one), name=name, track=track, frame=frame, box=box)


# --------------------------------------------------------------------------------------------- inside the box


def test_samples_are_those_of_a_literal_loop() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 6, 9)).astype(np.float32)
    boxes = np.sort(rng.uniform(-10, 80, (7, 2, 2)), axis=1).reshape(7, 4).astype(np.float32)
    found = roi_samples(torch.from_numpy(maps), torch.from_numpy(boxes), 8, 5)
    for one, box in zip(found.numpy(), boxes, strict=True):
        np.testing.assert_allclose(one, literal_samples(maps, box, 8, 5), atol=1e-4)


def test_a_box_sees_what_is_in_it(trunk: EfficientNetLite0) -> None:
    picture = torch.full((*SIZE, 3), 90, dtype=torch.uint8)
    boxes = np.array([[20, 40, 80, 200], [200, 40, 260, 200]], np.float32)
    before = box_features(trunk, picture, boxes, ["a", "b"])
    picture[100:140, 30:70] = torch.tensor([250, 230, 20], dtype=torch.uint8)
    moved = np.abs(box_features(trunk, picture, boxes, ["a", "b"]) - before).mean(axis=1)
    assert before.shape == (2, 608) and moved[0] > 20 * moved[1]


def test_a_box_is_cut_at_the_edge_and_refused_outside(trunk: EfficientNetLite0) -> None:
    picture = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    reaching, inside = np.array([[-50, 30, 90, 400]]), np.array([[0, 30, 90, 240]])
    found = [box_features(trunk, picture, boxes, ["a"]) for boxes in (reaching, inside)]
    np.testing.assert_array_equal(*found)
    with pytest.raises(BadInput, match=r"^b: box: expected inside 320 x 240 pixels") as refused:
        box_features(trunk, picture, np.array([[10, 10, 20, 20], [400, 10, 420, 30]]), ["a", "b"])
    assert "\n" not in str(refused.value)
    edge = [person(-1.2, 4), person(0, 4, track=1)]  # trackers round: a pixel of grace
    edge[1].box[:] = [-0.9, 20, 0.8, 60]
    with pytest.raises(BadInput, match=f"^{edge[1].validate().name}: box: expected inside"):
        looks_of(edge, Painted(), trunk)


# ----------------------------------------------------------------------------------------- at hands and head


@pytest.mark.parametrize("side", [30.0, 80.0, 200.0])
@pytest.mark.parametrize("middle", [(150.5, 100.5), (5.5, 230.5), (319.5, 0.5)])
def test_a_crop_has_its_place_in_the_middle(middle: tuple[float, float], side: float) -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[np.hypot(x - middle[0], y - middle[1]) < side / 8] = 255
    crop = cut(picture, np.array(middle, np.float32), side)
    y, x = np.mgrid[:CROP, :CROP] + 0.5
    apart = np.hypot(x - CROP / 2, y - CROP / 2)
    assert crop.shape == (CROP, CROP, 3)
    assert crop[apart < CROP / 8 - 3].min() > 200
    if middle == (150.5, 100.5):  # elsewhere the edge goes on
        assert crop[apart > CROP / 8 + 3].max() < 60


def test_a_crop_far_outside_shows_the_edge() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    for middle in ((-3000.0, 100.0), (200.0, 9000.0), (1e6, -1e6)):
        crop = cut(picture, np.array(middle, np.float32), 60.0)
        assert crop.shape == (CROP, CROP, 3)


def test_the_focal_length_is_the_cameras(trunk: EfficientNetLite0) -> None:
    people = [person(-0.5, 3, 1), person(0.7, 5, 2, 1), person(0.1, 8, 3, 2)]
    assert focal_length(people) == pytest.approx(FOCAL, rel=1e-4)
    outside = person(1.6, 3, 4, 3)  # reaches out of the frame: its box is cut, and tells nothing
    box = outside.box.copy()
    box[:, 2] = 320 - box[:, 0]
    assert box[0, 2] > 0
    assert focal_length([*people, replace(outside, box=box)]) == pytest.approx(FOCAL, rel=1e-4)
    nobody = replace(people[0], detected=np.zeros(20, bool))
    with pytest.raises(BadInput, match="joints: expected a person whose joints fit its box"):
        focal_length([nobody])


def test_crops_follow_the_hands_and_shrink_with_distance() -> None:
    near, far = person(0.3, 3), person(0.6, 6)
    (middles_near,), (sides_near,) = crop_places(near, np.array([4]), FOCAL)
    (middles_far,), (sides_far,) = crop_places(far, np.array([4]), FOCAL)
    points = near.joints[4] + near.translation[4]
    hand = points[4] + 0.3 * (points[4] - points[3])  # right wrist, a third of a forearm on
    np.testing.assert_allclose(middles_near[0], hand[:2] / hand[2] * FOCAL + [160, 120], rtol=1e-4)
    left = points[7] + 0.3 * (points[7] - points[6])
    np.testing.assert_allclose(middles_near[1], left[:2] / left[2] * FOCAL + [160, 120], rtol=1e-4)
    np.testing.assert_allclose(sides_near / sides_far, 2, rtol=0.1)
    assert (np.abs(middles_far - middles_near) < 60).all()
    assert sides_near[2] < sides_near[0], "a head is smaller than what hands hold"


# ------------------------------------------------------------------------------------------------ each second


def test_each_second_is_looked_at_where_somebody_is_detected(trunk: EfficientNetLite0) -> None:
    one = person(0, 4, first=100, length=60)  # frames 100 … 159: of seconds at 90, 120, 150
    hidden = one.detected.copy()
    hidden[[20, 50, 51]] = False
    one, frames = replace(one, detected=hidden), Painted()
    looks = looks_of([one], frames, trunk)
    assert one.frame[looks.t].tolist() == [100, 119, 149]
    # At the middle, and five frames before and after where there is a detection.
    assert frames.asked == sorted({100, 105, 119, 114, 124, 149, 144, 154})
    assert looks.box.shape == (3, 608) and looks.hands.shape == (3, 2, 776) and looks.head.shape == (3, 776)


def test_hands_see_what_is_at_them_and_nobody_elses_do(trunk: EfficientNetLite0) -> None:
    people = [person(-1.2, 4, 1), person(1.2, 4, 2, 1)]
    bare = looks_of(people, Painted(), trunk)
    (middles_of, _) = crop_places(people[0], np.array([0]), FOCAL)
    held = looks_of(people, Painted(discs=[(middles_of[0, 0], 8.0)]), trunk)
    moved = np.abs(held.hands - bare.hands).mean(axis=-1)
    first, second = (moved[held.tracklet == k] for k in (0, 1))
    assert first[:, 0].min() > 5 * second.max()


def test_neither_order_nor_size_of_the_video_matters(trunk: EfficientNetLite0) -> None:
    people = [person(-1.2, 4, 1), person(1.2, 4, 2, 1)]
    places, _ = crop_places(people[1], np.array([0]), FOCAL)
    discs = [(places[0, 1], 9.0)]
    looks, turned = (looks_of(given, Painted(discs=discs), trunk) for given in (people, people[::-1]))
    for k in (0, 1):
        a, b = looks.tracklet == k, turned.tracklet == 1 - k
        for name in ("box", "hands", "head"):
            np.testing.assert_allclose(getattr(looks, name)[a], getattr(turned, name)[b], atol=1e-4)
    large = looks_of(people, Painted((480, 640), discs), trunk)
    other = looks_of(people, Painted(discs=[]), trunk)
    same = np.abs(large.hands - looks.hands).mean()
    assert same < 0.5 * np.abs(other.hands[:, 1] - looks.hands[:, 1])[looks.tracklet == 1].mean()
    looks_of(people, Painted((120, 160), discs), trunk)  # whose boxes would be outside, were they not scaled
    with pytest.raises(BadInput, match="frame_size: expected the shape of a video"):
        looks_of(people, Painted((320, 240)), trunk)
    people[1] = replace(people[1], frame_size=2 * people[1].frame_size)
    with pytest.raises(
        BadInput, match=rf"^{people[1].name}: frame_size: expected \[240, 320\], as {people[0].name}"
    ):
        looks_of(people, Painted(), trunk)


def test_a_video_of_nobody_has_no_rows(trunk: EfficientNetLite0) -> None:
    nobody = replace(person(0, 4), detected=np.zeros(20, bool))
    frames = Painted()
    looks = looks_of([nobody], frames, trunk)
    assert len(looks.t) == 0 and not frames.asked
    assert not with_appearance([nobody], looks, np.zeros((0, 5), np.float32))[0].appearance.any()


# ------------------------------------------------------------------------------------------------ made small


def some_looks(rows: int = 60, seed: int = 0) -> Looks:
    rng = np.random.default_rng(seed)
    few = rng.normal(size=(rows, 6)) * [5, 3, 2, 1, 1, 1]
    mixed = (few @ rng.normal(size=(6, 608 + 3 * 776))).astype(np.float32)
    hands = mixed[:, 608 : 608 + 2 * 776].reshape(rows, 2, 776)
    index = np.arange(rows)
    return Looks(index // 3, index % 3 * 30, mixed[:, :608], hands, mixed[:, -776:])


def test_components_keep_the_largest_spreads_and_bring_them_half_way_to_equal() -> None:
    looks = some_looks()
    for pooling in ("box", "hands", "head", "box+hands"):
        features = looks.features(pooling)
        mean, matrix = principal_components(features, 5)
        small = (features - mean) @ matrix
        assert small.shape == (60, 5)
        np.testing.assert_allclose(small.mean(axis=0), 0, atol=1e-3)
        assert np.mean(small.astype(float) ** 2) == pytest.approx(1, rel=1e-3)
        apart = np.cov(small.T)
        np.testing.assert_allclose(apart - np.diag(np.diag(apart)), 0, atol=1e-2)
        spread = features.std(axis=0) + 1e-3 * features.std() + 1e-6
        sizes = np.linalg.svd((features - mean) / spread, compute_uv=False)[:5]
        shares = small.var(axis=0) / sizes
        np.testing.assert_allclose(shares, shares[0], rtol=0.01)
    with pytest.raises(BadInput, match="dims: expected a whole number from 1 to 60"):
        principal_components(looks.features("box"), 61)


def test_a_projection_comes_back_from_its_file(tmp_path: Path) -> None:
    looks, others = some_looks(), some_looks(9, 1)
    fitted = fit_projection(looks, "hands", 8)
    fitted.save(tmp_path / "p.npz")
    again = load_projection(tmp_path / "p.npz")
    assert again.pooling == "hands"
    np.testing.assert_array_equal(again(others), fitted(others))
    assert again(others).dtype == np.float32
    replace(fitted, pooling="box").save(tmp_path / "other.npz")
    with pytest.raises(BadInput, match="matrix: expected 608 rows of box"):
        load_projection(tmp_path / "other.npz")
    replace(fitted, pooling="feet").save(tmp_path / "other.npz")
    with pytest.raises(BadInput, match="pooling: expected box"):
        load_projection(tmp_path / "other.npz")
    replace(fitted, mean=fitted.mean * np.float32(np.nan)).save(tmp_path / "other.npz")
    with pytest.raises(BadInput, match="finite numbers"):
        load_projection(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("none")
    with pytest.raises(BadInput, match="a projection of appearance"):
        load_projection(tmp_path / "text.npz")


def test_hands_are_read_alike_whichever_is_the_right_one() -> None:
    looks = some_looks()
    turned = replace(looks, hands=looks.hands[:, ::-1])
    np.testing.assert_allclose(turned.features("hands"), looks.features("hands"), rtol=1e-5, atol=1e-5)
    assert looks.features("box+head").shape == (60, 608 + 776)
    for wrong in ("feet", "", "hands+hands"):
        with pytest.raises(BadInput, match="pooling: expected box"):
            looks.features(wrong)


def test_a_second_has_one_vector_and_others_have_none(tmp_path: Path) -> None:
    one, two = (person(k, 4, k, k, first=100, length=40) for k in (0, 1))
    one = replace(one, detected=one.frame >= 135)  # of the second at 120 nobody knows anything
    rows = [(i, t) for i, own in enumerate((one, two)) for t in middles(own)]
    index = np.array(rows)
    looks = replace(some_looks(len(rows)), tracklet=index[:, 0], t=index[:, 1])
    vectors = np.random.default_rng(0).normal(size=(len(rows), 4)).astype(np.float16).astype(np.float32)
    first, second = with_appearance([one, two], looks, vectors)
    assert not first.appearance[one.frame < 135].any()
    np.testing.assert_array_equal(first.appearance[35:], np.tile(vectors[0], (5, 1)))
    np.testing.assert_array_equal(second.appearance[:5], np.tile(vectors[1], (5, 1)))
    np.testing.assert_array_equal(second.appearance[5:35], np.tile(vectors[2], (30, 1)))
    file = tmp_path / f"{second.name}.pkl"
    write_released(second, file)
    np.testing.assert_array_equal(read_released(file).appearance, second.appearance)
    batch = assemble(second, [first], frames=40, people=2, stats=stats_of([first, second]), start=0)
    np.testing.assert_array_equal(batch.appearance[0, 0], second.appearance)
    assert together([looks, looks.renumbered([5, 7])]).tracklet.tolist() == [0, 1, 1, 1, 5, 7, 7, 7]


def test_no_label_enters_a_projection() -> None:
    assert set(Projection.__dataclass_fields__) == {"pooling", "mean", "matrix"}
    assert set(Looks.__dataclass_fields__) == {"tracklet", "t", "box", "hands", "head"}
