"""The renderer: the same picture always, right beside a literal z-buffer, and masks where people are."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference import zbuffer

from lart_mini.data.videos import compose_scene
from lart_mini.files import BadInput, opencv
from lart_mini.people.body import Body
from lart_mini.people.clips import Clip, Contact
from lart_mini.scenes.camera import Camera, look_at
from lart_mini.scenes.render import FAR, FLIP, NEAR, SIZE, Renderer, before_camera
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.takes import scored_actions, segments
from lart_mini.scenes.things import (
    HELD,
    INDOORS,
    OUTDOORS,
    Mesh,
    about_y,
    block,
    furniture,
    held,
    lathe,
    together,
)
from lart_mini.scenes.world import Piece, World

NO_CONTACTS: dict[str, tuple[Contact, ...]] = {}
SMALL = (54, 96)


@pytest.fixture(scope="module")
def scenes(library: dict[str, Clip], free_body: Body) -> list[Scene]:
    pool = segments(library, "val")
    actions = scored_actions(pool)
    return [compose_scene(pool, "ava-val", 1, actions[i], (0, 2, i), free_body) for i in (2, 5, 11)]


@pytest.fixture(scope="module")
def renderers(scenes: list[Scene]) -> list[Renderer]:
    return [Renderer(World(scene, NO_CONTACTS)) for scene in scenes]


# ------------------------------------------------------------------------------------------- beside a literal


def soup(rng: np.random.Generator, count: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles before a camera (x right, y down, z forward), every corner in a colour of its own."""
    middle = rng.uniform([-2, -1.2, 2], [2, 1.2, 6], (count, 1, 3))
    points = (middle + rng.normal(0, 0.5, (count, 3, 3))).reshape(-1, 3).astype(np.float32)
    points[:, 2] = np.maximum(points[:, 2], 0.5)
    faces = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    return points, faces, rng.random((3 * count, 3)).astype(np.float32)


def drawn(points: np.ndarray, faces: np.ndarray, colours: np.ndarray, focal: float) -> tuple[np.ndarray, ...]:
    cv2: Any = opencv()
    image, depth = np.zeros((*SMALL, 3), np.float32), np.full(SMALL, FAR, np.float32)
    settings = cv2.TriangleRasterizeSettings().setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    points, faces, colours = before_camera((points * FLIP).astype(np.float32), faces, colours)
    field = float(2 * np.arctan(SMALL[0] / 2 / focal))
    cv2.triangleRasterize(
        points, faces, colours, image, depth, np.eye(4, dtype=np.float32), field, 0.1, FAR, settings
    )
    return image, depth


@pytest.mark.parametrize("seed", range(3))
def test_triangles_are_drawn_as_a_literal_z_buffer_draws_them(seed: int) -> None:
    points, faces, colours = soup(np.random.default_rng(seed))
    image, depth = drawn(points, faces, colours, focal=90)
    literal, far = np.zeros((*SMALL, 3), np.float32), np.full(SMALL, FAR, np.float32)
    zbuffer.fill(points, faces, colours, literal, far, focal=90)
    same = np.abs(depth - far) < 0.02
    assert same.mean() > 0.97, "all but edges"
    assert np.abs(image - literal)[same].max() < 0.05


def test_a_chair_behind_the_camera_and_one_through_its_near_plane_leave_a_right_picture() -> None:
    chair = furniture(np.random.default_rng(0), "chair")
    points = chair.vertices * [1, -1, 1] + np.array([0, 0.5, 3], np.float32)
    alone, _ = drawn(points, chair.faces, chair.colours, focal=60)
    behind = points - np.array([0, 0, 6], np.float32)
    both = together([Mesh(p, chair.faces, chair.colours, chair.normals) for p in (points, behind)])
    image, _ = drawn(both.vertices, both.faces, both.colours, focal=60)
    assert np.array_equal(image, alone) and image.any()
    # A floor that begins behind the camera fills the lower half, and only that.
    floor = np.array([[-50, 1, -20], [50, 1, -20], [50, 1, 40], [-50, 1, 40]], np.float32)
    image, depth = drawn(
        floor, np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.ones((4, 3), np.float32), focal=60
    )
    rows = (np.arange(SMALL[0]) + 0.5 - SMALL[0] / 2) / 60
    below = rows > 1 / 38
    assert image[below].min() > 0.9 and not image[rows < 0].any()
    np.testing.assert_allclose(depth[below], np.tile(1 / rows[below, None], SMALL[1]), rtol=0.02)


def test_cutting_at_the_near_plane_keeps_what_is_before_it() -> None:
    points = np.array([[0, 0, -1], [1, 0, -1], [0, 0, 1], [0, 1, -2], [3, 3, 3]], np.float32)
    colours = np.arange(15, dtype=np.float32).reshape(5, 3)
    one = before_camera(points, np.array([[0, 1, 3], [0, 1, 2], [2, 4, 0], [2, 4, 4]], np.int32), colours)
    assert one[1].tolist() == [[0, 1, 3], [0, 1, 5], [0, 5, 6], [7, 0, 8]]
    assert (one[0][one[1]][..., 2] <= -0.1).all()
    a, b = np.array([[1, 2], [2, 0], [4, 0], [0, 2]]).T  # edges that are cut
    share = (-NEAR * 1.001 - points[a, 2:]) / (points[b, 2:] - points[a, 2:])
    for own, found in ((points, one[0]), (colours, one[2])):
        np.testing.assert_allclose(found, [*own, *(own[a] + share * (own[b] - own[a]))], atol=1e-4)


# ------------------------------------------------------------------------------------------------ the picture


SCRIPT = """
import hashlib, sys
sys.path.insert(0, "tests")
from lart_mini.data.rendered import world_of
from lart_mini.data.mini_ava import scene_of
from lart_mini.scenes.render import Renderer
renderer = Renderer(world_of(scene_of("ava-val", 2)))
print(hashlib.sha256(b"".join(renderer.frame(t).tobytes() for t in (100, 60))).hexdigest())
"""


def test_the_same_picture_in_every_process_and_in_any_order() -> None:
    from lart_mini.data.mini_ava import scene_of
    from lart_mini.data.rendered import world_of

    renderer = Renderer(world_of(scene_of("ava-val", 2)))
    first, again = renderer.frame(60), renderer.frame(100)
    told = hashlib.sha256(again.tobytes() + first.tobytes()).hexdigest()
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == told
    assert first.shape == (*SIZE, 3) and first.dtype == np.uint8 and not np.array_equal(first, again)


def test_masks_and_pictures_do_not_depend_on_which_was_drawn_first(scenes: list[Scene]) -> None:
    """Masks alone draw no colours; the picture after them has its own, and both hide the same things."""
    for scene in scenes[:2]:
        one, other = (Renderer(World(scene, NO_CONTACTS)) for _ in range(2))
        masks, picture = one.masks(60), one.frame(60)
        np.testing.assert_array_equal(other.frame(60), picture)
        for own, later in zip(vars(masks).values(), vars(other.masks(60)).values(), strict=True):
            np.testing.assert_array_equal(own, later)


def test_a_camera_that_turns_cuts_its_frames_from_views_that_cover_them(renderers: list[Renderer]) -> None:
    turning = [r for r in renderers if len(set(r._view_of.tolist())) > 1]
    assert turning
    for renderer in turning:
        views = sorted(set(renderer._view_of.tolist()))
        direct, cut = views[1], views[1] - 1
        # The last frame of a view and the first of the next show nearly the same, drawn in two ways.
        a, b = renderer.frame(cut).astype(float), renderer.frame(direct).astype(float)
        turned = renderer.world.scene.camera.rotation[cut] @ renderer.world.scene.camera.rotation[direct].T
        moved = renderer.focal * np.arctan2(turned[0, 2], turned[2, 2])
        shift = round(float(moved))
        width = a.shape[1]
        left, right = (
            a[:, max(shift, 0) : width + min(shift, 0)],
            b[:, max(-shift, 0) : width - max(shift, 0)],
        )
        assert np.median(np.abs(left - right)) < 12, "the same wall in the same light"


def test_boxes_of_the_cameras_film_are_those_of_the_masks(renderers: list[Renderer]) -> None:
    found = []
    for renderer in renderers:
        scale = SIZE[1] / renderer.world.scene.camera.size[1]
        for t in range(45, 165, 15):
            masks = renderer.masks(t)
            for number, person in enumerate(renderer.world.scene.filmed):
                y, x = np.nonzero(masks.person == number)
                whole = (person.box[t] > 0).all() and (person.box[t, 2:] < [1279, 719]).all()
                if person.visible[t] > 0.97 and whole and len(x) > 100:
                    mine, box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]), person.box[t] * scale
                    shared = np.prod(np.minimum(mine[2:], box[2:]) - np.maximum(mine[:2], box[:2]))
                    found.append(
                        shared / (np.prod(mine[2:] - mine[:2]) + np.prod(box[2:] - box[:2]) - shared)
                    )
    assert len(found) > 10 and np.median(found) > 0.85 and np.mean(np.array(found) > 0.7) > 0.9


def test_body_parts_are_in_their_place(renderers: list[Renderer]) -> None:
    looked_at = 0
    for renderer in renderers:
        masks, scene = renderer.masks(90), renderer.world.scene
        assert masks.person.max() < len(scene.actors) and masks.joint.max() < 24
        for number in range(len(scene.actors)):
            person = masks.person == number
            assert (masks.joint[person] >= 0).all()
            for joint in (15, 20, 21, 10, 11):  # head, wrists, feet
                y, x = np.nonzero(person & (masks.joint == joint))
                if len(x) < 6:
                    continue
                looked_at += 1
                place = scene.camera.rotation[90] @ (
                    renderer.world.people[number].joints[90, joint] - renderer.eye
                )
                at = place[:2] / place[2] * renderer.focal + [SIZE[1] / 2, SIZE[0] / 2]
                reach = 0.3 / place[2] * renderer.focal
                assert np.abs([x.mean() - at[0], y.mean() - at[1]]).max() < reach
        assert (masks.joint[masks.person < 0] == -1).all()
        assert not ((masks.person >= 0) & (masks.thing >= 0)).any()
    assert looked_at > 5


def test_who_stands_behind_a_thing_is_hidden_by_it(scenes: list[Scene]) -> None:
    world = World(scenes[0], NO_CONTACTS, holds=0)
    renderer = Renderer(world, SMALL)
    t = 60
    before = renderer.masks(t)
    camera = scenes[0].camera
    ahead = camera.position + camera.rotation[t][2] * 1.0
    wall = block((6, 6, 0.02), (1, 0, 0)).placed(camera.rotation[t].T, ahead)
    world.standing = [Piece(wall, thing=0)]
    hidden = Renderer(world, SMALL)
    assert (before.person >= 0).any()
    masks = hidden.masks(t)
    assert (masks.person == -1).all() and (masks.thing == 0).all()
    assert (np.ptp(hidden.frame(t)[..., 1].astype(int)) < 60).all()


def test_a_shadow_darkens_the_floor_and_nothing_else(scenes: list[Scene]) -> None:
    world = World(scenes[0], NO_CONTACTS, holds=0)
    world.grain = np.float32(0)
    renderer = Renderer(world)
    with_people = renderer.frame(60).astype(int)
    masks = renderer.masks(60)
    world.people, world.scene = [], replace(world.scene, actors=[])
    empty = Renderer(world).frame(60).astype(int)
    differs = (with_people != empty).any(axis=2) & (masks.person < 0)
    assert differs.any() and (with_people <= empty)[differs].all()
    assert not differs[: SIZE[0] // 4].any(), "no shadow on the wall's upper part"


def test_no_shadow_of_people_falls_on_things(scenes: list[Scene]) -> None:
    """A mat on the floor lies under everybody's feet; the shadow that the floor has there is not on it."""
    world = World(scenes[0], NO_CONTACTS, holds=0)
    world.grain = np.float32(0)
    place = scenes[0].actors[0].translation[60] * [1, 0, 1]
    mat = Piece(block((4, 0.02, 4), (1, 0, 0)).placed(np.eye(3), place), thing=0)
    people, scene, darker = world.people, world.scene, []
    for standing in ([], [mat]):
        world.standing, world.people, world.scene = standing, people, scene
        with_people, masks = Renderer(world).frame(60), Renderer(world).masks(60)
        world.people, world.scene = [], replace(scene, actors=[])
        darker.append((with_people != Renderer(world).frame(60)).any(axis=2) & (masks.person < 0))
    on_mat = masks.thing == 0
    shares = [own[on_mat].mean() for own in darker]
    assert shares[0] > 0.01 and shares[1] < 0.1 * shares[0], "but for the mat's edge"


@pytest.mark.parametrize("size", [(0, 384), (216, 0), (-1, 5), (216, 10**6), (216.0, 384), (True, 384)])
def test_a_size_that_is_none_is_told_in_a_line(scenes: list[Scene], size: tuple) -> None:
    with pytest.raises(
        BadInput, match=r"renderer: (height|width): expected a whole number from 1 to 4096, found"
    ):
        Renderer(World(scenes[0], NO_CONTACTS), size)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2)])
def test_small_and_narrow_pictures_are_drawn(scenes: list[Scene], size: tuple[int, int]) -> None:
    renderer = Renderer(World(scenes[0], NO_CONTACTS), size)
    assert renderer.frame(60).shape == (*size, 3) and renderer.masks(60).person.shape == size


def test_people_who_are_not_there_are_not_drawn(scenes: list[Scene]) -> None:
    actors = [replace(actor, present=np.zeros_like(actor.present)) for actor in scenes[0].actors]
    gone = replace(
        scenes[0], actors=[replace(actors[0], present=np.ones_like(actors[0].present)), *actors[1:]]
    )
    masks = Renderer(World(gone, NO_CONTACTS), SMALL).masks(60)
    assert set(np.unique(masks.person)) <= {-1, 0}


# -------------------------------------------------------------------------------------------------- the
# meshes


def outward(mesh: Mesh) -> float:
    """Share of the surface whose corners' normals agree with the side that it faces."""
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(across, axis=1)
    agree = np.abs(np.einsum("fa,fa->f", across, mesh.normals[mesh.faces].mean(axis=1)))
    return float(np.average(agree[area > 0] / area[area > 0], weights=area[area > 0]))


@pytest.mark.parametrize("kind", [*HELD, *INDOORS, *OUTDOORS[1:]])  # trees stand twice
def test_things_are_whole_and_their_normals_stand_on_them(kind: str) -> None:
    rng = np.random.default_rng(1)
    mesh = held(rng, kind) if kind in HELD else furniture(rng, kind)
    assert mesh.faces.dtype == np.int32 and mesh.faces.max() < len(mesh.vertices)
    assert mesh.colours.min() >= 0 and mesh.colours.max() <= 1
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)
    assert outward(mesh) > 0.8
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert (high - low).max() < (1.5 if kind in HELD else 4.5)
    if kind in HELD:
        assert low[1] < 0 <= high[1] + 0.05 and np.abs([low[0], high[0]]).max() < 0.4, "grip at the origin"
    else:
        assert abs(low[1]) < 0.45, "on the floor"


def test_a_block_and_a_ball_look_outwards() -> None:
    for mesh in (block((1, 2, 3), (0, 0, 0)), lathe([(-1, 0.0), (0, 1.0), (1, 0.0)], (0, 0, 0), 24)):
        assert (np.einsum("va,va->v", mesh.vertices, mesh.normals) > -1e-6).all()


def test_turning_about_the_vertical_brings_ahead_to_the_right() -> None:
    np.testing.assert_allclose(about_y(np.pi / 2) @ [0, 0, 1], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(about_y(0.3) @ [0, 1, 0], [0, 1, 0], atol=1e-6)


def test_a_camera_that_looks_straight_at_a_block_sees_it_where_it_is(scenes: list[Scene]) -> None:
    """Pixels of the still view and of the moving pieces are the camera's own."""
    position = np.array([0, 1.5, -5], np.float32)
    target = np.tile(np.array([0.4, 1.2, 0], np.float32), (scenes[0].frames, 1))
    target[1:] += [0.15, 0, 0]
    camera = Camera(look_at(position, target), position, 1000.0, (720, 1280))
    away = [replace(actor, present=np.arange(scenes[0].frames) == 9) for actor in scenes[0].actors]
    scene = replace(scenes[0], camera=camera, actors=away)
    world = World(scene, NO_CONTACTS, holds=0)
    corner = np.array([0.5, 1.0, 1.0])
    world.standing = [Piece(block((0.2, 0.2, 0.2), (1, 1, 1), corner), thing=0)]
    for t in (0, 1):
        mask = Renderer(world).masks(t)
        y, x = np.nonzero(mask.thing == 0)
        seen = camera.rotation[t] @ (corner - position)
        at = seen[:2] / seen[2] * 1000 * 0.3 + [SIZE[1] / 2, SIZE[0] / 2]
        np.testing.assert_allclose([x.mean() + 0.5, y.mean() + 0.5], at, atol=0.8)
