"""Staging: who stands where in a scene, and who does what after what.

Every movement is a captured take; what is composed is who stands where, and who follows whom in time. A
*performance* is one actor's chain of takes. Splits are by take: no take is both learnt and scored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lart_mini.people.body import Body
from lart_mini.people.clips import mirror, mirror_pose
from lart_mini.scenes.takes import LISTEN_TO, RUN, STAND, TALK_TO, WALK, WATCH, Array, Segment

BLEND_FRAMES = 10
SHOWN_FROM, SHOWN_TO = 60, 110  # frames in which an actor's chosen action is to be seen
PASSING = 0.4  # chance that who comes along passes somebody, where one of the two goes somewhere
PASSING_FRAMES = 60  # in which the one moves a metre or more against the other

# Of a take: pose (K,24,3,3), translation (K,3), labels (K,80), and the frames' numbers (K,).
Piece = tuple[Array, Array, NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Performance:
    """One actor's motion in the world over the T frames of a video, in some of which it may be absent."""

    pose: Array  # (T,24,3,3) local rotations, joint 0 in the world
    translation: Array  # (T,3) pelvis, m
    labels: NDArray[np.uint8]  # (T,80)
    present: NDArray[np.bool_]  # (T,); what stands in the other frames means nothing
    betas: Array  # (10,)
    takes: tuple[str, ...]
    shown: NDArray[np.int64]  # (T,) number in `takes` of the one that each frame is of
    source: NDArray[np.int64]  # (T,) number of the frame in that take


def heading(orientation: Array) -> float:
    """Angle about the vertical, radians, that a body of world orientation (3,3) faces; 0 is +z, π/2 is +x."""
    return float(np.arctan2(orientation[0, 2], orientation[2, 2]))


def turned(pose: Array, translation: Array, angle: float, about: Array, to: Array) -> tuple[Array, Array]:
    """Turn a motion by `angle` about the vertical through `about` (3,), and move that point to `to` (3,)."""
    turn = Rotation.from_rotvec([0, angle, 0]).as_matrix().astype(np.float32)
    moved = pose.copy()
    moved[:, 0] = turn @ pose[:, 0]
    floor = np.array([1, 0, 1], np.float32)
    return moved, (translation - about * floor) @ turn.T + to * floor


def blended(before: Array, after: Array, weights: Array) -> Array:
    """Rotations (K,24,3,3) on the geodesic from `before` (24,3,3) to `after` (K,24,3,3) at `weights` (K,)."""
    start = np.broadcast_to(before, after.shape).reshape(-1, 3, 3)
    step = Rotation.from_matrix(np.swapaxes(start, 1, 2) @ after.reshape(-1, 3, 3)).as_rotvec()
    step *= np.repeat(weights, 24)[:, None]
    return (start @ Rotation.from_rotvec(step).as_matrix()).reshape(after.shape).astype(np.float32)


def tilt_gap(a: Array, b: Array) -> float:
    """Angle in radians between how two world orientations (3,3) lean or lie; headings do not count."""
    return float(np.arccos(np.clip(a[1] @ b[1], -1, 1)))


def pose_gap(a: Array, b: Array) -> float:
    """Mean angle in radians between two poses (24,3,3), the body's orientation in the world left out."""
    trace = np.einsum("jki,jki->j", a[1:], b[1:])
    return float(np.arccos(np.clip((trace - 1) / 2, -1, 1)).mean())


def perform(rng: np.random.Generator, pool: list[Segment], frames: int, target: int) -> Performance:
    """A chain of takes over `frames` frames; the first take shows action `target` about the first key frames.

    The actor enters with that take, late if it is short. A take is followed by one that starts near the pose
    the last ended in, blended over ten frames; where none fits (a lying actor has nowhere to go) the actor
    leaves.
    """
    first = _turned_over(*_choose(rng, [s for s in pool if target in s.actions]))
    shows = first.clip.labels[first.first : first.last, target - 1]
    shown = int(rng.choice(np.flatnonzero(shows))) + first.first
    when = int(rng.integers(SHOWN_FROM, SHOWN_TO))
    begin = max(first.first, shown - when)
    enters = when - (shown - begin)
    pieces = [_cut(first, begin, frames - enters)]
    takes = [first.clip.name]
    while (done := enters + sum(len(p[0]) for p in pieces)) < frames:
        following = _following(rng, pool, pieces[-1])
        if following is None:
            break
        segment, start = following
        pieces.append(_joined(pieces[-1], _cut(segment, start, frames - done)))
        takes.append(segment.clip.name)
    pose, translation, labels, source = (np.concatenate(part) for part in zip(*pieces, strict=True))
    of = np.repeat(np.arange(len(takes)), [len(piece[0]) for piece in pieces])
    return _timed(pose, translation, labels, frames, enters, tuple(takes), of, source)


def _timed(
    pose: Array,
    translation: Array,
    labels: NDArray[np.uint8],
    frames: int,
    first: int,
    takes: tuple[str, ...],
    shown: NDArray[np.int64],
    source: NDArray[np.int64],
) -> Performance:
    """A motion of K ≤ `frames` frames that begins at frame `first` of a video."""
    at = np.arange(frames) - first
    present = (at >= 0) & (at < len(pose))
    at = at.clip(0, len(pose) - 1)
    labels, betas = labels[at] * present[:, None], np.zeros(10, np.float32)
    return Performance(pose[at], translation[at], labels, present, betas, takes, shown[at], source[at])


def _choose(rng: np.random.Generator, pool: list[Segment]) -> tuple[Segment, bool]:
    """A segment, and whether it is to be seen in the mirror."""
    return pool[rng.integers(len(pool))], bool(rng.random() < 0.5)


def _turned_over(segment: Segment, mirrored: bool) -> Segment:
    return replace(segment, clip=mirror(segment.clip)) if mirrored else segment


def _cut(segment: Segment, start: int, frames: int) -> Piece:
    span, clip = slice(start, min(segment.last, start + frames)), segment.clip
    return clip.pose[span], clip.translation[span], clip.labels[span], np.arange(len(clip.pose))[span]


def _following(rng: np.random.Generator, pool: list[Segment], last: tuple) -> tuple[Segment, int] | None:
    """Of two dozen random places in the pool the one whose pose is nearest to the end of `last`, if near."""
    best, best_gap = None, 0.45
    for _ in range(24):
        segment, mirrored = _choose(rng, pool)
        start = int(rng.integers(segment.first, max(segment.first + 1, segment.last - 2 * BLEND_FRAMES)))
        pose, height = segment.clip.pose[start], segment.clip.translation[start, 1]
        pose = mirror_pose(pose) if mirrored else pose  # this frame alone: most candidates are not taken
        if abs(height - last[1][-1, 1]) < 0.2 and tilt_gap(pose[0], last[0][-1, 0]) < 0.6:
            gap = pose_gap(last[0][-1], pose)
            if gap < best_gap:
                best, best_gap = (segment, mirrored, start), gap
    if best is None:
        return None
    segment, mirrored, start = best
    return _turned_over(segment, mirrored), start


def _joined(last: Piece, piece: Piece) -> Piece:
    angle = heading(last[0][-1, 0]) - heading(piece[0][0, 0])
    pose, translation = turned(piece[0], piece[1], angle, piece[1][0], last[1][-1])
    count = min(BLEND_FRAMES, len(pose))
    weights = (np.arange(1, count + 1) / (count + 1)).astype(np.float32)
    pose[:count] = blended(last[0][-1], pose[:count], weights)
    translation[:count, 1] = last[1][-1, 1] * (1 - weights) + translation[:count, 1] * weights
    return pose, translation, piece[2], piece[3]


def shaped(performance: Performance, betas: Array, body: Body) -> Performance:
    """Give the actor a body of shape `betas` (10,), stretching its path with the length of its legs."""

    def leg(joints: Array) -> float:
        return float(np.linalg.norm(joints[1] - joints[4]) + np.linalg.norm(joints[4] - joints[7]))

    scale = leg(body.rest_joints(betas)) / leg(body.rest_joints(np.zeros(10, np.float32)))
    return replace(performance, betas=betas, translation=performance.translation * np.float32(scale))


# ---------------------------------------------------------------------------------------------------- scenes


def placed(performance: Performance, angle: float, to: Array, start: bool = False) -> Performance:
    """Face the performance's first frame to `angle` (radians, 0 is +z) and move it to `to` (3,) on the floor.

    The middle of the path comes to stand there, or with `start` its first frame.
    """
    turn = angle - heading(performance.pose[0, 0])
    path = performance.translation
    about = path[0] if start else (path.min(axis=0) + path.max(axis=0)) / 2
    pose, translation = turned(performance.pose, path, turn, about, to)
    return replace(performance, pose=pose, translation=translation)


def cast(
    rng: np.random.Generator, pool: list[Segment], frames: int, people: int, target: int, body: Body
) -> tuple[list[Performance], bool]:
    """Actors of one scene, and whether a pair was composited.

    The first actor shows `target`. A captured partner comes along in the same place (talk_a with talk_b). A
    gesturing take without one is faced to a standing partner, labelled listen to and watch: composited. Who
    joins them walks through nobody; a composited listener may stand in the speaker's way.
    """
    actors, composited = _leads(rng, pool, frames, target, body)
    shown = frozenset().union(*(s.actions for s in pool))
    for _ in range(people - len(actors)):
        passes = rng.random() < PASSING
        action = int(rng.choice(sorted(shown & {RUN, WALK} if passes else ()) or sorted(shown)))
        extra = shaped(perform(rng, pool, frames, action), random_betas(rng), body)
        for attempt in range(20):
            spot = np.array([rng.uniform(-3, 3), 0, rng.uniform(-2.5, 2.5)], np.float32)
            candidate = placed(extra, rng.uniform(-np.pi, np.pi), spot)
            if passes and attempt < 10:
                candidate = passing(rng, candidate, actors[rng.integers(len(actors))])
            if all(closest(candidate, other) > 0.6 for other in actors):
                actors.append(candidate)
                break
    return actors, composited


def passing(rng: np.random.Generator, actor: Performance, other: Performance) -> Performance:
    """`actor` moved on the floor so that it passes `other` within 0.7 to 1.3 m, at a moment drawn.

    Seen from most places one then goes before the other in the picture. Where the two hardly move against
    each other, `actor` stays where it is.
    """
    half = PASSING_FRAMES // 2
    gap = (actor.translation - other.translation)[:, [0, 2]]
    both = actor.present & other.present
    way = gap[2 * half :] - gap[: -2 * half]  # (T − 2·half, 2), about the frames from `half` on
    length = np.linalg.norm(way, axis=1)
    moments = np.flatnonzero((length > 1) & both[2 * half :] & both[: -2 * half])
    if len(moments) == 0:
        return actor
    moment = rng.choice(moments)
    side = rng.choice([-1, 1]) * rng.uniform(0.7, 1.3) * way[moment, ::-1] * [1, -1] / length[moment]
    move = side - gap[moment + half]
    step = np.array([move[0], 0, move[1]], np.float32)
    return replace(actor, translation=actor.translation + step)


def random_betas(rng: np.random.Generator) -> Array:
    """A body's shape (10,), within one and a half standard deviations."""
    return np.clip(rng.normal(0, 0.7, 10), -1.5, 1.5).astype(np.float32)


def closest(a: Performance, b: Performance) -> float:
    """Least distance in metres of two pelvises while both are there; infinite where they never are."""
    gap = np.linalg.norm(a.translation - b.translation, axis=1)
    return float(np.where(a.present & b.present, gap, np.inf).min())


def _leads(
    rng: np.random.Generator, pool: list[Segment], frames: int, target: int, body: Body
) -> tuple[list[Performance], bool]:
    captured = [pair for pair in _pairs(pool) if target in pair[0].actions]
    if captured and rng.random() < 0.5:
        return _captured_pair(rng, captured[rng.integers(len(captured))], frames), False
    lead = shaped(perform(rng, pool, frames, target), random_betas(rng), body)
    lead = placed(lead, rng.uniform(-np.pi, np.pi), np.zeros(3, np.float32))
    talks = lead.labels[:, TALK_TO - 1].astype(bool)
    standing = [s for s in pool if s.actions == {STAND}]
    if target not in (TALK_TO, LISTEN_TO, WATCH) or not talks.any() or not standing:
        return [lead], False
    angle = heading(lead.pose[0, 0])
    ahead = np.array([np.sin(angle), 0, np.cos(angle)], np.float32)
    spot = lead.translation[0] + rng.uniform(1.1, 1.8) * ahead
    partner = shaped(perform(rng, standing, frames, STAND), random_betas(rng), body)
    partner = placed(partner, angle + np.pi + rng.normal(0, 0.15), spot, start=True)
    labels = partner.labels.copy()
    for action in (LISTEN_TO, WATCH):
        labels[:, action - 1] = talks & partner.present
    return [lead, replace(partner, labels=labels)], True


def _pairs(pool: list[Segment]) -> list[tuple[Segment, Segment]]:
    """Segments of two people captured together, where both are labelled for half a second or more."""
    return [
        (a, b)
        for a in pool
        for b in pool
        if a.clip.partner == b.clip.name and min(a.last, b.last) - max(a.first, b.first) >= 15
    ]


def _captured_pair(rng: np.random.Generator, pair: tuple[Segment, Segment], frames: int) -> list[Performance]:
    first, last = max(s.first for s in pair), min(s.last for s in pair)
    start = int(rng.integers(first, max(first + 1, last - frames)))
    span = slice(start, min(last, start + frames))
    first_frame = int(rng.integers(frames - (span.stop - span.start) + 1))
    angle, centre = rng.uniform(-np.pi, np.pi), pair[0].clip.translation[start]
    origin = np.zeros(3, np.float32)
    actors = []
    for clip in (pair[0].clip, pair[1].clip):
        pose, translation = turned(clip.pose[span], clip.translation[span], angle, centre, origin)
        # Shapes near the mean, so that captured distances and eye lines stay true.
        betas = random_betas(rng) * np.float32(0.3)
        labels, shown = clip.labels[span], np.zeros(len(pose), np.int64)
        source = np.arange(span.start, span.stop)
        timed = _timed(pose, translation, labels, frames, first_frame, (clip.name,), shown, source)
        actors.append(replace(timed, betas=betas))
    return actors
