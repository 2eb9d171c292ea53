"""Skeletons: what a keypoint detector would say of a scene's people, and short sequences of them.

COCO's 17 joints, as HRNet gives them: in the picture (2D), or of HMR's body (3D). They lie beside mini_ava:
the same scenes, the same boxes, and chance of a stream of their own, so that no tracklet knows of them.
A sequence is T skeletons about a centre, linked by how much their boxes overlap (SkeleTR, section 3.2).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lart_mini import ava
from lart_mini.boxes import overlap
from lart_mini.data.cache import cache_root
from lart_mini.data.mini_ava import SIZES, SPLITS, plan, recipe_digest
from lart_mini.data.videos import compose_scene, detected, video_name
from lart_mini.files import LARGEST_SEED, BadInput, locked, process_count, whole_number, write_npz
from lart_mini.people.body import JOINT_NAMES, Body, forward_kinematics, load_body
from lart_mini.progress import progress
from lart_mini.reading.arrays import open_npz
from lart_mini.scenes.camera import project, seen_points
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.takes import Array, Segment, scored_actions
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.faults import drift

COCO17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee",
    "left_ankle", "right_ankle",
)  # fmt: skip
HEAD = ("nose", "leye", "reye", "lear", "rear")  # points of the surface, as the body names them
JOINTS = [JOINT_NAMES.index(name) for name in COCO17[5:]]
HIPS = [COCO17.index("left_hip"), COCO17.index("right_hip")]
# COCO's σ_k: how far annotators of a joint lie apart, by the root of a person's area, halved.
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float32) / 1000
NOISE = 0.4  # of 2σ_k √area along each axis: a mean object keypoint similarity of 1 / (1 + 0.4²) = 0.86
UNSEEN_NOISE = 4  # times as much for joints out of the frame, behind somebody, or lost
LOST, FOUND = 0.01, 0.3  # chance a frame that a joint is lost, and found again
BODY_SHARE = 0.5  # of a box: a person's area
FARTHEST = 3.0  # of what a network reads of 2D joints
VERSION = 1  # raised with every change of what is made: caches of another version are made anew
KINDS = ("2d", "3d")
Kind = Literal["2d", "3d"]
Links = Literal["overlap", "true"]


@dataclass(frozen=True, eq=False)
class Skeletons:
    """N skeletons of one video, ordered by frame; within a frame the order means nothing."""

    frame: NDArray[np.int64]  # (N,) never falling
    box: Array  # (N,4) x, y, w, h pixels
    keypoint: Array  # (N,V,C) 2D: x, y pixels; 3D: metres, camera frame: x right, y down, z forward
    score: Array  # (N,V) in [0, 1]
    frame_size: NDArray[np.int64]  # (2,) height, width in pixels
    person: NDArray[np.int64]  # (N,) who it is, −1 for nobody real or not known: for judging only
    video: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    def validate(self, file: object | None = None) -> Skeletons:
        """Return the skeletons, or raise BadInput (naming `file`, else the video) on a wrong field."""
        where = file or self.video or "skeletons"
        joints, channels = self.keypoint.shape[1:] if self.keypoint.ndim == 3 else ("V", "C")
        for field, shape in _shapes(len(self), joints, channels).items():
            array = getattr(self, field)
            if array.shape != shape:
                raise BadInput(where, field, f"shape {shape}", f"shape {array.shape}")
            if not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0, 0])
                raise BadInput(where, field, "finite numbers", f"NaN or infinity at row {row}")
        if (np.diff(self.frame) < 0).any():
            raise BadInput(where, "frame", "numbers that never fall", "one that does")
        if (self.box[:, 2:] <= 0).any():
            raise BadInput(where, "box", "width and height above 0", self.box[:, 2:].min())
        if (self.score < 0).any() or (self.score > 1).any():
            raise BadInput(where, "score", "numbers in [0, 1]", f"{self.score.min()} to {self.score.max()}")
        return self


def _shapes(count: int, joints: Any, channels: Any) -> dict[str, tuple[Any, ...]]:
    rows = {"frame": (), "box": (4,), "keypoint": (joints, channels), "score": (joints,), "person": ()}
    return {name: (count, *shape) for name, shape in rows.items()} | {"frame_size": (2,)}


# ------------------------------------------------------------------------------------------- a scene's people


def coco17(body: Body, pose: Array, betas: Array, translation: Array) -> Array:
    """Pose (T,24,3,3), betas (10,) or (T,10), translation (T,3) -> COCO's joints (T,17,3), metres.

    Shoulders to ankles are SMPL's joints; nose, eyes and ears points of the surface.
    """
    joints = forward_kinematics(pose, body.rest_joints(betas), translation)[:, JOINTS]
    head = body.points(pose, betas, translation, [body.vertex_ids[name] for name in HEAD])
    return np.concatenate([head, joints], axis=1).astype(np.float32)


def skeletons_2d(scene: Scene, detections: Detections, video: str = "") -> Skeletons:
    """Keypoints in the picture of everybody who was detected, pixels; all chance comes from the scene's seed.

    The true body is projected: an image detector does not inherit HMR's errors of depth. Its noise drifts
    and is NOISE of what COCO's annotators are apart; joints that nobody can see, or that get lost, have
    UNSEEN_NOISE times that and a low score. Of a false detection its own body is projected.
    """
    rng, n = scene.stream("keypoints"), len(detections)
    keypoint, score = np.zeros((n, 17, 2), np.float32), np.zeros((n, 17), np.float32)
    for actor in range(len(scene.actors)):
        pixels, sure = _looked_at(rng, scene, actor)
        rows = np.flatnonzero(detections.actor == actor)
        keypoint[rows], score[rows] = pixels[detections.frame[rows]], sure[detections.frame[rows]]
    rows = np.flatnonzero(detections.actor < 0)
    shown = detections[rows]
    body = coco17(scene.body, shown.pose, shown.betas, shown.translation)
    keypoint[rows], score[rows] = project(body, scene.camera), rng.uniform(0.2, 0.7, (len(rows), 17))
    return _made(scene, detections, keypoint, score, video)


def _looked_at(rng: np.random.Generator, scene: Scene, actor: int) -> tuple[Array, Array]:
    """Pixels (T,17,2) and scores (T,17) of an actor's joints in each frame, as detected."""
    person, size = scene.filmed[actor], scene.camera.size
    true = coco17(scene.body, person.pose, person.betas, person.translation)
    pixels = project(true, scene.camera)
    others = [
        (other.box, other.translation, scene.actors[number].present)
        for number, other in enumerate(scene.filmed)
        if number != actor
    ]
    unseen = ~seen_points(pixels, true, person.translation, others, size) | _lost(rng, scene.frames)
    extent = np.maximum(person.box[:, 2:] - person.box[:, :2], 1)
    root = np.sqrt(BODY_SHARE * extent.prod(axis=1))  # of the person's area, pixels
    spread = NOISE * 2 * SIGMAS * root[:, None] * np.where(unseen, UNSEEN_NOISE, 1)  # (T,17)
    error = drift(rng, 1.0, scene.frames, 17, 2) * spread[..., None]
    sure = np.clip(rng.normal(0.88, 0.06, unseen.shape), 0.4, 1)
    doubted = rng.uniform(0, 0.35, unseen.shape)
    return (pixels + error).astype(np.float32), np.where(unseen, doubted, sure).astype(np.float32)


def _lost(rng: np.random.Generator, frames: int) -> NDArray[np.bool_]:
    """Frames (T,17) in which each joint is lost, in bursts."""
    draws, lost = rng.random((frames, 17)), np.zeros((frames, 17), np.bool_)
    for t in range(1, frames):
        lost[t] = np.where(lost[t - 1], draws[t] >= FOUND, draws[t] < LOST)
    return lost


def skeletons_3d(scene: Scene, detections: Detections, video: str = "") -> Skeletons:
    """The same joints of the bodies that HMR gave, metres, camera frame; scores are the detector's."""
    keypoint = coco17(scene.body, detections.pose, detections.betas, detections.translation)
    return _made(scene, detections, keypoint, np.tile(detections.confidence[:, None], 17), video)


def _made(scene: Scene, detections: Detections, keypoint: Array, score: Array, video: str) -> Skeletons:
    size = np.array(scene.camera.size, np.int64)
    return Skeletons(detections.frame, detections.box, keypoint, score, size, detections.actor, video)


# ------------------------------------------------------------------------------------------ mini_ava's videos


def mini_skeletons(
    split: str,
    size: str = "smoke",
    seed: int = 0,
    cache: str | Path | None = None,
    jobs: int = -1,
    kind: Kind = "2d",
    fold: tuple[int, int] | None = None,
) -> list[Skeletons]:
    """The skeletons of each video of a split of mini_ava, in its order; made if the cache lacks them.

    Arguments are `mini_ava`'s. Boxes are those of its tracklets, whoever links them (but "perfect", whose are
    others). Raises BadInput for a split, size, seed, kind, fold or `jobs` that is none.
    """
    for field, value, known in (
        ("split", split, SPLITS),
        ("size", size, tuple(SIZES)),
        ("kind", kind, KINDS),
    ):
        if value not in known:
            raise BadInput("skeletons", field, " | ".join(known), value)
    whole_number("skeletons", "seed", seed, 0, LARGEST_SEED)
    jobs, planned = process_count(jobs), [one for one in plan(SIZES[size], seed, fold) if one[0] == split]
    if not planned:
        raise BadInput("skeletons", "split", "one that a fold has", split)
    part = "" if fold is None else f"fold{fold[0] + 1}of{fold[1]}-"
    recipe = json.dumps([VERSION, recipe_digest(SIZES[size], seed, "lart", fold)])
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    folder = cache_root(cache) / f"skeletons-{size}-{seed}-{part}{digest}"
    with locked(folder, "skeletons", f"lock-{split}", wait=True):
        try:
            return load_skeletons(folder / f"{split}-{kind}.npz")
        except (FileNotFoundError, BadInput):  # not made yet, or damaged
            made = _compose(planned[0], SIZES[size].windows, jobs)
        for one in KINDS:
            save_skeletons([video[one] for video in made], folder / f"{split}-{one}.npz")
        return [video[kind] for video in made]


def _compose(
    planned: tuple[str, list[Segment], int, tuple[int, ...]], windows: int, jobs: int
) -> list[dict[str, Skeletons]]:
    """2D and 3D skeletons of the scenes that a split of mini_ava consists of (`plan`)."""
    split, pool, count, chance = planned
    body, actions = load_body(), scored_actions(pool)

    def video(index: int, action: int) -> dict[str, Skeletons]:
        with threadpool_limits(1):  # as mini_ava, so that boxes are the same to the last bit
            scene = compose_scene(pool, split, windows, action, (*chance, index), body)
            seen, name = detected(scene, split), video_name(split, index)
            return {"2d": skeletons_2d(scene, seen, name), "3d": skeletons_3d(scene, seen, name)}

    leading = zip(range(count), cycle(actions), strict=False)
    made = Parallel(n_jobs=jobs, return_as="generator")(delayed(video)(*task) for task in leading)
    return list(progress(made, total=count, desc=f"skeletons of {split}"))


def save_skeletons(videos: Sequence[Skeletons], path: str | Path) -> None:
    """Write the skeletons of videos, of one layout, into one .npz, all fields one video after the other."""
    arrays: dict[str, NDArray[Any]] = {
        "video": np.array([one.validate(path).video for one in videos], np.str_),
        "length": np.array([len(one) for one in videos], np.int64),
        "frame_size": np.array([one.frame_size for one in videos], np.int64).reshape(-1, 2),
    }
    layouts = sorted({one.keypoint.shape[1:] for one in videos})
    if len(layouts) != 1:
        raise BadInput(path, "keypoint", "videos with joints of one layout", layouts)
    for field in _shapes(0, *layouts[0]):
        if field != "frame_size":
            arrays[field] = np.concatenate([getattr(one, field) for one in videos])
    write_npz(path, arrays)


def load_skeletons(path: str | Path) -> list[Skeletons]:
    """What save_skeletons wrote. Raises BadInput for a file that is none, or has a wrong field."""
    with open_npz(path, "skeletons (.npz)") as archive:
        length = archive.read("length", (None,), "iu").astype(np.int64)
        if (length < 0).any() or length.sum() > np.iinfo(np.int32).max:
            raise BadInput(path, "length", "numbers of skeletons", f"{length.min()} to {length.max()}")
        count, layout = int(length.sum()), archive.layout("keypoint").shape[1:]
        if len(layout) != 2:
            raise BadInput(path, "keypoint", "numbers of shape (N, V, C)", layout)
        rows = {}
        for field, shape in _shapes(count, *layout).items():
            shape = (len(length), 2) if field == "frame_size" else shape
            whole = field in ("frame", "person", "frame_size")
            rows[field] = archive.read(field, shape, "iu" if whole else "f")
            rows[field] = rows[field].astype(np.int64 if whole else np.float32, copy=False)
        names = archive.read("video", (len(length),), "U").tolist()
    sizes, ends = rows.pop("frame_size"), np.cumsum(length)
    return [
        Skeletons(
            **{field: array[end - own : end] for field, array in rows.items()}, frame_size=size, video=name
        ).validate(f"{path} ({name})")
        for name, size, own, end in zip(names, sizes, length, ends, strict=True)
    ]


# -------------------------------------------------------------------------------------------- short sequences


@dataclass(frozen=True, eq=False)
class Sequences:
    """S sequences of T skeletons of one video: numbers of its skeletons."""

    index: NDArray[np.int64]  # (S,T), −1 where nobody was found
    centre: NDArray[np.int64]  # (S,) the skeleton that a sequence was begun with

    def __len__(self) -> int:
        return len(self.centre)


def sequences(
    skeletons: Skeletons,
    frames: int = 10,
    step: int = 3,
    links: Links = "overlap",
    stride: int | None = None,
    least: float = 0.3,
) -> Sequences:
    """A sequence about every skeleton of a key frame, of `frames` frames, every `step`-th of the video.

    Key frames come every `stride` frames, by default half a sequence (T/2, section 3.2). Links are made frame
    by frame from the centre outwards, also in frames that the step leaves out: the box with the largest
    overlap, if that is `least` or more; else the last box is kept for the next frame. `links="true"`: by who
    it is; what is nobody real is linked to nothing.
    """
    half = frames * step // 2
    stride = max(1, half) if stride is None else stride
    centre = np.flatnonzero(skeletons.frame % stride == 0)
    index = np.full((len(centre), frames * step), -1)
    index[:, half] = centre
    if len(centre) == 0:
        return Sequences(index[:, half % step :: step], centre)
    at, first = _by_frame(skeletons.frame)
    for outwards in (range(half - 1, -1, -1), range(half + 1, frames * step)):
        last = centre.copy()  # (S,) the skeleton that each sequence has reached
        for place in outwards:
            row = skeletons.frame[centre] + (place - half - first)
            inside = (row >= 0) & (row < len(at))
            found = at[np.where(inside, row, 0)]  # (S,P) who is in that frame
            there = (found >= 0) & inside[:, None]
            if links == "true":
                fits = ((skeletons.person[found] == skeletons.person[last][:, None]) & there).astype(float)
                fits *= skeletons.person[last][:, None] >= 0
            else:
                fits = overlap(skeletons.box[found], skeletons.box[last][:, None]) * there
            best = fits.argmax(axis=1)
            linked = fits.max(axis=1) >= least
            last = np.where(linked, found[np.arange(len(found)), best], last)
            index[:, place] = np.where(linked, last, -1)
    return Sequences(index[:, half % step :: step], centre)


def _by_frame(frame: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Numbers (F,P) of the skeletons in each frame from the first on, filled up with −1; the first frame."""
    first = int(frame[0])
    rank = np.arange(len(frame)) - np.searchsorted(frame, frame)  # within its frame
    at = np.full((int(frame[-1]) - first + 1, int(rank.max()) + 1), -1)
    at[frame - first, rank] = np.arange(len(frame))
    return at, first


def normalised(skeletons: Skeletons, found: Sequences, unit: Literal["box", "frame"] = "box") -> Array:
    """What a network reads of sequences: (S,T,V,3), zeros where nobody was found.

    2D: x, y, score; x and y about the middle of the centre's box in halves of its height ("box": where in the
    picture somebody is, and how large, changes nothing), or from −1 to 1 across the frame ("frame", pyskl's);
    at most FARTHEST, 0 where the score is 0.01 or less. 3D: metres about the middle of the centre's hips.
    """
    index, centre = found.index, found.centre
    there = (index >= 0)[..., None, None]
    keypoint = skeletons.keypoint[index]  # (S,T,V,C)
    if keypoint.shape[-1] == 3:
        hips = skeletons.keypoint[centre][:, HIPS].mean(axis=1)
        return ((keypoint - hips[:, None, None]) * there).astype(np.float32)
    if unit == "box":
        box = skeletons.box[centre][:, None, None]
        about, scale = box[..., :2] + box[..., 2:] / 2, box[..., 3:] / 2
    else:
        about = scale = skeletons.frame_size[::-1] / 2
    score = skeletons.score[index][..., None]
    place = ((keypoint - about) / scale).clip(-FARTHEST, FARTHEST) * (score > 0.01)
    return (np.concatenate([place, score], axis=-1) * there).astype(np.float32)


def mixed_identities(videos: Sequence[Skeletons], seconds: Sequence[float] = (1, 2, 4, 10)) -> pl.DataFrame:
    """Why short: what boxes' overlap alone makes of longer sequences; one row for each length.

    Columns: seconds; sequences, those about somebody real; mixed, the share that holds somebody else too;
    mixed_crowd, the same in videos of three or more people; filled, the share of the video's frames within
    them that have a skeleton.
    """
    rows = []
    for length in seconds:
        mixed, crowd, filled = [], [], []
        for video in videos:
            found = sequences(video, round(length * ava.FRAMES_PER_SECOND), 1, stride=15)
            real = video.person[found.centre] >= 0
            index, own = found.index[real], video.person[found.centre[real]]
            shown = np.where(index >= 0, video.person[index], -1)
            mixed.append(((shown >= 0) & (shown != own[:, None])).any(axis=1))
            crowd.append(np.full(len(own), len(set(video.person[video.person >= 0].tolist())) >= 3))
            at = video.frame[found.centre[real]][:, None] + np.arange(index.shape[1]) - index.shape[1] // 2
            there = (at >= 0) & (at <= video.frame.max())
            filled.append((index >= 0).sum(axis=1) / there.sum(axis=1))
        one, many = np.concatenate(mixed), np.concatenate(crowd)
        rows.append(
            {
                "seconds": float(length),
                "sequences": len(one),
                "mixed": float(one.mean()) if len(one) else 0.0,
                "mixed_crowd": float(one[many].mean()) if many.any() else 0.0,
                "filled": float(np.concatenate(filled).mean()) if len(one) else 0.0,
            }
        )
    return pl.DataFrame(rows)
