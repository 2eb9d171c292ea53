"""Group activities: who moves how is captured, who stands where is composed, nobody reacts to anybody.

Eight activities of three to six people, in two fours. In four people stand and one of them gestures, in four
all walk or all run. A *troupe* is a draw of captured motions; it plays all four activities of its four, so
that nobody's own motion tells the activity: only places, headings and their change do. That is what SkeleTR's
group task (section 3.4: Volleyball) asks of a model here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.data.labelled_videos import Compose, LabelledVideos, Staged, Task, labelled_videos
from lart_mini.files import BadInput
from lart_mini.people.body import Body
from lart_mini.people.clips import mirror
from lart_mini.scenes.camera import film, shoot
from lart_mini.scenes.scene import Scene, dress, stream
from lart_mini.scenes.staging import Performance, closest, heading, random_betas, shaped, turned
from lart_mini.scenes.takes import RUN, STAND, TALK_TO, WALK, WAVE, Segment

COMPOSED = "Who moves how is captured, who stands where is composed, nobody reacts to anybody."
STANDING = ("waiting", "queue", "conversation", "audience")
MOVING = ("together", "crossing", "gathering", "scattering")
ACTIVITIES = (*STANDING, *MOVING)
FRAMES = 75  # of a scene: 2.5 seconds
FEWEST, MOST = 3, 6  # people
WALKING = 0.7  # chance that a moving troupe walks; else it runs
ROOM = 0.45  # metres between two pelvises: nobody walks through anybody
TRIES = 60  # places tried for a troupe before another troupe is drawn
TROUPES = 200  # drawn before that is given up
ANCHORS = {"gathering": -1, "scattering": 0}  # the frame in which people are where a layout puts them

Floats = NDArray[np.float64]


# ------------------------------------------------------------------------------------------- who moves how


@dataclass(frozen=True)
class Wanted:
    """Which stretches of takes a part is cast from."""

    actions: frozenset[int]  # nothing else is shown
    shortest: float  # metres from the first frame's place to the last one's
    longest: float
    gestures: bool = False  # for more than half of the time, or for none of it


STANDS = Wanted(frozenset({STAND}), 0.0, 0.4)
GESTURES = Wanted(frozenset({STAND, TALK_TO, WAVE}), 0.0, 0.4, gestures=True)
WALKS = Wanted(frozenset({WALK}), 1.5, 9.0)
RUNS = Wanted(frozenset({RUN}), 1.5, 9.0)


def stretches(pool: list[Segment], wanted: Wanted) -> list[Segment]:
    """The segments of FRAMES frames that fit, one for every frame that one may begin with."""
    found = []
    for segment in pool:
        starts = np.arange(segment.first, segment.last - FRAMES + 1)
        if not segment.actions <= wanted.actions or not len(starts):
            continue
        floor = segment.clip.translation[:, [0, 2]]
        way = np.linalg.norm(floor[starts + FRAMES - 1] - floor[starts], axis=1)
        gesture = segment.clip.labels[:, [TALK_TO - 1, WAVE - 1]].any(axis=1)
        counted = np.concatenate([[0], np.cumsum(gesture)])
        share = (counted[starts + FRAMES] - counted[starts]) / FRAMES
        fits = (way >= wanted.shortest) & (way <= wanted.longest)
        fits &= share > 0.5 if wanted.gestures else share == 0
        found += [Segment(segment.clip, first, first + FRAMES) for first in starts[fits].tolist()]
    return found


class Troupes:
    """Draws troupes from the takes of a pool. Raises BadInput for a pool in which nobody stands or walks.

    Takes are drawn first and stretches within them after, so that a long take is no more frequent than a
    short one. Where no take gestures, as may be in a fold, nobody does; where none runs, all walk.
    """

    def __init__(self, pool: list[Segment]) -> None:
        self.parts = {wanted: _by_take(stretches(pool, wanted)) for wanted in (STANDS, GESTURES, WALKS, RUNS)}
        for wanted, told in ((STANDS, "stands"), (WALKS, "walks")):
            if not self.parts[wanted]:
                needed = f"a take in which somebody {told} for {FRAMES} frames"
                raise BadInput("group activities", "takes", needed, "none")

    def draw(self, rng: np.random.Generator, moving: bool, body: Body) -> list[Performance]:
        """Three to six people who stand, the first of them gesturing; with `moving` all walk, or all run."""
        people = int(rng.integers(FEWEST, MOST + 1))
        if moving:
            parts = [WALKS if rng.random() < WALKING or not self.parts[RUNS] else RUNS] * people
        else:
            parts = [GESTURES if self.parts[GESTURES] else STANDS] + [STANDS] * (people - 1)
        return [self._performance(rng, wanted, body) for wanted in parts]

    def _performance(self, rng: np.random.Generator, wanted: Wanted, body: Body) -> Performance:
        takes = self.parts[wanted]
        own = takes[rng.integers(len(takes))]
        segment = own[rng.integers(len(own))]
        clip = mirror(segment.clip) if rng.random() < 0.5 else segment.clip
        part = slice(segment.first, segment.last)
        there, only = np.ones(FRAMES, bool), np.zeros(FRAMES, np.int64)
        motion = (clip.pose[part], clip.translation[part], clip.labels[part])
        source = np.arange(segment.first, segment.last)
        plain = Performance(*motion, there, np.zeros(10, np.float32), (clip.name,), only, source)
        return shaped(plain, random_betas(rng), body)


def _by_take(found: list[Segment]) -> list[list[Segment]]:
    takes: dict[str, list[Segment]] = {}
    for segment in found:
        takes.setdefault(segment.clip.take, []).append(segment)
    return list(takes.values())


# ---------------------------------------------------------------------------------------- who stands where


def _polar(angle: Any, distance: Any) -> Floats:
    """(…,2) x and z of what lies `distance` metres away in the direction `angle`, 0 being +z."""
    return np.stack([np.sin(angle) * distance, np.cos(angle) * distance], axis=-1)


def _waiting(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    """Anywhere, anyhow."""
    return rng.uniform(-np.pi, np.pi, people), rng.uniform(-2.5, 2.5, (people, 2))


def _queue(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    """One behind the other, all facing the same way."""
    spots = _polar(0.0, 0.85 * rng.permutation(people)) + rng.normal(0, 0.06, (people, 2))
    return rng.normal(0, 0.15, people), spots


def _conversation(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    """In a circle, facing its middle."""
    around = 2 * np.pi * rng.permutation(people) / people
    spots = _polar(around, 0.35 + 0.16 * people + np.abs(rng.normal(0, 0.1, people)))
    return around + np.pi + rng.normal(0, 0.2, people), spots


def _audience(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    """The first before all others, who stand in a fan and face the first."""
    fan = 0.35 * (np.arange(people) - people / 2)
    spots = _polar(fan, rng.uniform(2.2, 3.4, people))
    spots[0], angles = 0, fan + np.pi
    angles[0] = 0
    return angles + rng.normal(0, 0.2, people), spots


def _together(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    """Two and two, all the same way."""
    place = rng.permutation(people)
    spots = np.stack([1.0 * (place % 2), 1.1 * (place // 2)], axis=1) + rng.normal(0, 0.1, (people, 2))
    return rng.normal(0, 0.1, people), spots


def _crossing(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    """Two streams against or across each other, through one place."""
    second = rng.permutation(people) % 2
    angles = second * rng.choice([np.pi, np.pi / 2, -np.pi / 2]) + rng.normal(0, 0.15, people)
    return angles, rng.normal(0, 0.8, (people, 2))


def _gathering(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    """From all sides to one place; where they are in the last frame."""
    around, spots = _circle(rng, people)
    return around + np.pi, spots


def _scattering(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    """From one place to all sides; where they are in the first frame."""
    return _circle(rng, people)


def _circle(rng: np.random.Generator, people: int) -> tuple[Floats, Floats]:
    around = 2 * np.pi * rng.permutation(people) / people + rng.normal(0, 0.15, people)
    return around, _polar(around, rng.uniform(0.6, 1.4, people))


Layout = Callable[[np.random.Generator, int], tuple[Floats, Floats]]  # angles (P,) radians, spots (P,2) m
LAYOUTS: dict[str, Layout] = {
    "waiting": _waiting,
    "queue": _queue,
    "conversation": _conversation,
    "audience": _audience,
    "together": _together,
    "crossing": _crossing,
    "gathering": _gathering,
    "scattering": _scattering,
}


def put(performance: Performance, angle: float, spot: Floats, at: int) -> Performance:
    """The performance with its frame `at` at `spot` (2,), going to `angle`; who goes nowhere faces that way.

    It is moved as a whole: turned about the vertical, and shifted on the floor.
    """
    way = performance.translation[-1] - performance.translation[0]
    goes = np.hypot(way[0], way[2]) > GESTURES.longest * 1.25  # legs of another length stretch a path
    own = np.arctan2(way[0], way[2]) if goes else heading(performance.pose[at, 0])
    to = np.array([spot[0], 0, spot[1]], np.float32)
    pose, translation = turned(
        performance.pose, performance.translation, angle - own, performance.translation[at], to
    )
    return replace(performance, pose=pose, translation=translation)


def arrange(rng: np.random.Generator, troupe: list[Performance], activity: str) -> list[Performance] | None:
    """The troupe in the places of an activity, so that nobody walks through anybody; None if that fails."""
    at = ANCHORS.get(activity, len(troupe[0].pose) // 2)
    for _ in range(TRIES):
        angles, spots = LAYOUTS[activity](rng, len(troupe))
        turn = rng.uniform(-np.pi, np.pi)
        spots = spots @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        actors = [put(one, a + turn, s, at) for one, a, s in zip(troupe, angles, spots, strict=True)]
        if all(closest(a, b) > ROOM for i, a in enumerate(actors) for b in actors[:i]):
            return actors
    return None


# --------------------------------------------------------------------------------------------------- scenes


def group_scenes(troupes: Troupes, seed: tuple[int, ...], moving: bool, body: Body) -> list[Scene]:
    """The four scenes of one troupe, in the order of STANDING or of MOVING; all chance comes from `seed`.

    A troupe is taken only if it fits all four, so that one that fits some alone tells nothing. Scene k has
    the seed (*seed, k). Raises BadInput where no troupe fits.
    """
    activities, draws = MOVING if moving else STANDING, stream(seed, "people")
    for _ in range(TROUPES):
        troupe, casting = troupes.draw(draws, moving, body), stream(seed, "cast")
        arranged = [arrange(casting, troupe, activity) for activity in activities]
        placed = [actors for actors in arranged if actors is not None]
        if len(placed) == len(activities):
            return [_filmed((*seed, k), actors, body) for k, actors in enumerate(placed)]
    raise BadInput("group activities", "troupe", "one that can be placed without a collision", "none")


def _filmed(seed: tuple[int, ...], actors: list[Performance], body: Body) -> Scene:
    camera = shoot(stream(seed, "camera"), actors, FRAMES)
    outfits = dress(stream(seed, "outfits"), len(actors), alike=0.5)
    return Scene(seed, body, actors, outfits, camera, film(actors, camera, body), composited=True)


def group_activity(
    size: str = "smoke",
    seed: int = 0,
    cache: str | Path | None = None,
    jobs: int = -1,
    fold: tuple[int, int] | None = None,
) -> LabelledVideos:
    """The data set of group activities of a size (one of GROUP_SIZES) and seed; arguments as
    `labelled_videos`.

    A unit is a troupe: four videos of the same people.
    """
    return labelled_videos(GROUPS, size, seed, cache, jobs, fold)


def _groups(pool: list[Segment], body: Body) -> Compose:
    troupes = Troupes(pool)

    def troupe(unit: int, seed: tuple[int, ...]) -> list[Staged]:
        moving = unit % 2 == 1
        scenes = group_scenes(troupes, seed, moving, body)
        labels = [ACTIVITIES.index(name) for name in (MOVING if moving else STANDING)]
        clips = tuple(name for actor in scenes[0].actors for name in actor.takes)
        return [Staged(scene, label, clips) for scene, label in zip(scenes, labels, strict=True)]

    return troupe


GROUP_SIZES = {"smoke": (8, 4), "laptop": (120, 60), "many": (480, 60)}  # troupes to learn from, to validate
GROUPS = Task("groups", COMPOSED, ACTIVITIES, GROUP_SIZES, _groups, mixed=True)
