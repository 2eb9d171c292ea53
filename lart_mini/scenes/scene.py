"""The scene: people, what they wear, the camera that films them, and the ground truth. `compose` makes one.

All chance comes from a seed, and each purpose has a stream of its own (`stream`): another camera, other noise
or one draw more in one stage leaves what all other stages draw as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lart_mini.boxes import overlap, xywh_from_corners
from lart_mini.files import BadInput
from lart_mini.people.body import Body
from lart_mini.scenes.camera import Camera, Filmed, film, shoot
from lart_mini.scenes.staging import SHOWN_TO, Performance, cast
from lart_mini.scenes.takes import Array, Segment, scored_actions

# Of the body, each of one colour.
PARTS = ("head", "chest", "hips", "left arm", "right arm", "left leg", "right leg", "feet")
ANNOTATED_FROM = 0.25  # an actor of whom a greater share is visible is ground truth
# Purpose → number of its stream. The stages above (the detector) have theirs here, too, so that no two share
# one. Add numbers, never change one: all data composed so far would move.
PURPOSES = {
    "people": 1,  # how many, and which action is led with
    "cast": 2,  # takes, shapes, places
    "camera": 3,
    "outfits": 4,
    "misses": 5,
    "bodies": 6,  # noise of poses, shapes and places
    "boxes": 7,  # noise of boxes and confidences
    "colours": 8,  # light, noise, and which parts are hidden
    "false positives": 9,
    "order": 10,  # of the detections in a frame
    "mean poses": 11,  # when they take over
    "keypoints": 12,  # noise, scores and losses of 2D keypoints
    "clothes": 20,  # from here on: what only pixels show
    "held": 21,
    "cartons": 22,
    "place": 23,  # room or open, textures, light
    "furniture": 24,
    "sensor": 25,  # colour balance of the camera, and how much grain
    "grain": 26,
}


def stream(seed: tuple[int, ...], purpose: str) -> np.random.Generator:
    """The random numbers that the scene of `seed` has for one of PURPOSES; KeyError for another purpose."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(PURPOSES[purpose],)))


@dataclass(frozen=True, eq=False)
class Scene:
    """One composed video, T frames with P actors: all that a detector, a renderer or a judge may ask for."""

    seed: tuple[int, ...]
    body: Body  # everybody's, each in a shape of their own
    actors: list[Performance]  # motion and shape in the world
    outfits: Array  # (P,8,3) RGB in [0, 1], a colour for each of PARTS
    camera: Camera
    filmed: list[Filmed]  # what the camera sees of each actor
    composited: bool  # a listener was placed before somebody who talked to nobody captured

    @property
    def frames(self) -> int:
        """T."""
        return len(self.camera.rotation)

    @property
    def annotated(self) -> NDArray[np.bool_]:
        """(P,T): is the actor ground truth in the frame?"""
        return np.stack([person.visible for person in self.filmed]) > ANNOTATED_FROM

    @property
    def crossing(self) -> bool:
        """Do two actors change sides while their boxes overlap by a fifth or more?"""
        for i, a in enumerate(self.filmed):
            for b in self.filmed[:i]:
                both = (a.visible > 0) & (b.visible > 0)
                meets = overlap(xywh_from_corners(a.box[both]), xywh_from_corners(b.box[both])) > 0.2
                side = np.sign((a.box - b.box)[both][meets][:, ::2].sum(axis=1))
                if {-1, 1} <= set(side.tolist()):
                    return True
        return False

    def stream(self, purpose: str) -> np.random.Generator:
        """The scene's random numbers for one of PURPOSES, from the beginning."""
        return stream(self.seed, purpose)


def compose(
    pool: list[Segment],
    seed: tuple[int, ...],
    body: Body,
    *,
    frames: int = 300,
    people: int | tuple[int, int] = (3, 5),
    action: int | None = None,
    alike: float = 0.5,
) -> Scene:
    """The scene of `seed`, from the takes of `pool`.

    `people`: so many, or a number from the first to the second (fewer come where there is no room for more;
    a captured pair comes whole). The first actor shows `action`, or one of those that AVA evaluates. Each
    actor is dressed as the one before with the chance `alike`. Raises BadInput for a video too short for the
    action to be seen in it.
    """
    if frames < SHOWN_TO:
        raise BadInput("compose", "frames", f"{SHOWN_TO} or more", frames)
    draws = stream(seed, "people")
    least, most = (people, people) if isinstance(people, int) else people
    count = int(draws.integers(least, most + 1))
    drawn = int(draws.choice(scored_actions(pool)))
    leading = drawn if action is None else action
    actors, composited = cast(stream(seed, "cast"), pool, frames, count, leading, body)
    camera = shoot(stream(seed, "camera"), actors, frames)
    outfits = dress(stream(seed, "outfits"), len(actors), alike)
    return Scene(seed, body, actors, outfits, camera, film(actors, camera, body), composited)


def dress(rng: np.random.Generator, people: int, alike: float) -> Array:
    """Outfits (people,8,3): RGB of each of PARTS; with the chance `alike` nearly those of the one before."""
    outfits: list[NDArray[np.float64]] = []
    shape = len(PARTS), 3
    for _ in range(people):
        own, copies, differs = rng.uniform(0.1, 0.9, shape), rng.random() < alike, rng.normal(0, 0.05, shape)
        outfits.append((outfits[-1] + differs).clip(0, 1) if copies and outfits else own)
    return np.stack(outfits).astype(np.float32)
