"""Videos with one label each, composed on first use and cached: what SkeleTR, LART and linear models read.

A *task* (`video_level`, `group_activity`) composes scenes; here they are detected, tracked for LART, given
skeletons for SkeleTR, and kept on disk, the training takes' and the validation takes' apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from lart_mini.data.cache import cache_root, keep
from lart_mini.data.folds import split_by_fold
from lart_mini.data.mini_ava import SIZES, recipe_digest
from lart_mini.data.skeletons import Skeletons, load_skeletons, save_skeletons, skeletons_2d
from lart_mini.data.videos import FEWEST
from lart_mini.files import LARGEST_SEED, BadInput, process_count, whole_number, write_npz
from lart_mini.people.body import Body, load_body
from lart_mini.people.clips import load_library
from lart_mini.progress import progress
from lart_mini.reading.arrays import open_npz
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.staging import Performance
from lart_mini.scenes.takes import Array, Segment, segments
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.detector import detect
from lart_mini.tracking.tracker import track
from lart_mini.tracking.tracks import follow, tracklet_of
from lart_mini.tracklets import npz
from lart_mini.tracklets.tracklet import Tracklet

SPLITS = ("train", "val")
BENT = 21  # SMPL joints, from the hips to the wrists, whose local rotations a motion is told by
MOTION = 6 * BENT + 6  # numbers of Actors.motion
TABLE = "videos.json"
FILES = sorted(
    [TABLE, *(f"{split}-{part}.npz" for split in SPLITS for part in ("tracklets", "actors", "2d"))]
)
VERSION = 1  # raised with every change of what is made: caches of another version are made anew


@dataclass(frozen=True, eq=False)
class Staged:
    """A scene of a task, before anybody has looked at it."""

    scene: Scene
    label: int
    clips: tuple[str, ...]  # names of those that the label rests on


# (unit, seed) → the scenes of a unit, one or more that belong together; all chance comes from the seed.
Compose = Callable[[int, tuple[int, ...]], list[Staged]]


@dataclass(frozen=True)
class Task:
    """What is asked, and how its scenes are made: `prepare` makes of the takes of a pool what composes
    them."""

    name: str  # of the cache's folder and the tracklets' data set: letters alone
    title: str  # the first line of all that is printed
    classes: tuple[str, ...]
    units: dict[str, tuple[int, int]]  # of each size: units to learn from, and to validate
    prepare: Callable[[list[Segment], Body], Compose]
    mixed: bool = False  # does every video mix takes, so that none rests on one
    version: int = 1  # raised with every change of what is composed


@dataclass(frozen=True, eq=False)
class Actors:
    """What is true of the A actors of all videos of a split, in the world: for controls and judging only."""

    video: NDArray[np.int64]  # (A,) row in the table of the split's videos
    place: Array  # (A,T,2) x and z, metres
    facing: Array  # (A,T) radians, 0 is +z
    present: NDArray[np.bool_]  # (A,T)
    motion: Array  # (A,MOTION) how somebody moves, wherever it is: `own_motion`


@dataclass(frozen=True)
class LabelledVideos:
    """A task's data set on disk. Everything of a split is in the order of `videos(split)`."""

    path: Path
    title: str
    classes: tuple[str, ...]
    mixed: bool = False  # as of its Task

    def videos(self, split: str) -> pl.DataFrame:
        """One row a video: split, video, label, name of its class, people, unit, takes."""
        if split not in SPLITS:
            raise BadInput(self.path, "split", " | ".join(SPLITS), split)
        return pl.read_json(self.path / TABLE).filter(pl.col("split") == split)

    def labels(self, split: str) -> NDArray[np.int64]:
        """(N,) numbers of the videos' classes."""
        return self.videos(split)["label"].to_numpy().astype(np.int64)

    def resampled(self, split: str) -> list[tuple[str, ...]]:
        """By what accuracy is resampled (evaluation.accuracy): the takes of each video.

        Where videos mix takes it is their unit instead: few takes are in all of them, and an interval then
        says how sure a number is of these takes, and nothing of others.
        """
        table = self.videos(split)
        if self.mixed:
            return [(f"unit {unit}",) for unit in table["unit"].to_list()]
        return [tuple(takes) for takes in table["takes"].to_list()]

    def tracklets(self, split: str) -> list[list[Tracklet]]:
        """Of each video the tracklets, without labels, as LART's tracker made them."""
        found: dict[str, list[Tracklet]] = {video: [] for video in self.videos(split)["video"]}
        for tracklet in npz.load_tracklets(self.path / f"{split}-tracklets.npz"):
            found[tracklet.video].append(tracklet)
        return list(found.values())

    def skeletons(self, split: str) -> list[Skeletons]:
        """Of each video the 2D skeletons of all who were detected."""
        self.videos(split)
        return load_skeletons(self.path / f"{split}-2d.npz")

    def actors(self, split: str) -> Actors:
        """What is true of everybody: for controls and judging only."""
        self.videos(split)
        path = self.path / f"{split}-actors.npz"
        with open_npz(path) as archive:
            return Actors(**{name: archive.read(name, None, "iufb") for name in Actors.__annotations__})

    def text(self) -> str:
        """What there is, to be read: the title, and of each class how many videos, people and takes."""
        lines = [self.title, f"{'':16}" + "".join(f"{split:>27}" for split in SPLITS)]
        tables = [self.videos(split) for split in SPLITS]
        for label, name in enumerate(self.classes):
            line = f"{name:16}"
            for table in tables:
                own = table.filter(pl.col("label") == label)
                takes, people = set(own["takes"].explode().drop_nulls()), own["people"].to_numpy()
                mean = people.mean() if len(people) else 0.0
                line += f"{len(own):5} videos{mean:4.1f} people{len(takes):3} takes"
            lines.append(line)
        return "\n".join(lines)


def labelled_videos(
    task: Task,
    size: str = "smoke",
    seed: int = 0,
    cache: str | Path | None = None,
    jobs: int = -1,
    fold: tuple[int, int] | None = None,
) -> LabelledVideos:
    """The data set of a task, composed if the cache does not hold it yet; arguments are `mini_ava`'s.

    No take is in both splits, but for those that the single split parts in time (`scenes.segments`); with
    `fold` (k, K) none at all. Raises BadInput for a size, seed, fold or `jobs` that is none.
    """
    if size not in task.units:
        raise BadInput(task.name, "size", " | ".join(task.units), size)
    whole_number(task.name, "seed", seed, 0, LARGEST_SEED)
    jobs, library = process_count(jobs), load_library()
    if fold is not None:
        library = split_by_fold(library, fold)
    part = "" if fold is None else f"fold{fold[0] + 1}of{fold[1]}-"
    library_and_body = recipe_digest(SIZES["smoke"], 0, "lart")
    recipe = [VERSION, task.version, task.units[size], seed, fold, library_and_body]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    path = cache_root(cache) / f"{task.name}-{size}-{seed}-{part}{digest}"
    chance = (seed,) if fold is None else (seed, *fold)
    pools = [segments(library, split) for split in SPLITS]
    keep([path], FILES, lambda made: _compose(task, task.units[size], chance, pools, made[path], jobs))
    return LabelledVideos(path, task.title, task.classes, task.mixed)


# ------------------------------------------------------------------------------------------------- composing


@dataclass(frozen=True, eq=False)
class Video:
    """One composed video and all that is kept of it."""

    about: dict
    tracklets: list[Tracklet]
    skeletons: Skeletons  # 2D
    actors: list[Performance]


def _compose(
    task: Task,
    units: tuple[int, int],
    seed: tuple[int, ...],
    pools: list[list[Segment]],
    out: Path,
    jobs: int,
) -> None:
    about: list[dict] = []
    for number, (split, count, pool) in enumerate(zip(SPLITS, units, pools, strict=True)):
        videos = composed(task, split, pool, count, (*seed, number), jobs)
        npz.save_tracklets([t for v in videos for t in v.tracklets], out / f"{split}-tracklets.npz")
        save_skeletons([v.skeletons for v in videos], out / f"{split}-2d.npz")
        actors = actors_of([v.actors for v in videos])
        write_npz(out / f"{split}-actors.npz", vars(actors))
        about += [v.about for v in videos]
    pl.DataFrame(about).write_json(out / TABLE)


def composed(
    task: Task, split: str, pool: list[Segment], count: int, seed: tuple[int, ...], jobs: int = -1
) -> list[Video]:
    """The videos of `count` units of a split; unit i has the seed (*seed, i)."""
    body, take_of = load_body(), {segment.clip.name: segment.clip.take for segment in pool}
    compose = task.prepare(pool, body)

    def unit(index: int) -> list[Video]:
        with threadpool_limits(1):  # the last bits of a matrix product depend on how many share it
            staged = enumerate(compose(index, (*seed, index)))
            return [video_of(one, task, split, (index, part), take_of, body) for part, one in staged]

    made = Parallel(n_jobs=jobs, return_as="generator")(delayed(unit)(index) for index in range(count))
    bar = progress(made, total=count, desc=f"composing {task.name} {split}")
    return [video for videos in bar for video in videos]


def video_of(
    staged: Staged, task: Task, split: str, number: tuple[int, int], take_of: dict[str, str], body: Body
) -> Video:
    """The scene as its detector sees it: tracklets of LART's tracker, skeletons, and what is true of it.

    number: of the unit, and within it; take_of: clip → take.
    """
    scene = staged.scene
    name = f"{split:_<5}{number[0]:05d}{number[1]}"  # eleven characters, as YouTube's names have
    about = {
        "split": split,
        "video": name,
        "label": staged.label,
        "class": task.classes[staged.label],
        "people": len(scene.actors),
        "unit": number[0],
        "takes": sorted({take_of[clip.removesuffix("_mirrored")] for clip in staged.clips}),
    }
    detections = detect(scene)
    tracklets = tracklets_of(scene, detections, task.name, name, body)
    return Video(about, tracklets, skeletons_2d(scene, detections, name), scene.actors)


def tracklets_of(scene: Scene, detections: Detections, task: str, video: str, body: Body) -> list[Tracklet]:
    """Tracklets over all frames of a scene, linked by LART's tracker; none of fewer than FEWEST
    detections."""
    if len(detections) == 0:
        return []
    tracks, where = follow(detections, track(detections), 0, scene.frames), scene.camera.size
    return [
        tracklet_of(
            number,
            person,
            body,
            dataset=f"{task}-{video[:5].strip('_')}",
            video=video,
            keyframe=scene.frames // 2,
            first=0,
            frame_size=where,
        )
        for number, person in tracks.items()
        if person.detected.sum() >= FEWEST
    ]


# -------------------------------------------------------------------------------- what is true of the actors


def actors_of(videos: Sequence[Sequence[Performance]]) -> Actors:
    """The actors of videos, of T frames all, one after the other."""
    everybody = [actor for actors in videos for actor in actors]
    stood = [stance(actor) for actor in everybody]
    return Actors(
        video=np.repeat(np.arange(len(videos)), [len(actors) for actors in videos]),
        place=np.stack([place for place, _ in stood]),
        facing=np.stack([facing for _, facing in stood]),
        present=np.stack([actor.present for actor in everybody]),
        motion=np.stack([own_motion(actor) for actor in everybody]),
    )


def stance(actor: Performance) -> tuple[Array, Array]:
    """Where an actor is (T,2), x and z in metres, and which way it faces (T,), radians, 0 being +z."""
    forward = actor.pose[:, 0, :, 2]  # the body's z in the world
    return actor.translation[:, [0, 2]], np.arctan2(forward[:, 0], forward[:, 2])


def own_motion(actor: Performance) -> Array:
    """How an actor moves (MOTION,), the same wherever it stands and faces: for models blind to relations.

    Mean and standard deviation over time of the joints' local rotations (axis-angle), of speed (m/s), of
    turning (radians/s) and of the pelvis' height (m).
    """
    there = actor.present
    place, facing = (array[there] for array in stance(actor))
    bends = Rotation.from_matrix(actor.pose[there, 1 : BENT + 1].reshape(-1, 3, 3)).as_rotvec()
    speed = np.linalg.norm(np.diff(place, axis=0), axis=1) * 30
    turning = np.abs(np.diff(np.unwrap(facing))) * 30
    courses = [bends.reshape(-1, 3 * BENT), speed[:, None], turning[:, None], actor.translation[there, 1:2]]
    told = [(course.mean(axis=0), course.std(axis=0)) for course in courses]
    return np.concatenate([number for pair in told for number in pair]).astype(np.float32)
