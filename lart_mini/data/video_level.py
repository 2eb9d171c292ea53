"""Video level: one performer of one class, and nobody to four who only stand or walk.

mini_ava's own videos have no label that is true of a whole video, since extras act there too. Here the label
is true by construction: a performer shows one class and nothing else but standing and walking, and so does
nobody else; in two classes more everybody stands, or everybody walks. That is the task of Posetics and
Kinetics (SkeleTR, section 3.4), on captured motion, in composed company.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.data.labelled_videos import Compose, LabelledVideos, Staged, Task, labelled_videos
from lart_mini.files import BadInput
from lart_mini.people.body import Body
from lart_mini.scenes.camera import film, shoot
from lart_mini.scenes.scene import ANNOTATED_FROM, Scene, dress, stream
from lart_mini.scenes.staging import Performance, closest, perform, placed, random_betas, shaped
from lart_mini.scenes.takes import SHORTEST, STAND, WALK, Segment, runs

COMPOSED = "One performer of a class is captured; who stands or walks about is composed, and does not react."
# Class → AVA ids. Of a frame that shows several the first counts: who lifts bends, too.
SHOWN_BY = {
    "lift or put down": (36, 47),
    "talk": (79,),
    "wave": (69,),
    "climb": (20,),
    "carry": (17,),
    "bend": (1,),
    "crouch": (3,),
    "crawl": (2,),
    "dance": (4,),
    "jump": (7,),
    "lie": (8,),
    "martial art": (9,),
    "run": (10,),
    "all stand": (STAND,),
    "all walk": (WALK,),
}
CLASSES = tuple(SHOWN_BY)
# What a performer does before and after, and all others do throughout.
QUIET = (CLASSES.index("all stand"), CLASSES.index("all walk"))
FRAMES = 128  # of a video: one window of LART's, 4.3 seconds
BYSTANDERS = 4  # at most
ROOM = 0.6  # metres between two pelvises
LEAST_SEEN = 15  # frames in which the performer shows the class and is seen
TRIES = 50


def class_of(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number in CLASSES of what frames (T,80) show, −1 for anything else (sitting, getting up, listening)."""
    other = np.ones(ava.CLASS_COUNT, bool)
    found = np.full(len(labels), -1)
    for number, ids in reversed(list(enumerate(SHOWN_BY.values()))):
        columns = np.array(ids) - 1
        other[columns] = False
        found[labels[:, columns].any(axis=1)] = number
    found[labels[:, other].any(axis=1)] = -1
    return found


Parts = dict[int, list[Segment]]  # by class


def parts_of(pool: list[Segment]) -> Parts:
    """By class stretches that show it for half a second or more, beside it nothing but standing and walking.

    Of the QUIET classes: nothing else at all. A class that no take shows so has none.
    """
    shown = [class_of(segment.clip.labels[segment.first : segment.last]) for segment in pool]
    parts: Parts = {}
    for label in range(len(CLASSES)):
        beside = [label] if label in QUIET else [label, *QUIET]
        for segment, numbers in zip(pool, shown, strict=True):
            for first, last in runs(np.isin(numbers, beside)):
                if (numbers[first:last] == label).sum() >= SHORTEST:
                    part = Segment(segment.clip, segment.first + first, segment.first + last)
                    parts.setdefault(label, []).append(part)
    return parts


def performed(rng: np.random.Generator, parts: Parts, label: int, body: Body) -> Performance:
    """Somebody of a random shape who shows class `label` about the video's middle.

    Raises BadInput where no take does.
    """
    if label not in parts:
        raise BadInput("video level", "takes", f"one that shows {CLASSES[label]}", "none")
    own = parts[label]
    ids = [action for action in SHOWN_BY[CLASSES[label]] if any(action in s.actions for s in own)]
    company = [] if label in QUIET else [part for quiet in QUIET for part in parts[quiet]]
    made = perform(rng, own + company, FRAMES, int(rng.choice(ids)))
    return shaped(made, random_betas(rng), body)


def video_scene(parts: Parts, label: int, seed: tuple[int, ...], body: Body) -> Scene:
    """The scene of `seed`: the first actor performs, and there are fewer others where there is no room.

    All chance comes from `seed`. Raises BadInput where no take shows the class, or none long
    enough to be seen.
    """
    count, rng = int(stream(seed, "people").integers(BYSTANDERS + 1)), stream(seed, "cast")
    camera_draws = stream(seed, "camera")
    for _ in range(TRIES):
        actors = _cast(rng, parts, label, count, body)
        camera = shoot(camera_draws, actors, FRAMES)
        filmed = film(actors, camera, body)
        shows = (class_of(filmed[0].labels) == label) & (filmed[0].visible > ANNOTATED_FROM)
        if shows.sum() >= LEAST_SEEN:
            outfits = dress(stream(seed, "outfits"), len(actors), alike=0.5)
            return Scene(seed, body, actors, outfits, camera, filmed, composited=len(actors) > 1)
    raise BadInput("video level", CLASSES[label], f"a take seen for {LEAST_SEEN} frames", "none")


def _cast(
    rng: np.random.Generator, parts: Parts, label: int, bystanders: int, body: Body
) -> list[Performance]:
    """The performer in the middle, the others about, so that nobody walks through anybody."""
    first = placed(performed(rng, parts, label, body), rng.uniform(-np.pi, np.pi), np.zeros(3, np.float32))
    actors = [first]
    for _ in range(bystanders):
        quiet = label if label in QUIET else QUIET[rng.integers(2)]
        other = performed(rng, parts, quiet, body)
        for _ in range(20):
            spot = np.array([rng.uniform(-3, 3), 0, rng.uniform(-2.5, 2.5)], np.float32)
            candidate = placed(other, rng.uniform(-np.pi, np.pi), spot)
            if all(closest(candidate, actor) > ROOM for actor in actors):
                actors.append(candidate)
                break
    return actors


def clips_of(scene: Scene, label: int) -> tuple[str, ...]:
    """Names of the clips by which the performer shows the class."""
    actor = scene.actors[0]
    shows = (class_of(actor.labels) == label) & actor.present
    return tuple(actor.takes[k] for k in np.unique(actor.shown[shows]))


def video_level(
    size: str = "smoke",
    seed: int = 0,
    cache: str | Path | None = None,
    jobs: int = -1,
    fold: tuple[int, int] | None = None,
) -> LabelledVideos:
    """The data set of the video-level task of a size (one of VIDEO_SIZES) and seed; as `labelled_videos`.

    Classes lead in turn. One that no held-out take shows is left out of validation: in the single split that
    is `bend`, since there nobody bends but to lift something.
    """
    return labelled_videos(VIDEOS, size, seed, cache, jobs, fold)


def _videos(pool: list[Segment], body: Body) -> Compose:
    parts = parts_of(pool)
    known = sorted(parts)

    def video(unit: int, seed: tuple[int, ...]) -> list[Staged]:
        label = known[unit % len(known)]
        scene = video_scene(parts, label, seed, body)
        return [Staged(scene, label, clips_of(scene, label))]

    return video


# Of each size: videos to learn from, and to validate.
VIDEO_SIZES = {"smoke": (30, 15), "laptop": (450, 180), "many": (1800, 180)}
VIDEOS = Task("videos", COMPOSED, CLASSES, VIDEO_SIZES, _videos)
