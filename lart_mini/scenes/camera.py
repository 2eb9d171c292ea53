"""The camera, and what it sees of each actor: pose and place in its frame, a box, how much is visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lart_mini.people.body import Body
from lart_mini.scenes.staging import Performance
from lart_mini.scenes.takes import Array

SIDES = 6  # of so many a camera stands where it sees most people cross


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that turns: x_camera = rotation[t] @ (x_world − position)."""

    rotation: Array  # (T,3,3), rows right, down, forward
    position: Array  # (3,) m
    focal: float  # pixels
    size: tuple[int, int]  # height, width in pixels


@dataclass(frozen=True)
class Filmed:
    """One actor as the camera sees it, without any error: what ground truth is written from."""

    pose: Array  # (T,24,3,3), joint 0 in the camera frame
    translation: Array  # (T,3) m, camera frame
    box: Array  # (T,4) x1, y1, x2, y2 pixels, inside the frame
    visible: Array  # (T,) share of the body that is inside the frame and not hidden by nearer people
    labels: NDArray[np.uint8]  # (T,80)
    betas: Array  # (10,)


def look_at(position: Array, target: Array) -> Array:
    """Rotations (T,3,3), rows right, down, forward, of a camera at (3,) that looks at targets (T,3)."""
    forward = target - position
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, np.array([0, 1, 0], np.float32))
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=1).astype(np.float32)


def shoot(rng: np.random.Generator, actors: list[Performance], frames: int) -> Camera:
    """A camera 1 to 2.4 m high, as far as the paths need, that stands, pans, or follows the first actor."""
    paths = np.concatenate([a.translation for a in actors])
    centre = (paths.min(axis=0) + paths.max(axis=0)) / 2
    reach = np.linalg.norm((paths - centre)[:, [0, 2]], axis=1).max()
    distance = rng.uniform(3.5, 7.0) + rng.uniform(0.6, 1.2) * min(reach, 6.0)
    angles = rng.uniform(-np.pi, np.pi, SIDES)
    tries = np.stack([np.sin(angles), np.zeros(SIDES), np.cos(angles)], axis=1)
    crossings = [_crossings(actors, centre + distance * side) for side in tries]
    away = tries[int(np.argmax(crossings))]
    position = centre * [1, 0, 1] + away * distance + [0, rng.uniform(1.0, 2.4), 0]
    target = np.tile(centre, (frames, 1))
    style = rng.integers(3)
    if style == 1:
        target += np.linspace(-1, 1, frames)[:, None] * rng.uniform(-1.2, 1.2) * np.cross([0, 1, 0], away)
    elif style == 2:
        target = _smoothed(actors[0].translation)
    size = (720, 1280)
    position = position.astype(np.float32)
    focal = float(rng.uniform(0.9, 1.4) * size[1])
    return Camera(look_at(position, target.astype(np.float32)), position, focal, size)


def _crossings(actors: list[Performance], position: Array) -> int:
    """How many pairs of actors change sides while both are there, seen from `position` (3,)."""
    angles = [np.arctan2(*(a.translation - position)[:, [0, 2]].T) for a in actors]
    count = 0
    for i, a in enumerate(actors):
        for k, b in enumerate(actors[:i]):
            gap = np.sin(angles[i] - angles[k])[a.present & b.present]
            count += bool((gap > 0.02).any() and (gap < -0.02).any())
    return count


def _smoothed(path: Array) -> Array:
    """A path (T,3) averaged over two seconds, as a camera operator follows."""
    half = 30  # frames
    window = np.hanning(2 * half + 1) / np.hanning(2 * half + 1).sum()
    padded = np.pad(path, ((half, half), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, k], window, mode="valid") for k in range(3)], axis=1)


def film(actors: list[Performance], camera: Camera, body: Body) -> list[Filmed]:
    """What the camera sees of each actor, free of errors.

    Turning actors and camera together changes nothing.
    """
    seen = []
    for actor in actors:
        pose = actor.pose.copy()
        pose[:, 0] = camera.rotation @ actor.pose[:, 0]
        place = np.einsum("tij,tj->ti", camera.rotation, actor.translation - camera.position)
        place = place.astype(np.float32)
        points = body.points(pose, actor.betas, place, body.spread())
        seen.append((pose, place, points, project(points, camera)))
    boxes = [np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1) for *_, pixels in seen]
    filmed = []
    for i, (actor, (pose, place, points, pixels)) in enumerate(zip(actors, seen, strict=True)):
        others = [(boxes[k], seen[k][1], actors[k].present) for k in range(len(seen)) if k != i]
        visible = seen_points(pixels, points, place, others, camera.size).mean(axis=1).astype(np.float32)
        visible *= actor.present
        height, width = camera.size
        box = np.clip(boxes[i], 0, [width, height, width, height]).astype(np.float32)
        filmed.append(Filmed(pose, place, box, visible, actor.labels, actor.betas))
    return filmed


def project(points: Array, camera: Camera) -> Array:
    """Points (…,3) metres in the camera's frame -> (…,2) pixels; nearer than 0.1 m counts as 0.1 m."""
    height, width = camera.size
    depth = np.maximum(points[..., 2:], 0.1)
    pixels = points[..., :2] / depth * camera.focal + np.array([width / 2, height / 2], np.float32)
    return pixels.astype(np.float32)


def seen_points(
    pixels: Array, points: Array, place: Array, others: list, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which points (T,n) of somebody are inside the frame and not hidden by nearer people.

    pixels (T,n,2); points (T,n,3) and place (T,3) in metres in the camera's frame; others: of everybody else
    the box (T,4) as corners, the place (T,3), and whether they are there (T,).
    """
    height, width = size
    inside = (pixels >= 0).all(-1) & (pixels[..., 0] < width) & (pixels[..., 1] < height)
    inside &= points[..., 2] > 0.3
    hidden = np.zeros_like(inside)
    for box, other, present in others:
        x, y = pixels[..., 0], pixels[..., 1]
        # A body fills about the middle two thirds of its box.
        margin = (box[:, 2] - box[:, 0]) / 6
        covers = (x > (box[:, 0] + margin)[:, None]) & (x < (box[:, 2] - margin)[:, None])
        covers &= (y > box[:, 1, None]) & (y < box[:, 3, None])
        in_front = present & (other[:, 2] > 0.3) & (other[:, 2] < place[:, 2])
        hidden |= covers & in_front[:, None]
    return inside & ~hidden
