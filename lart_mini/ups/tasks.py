"""Four tasks from one motion library: windows of 17 joints, filmed, with what detectors get wrong.

Section 5 of the paper takes each task from a data set of its own: NTU for 3D recognition and early
prediction, Kinetics for 2D recognition, Human3.6M for lifting. Here the motion is the same for all, so one
split by take holds for all four at once: a take that one task learns from is never scored by another.

World: metres, y up. Camera: x right, y down, z forward, metres. Joints: Human3.6M's 17 in their usual order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.data.folds import split_by_fold
from lart_mini.files import BadInput, finite_number, whole_number
from lart_mini.people.body import Body, forward_kinematics, load_body
from lart_mini.people.clips import Clip, load_library
from lart_mini.scenes.takes import part
from lart_mini.ups.config import TREES
from lart_mini.ups.vocabulary import check_task

Floats = NDArray[np.float32]

JOINTS = (
    "hip", "right_hip", "right_knee", "right_foot", "left_hip", "left_knee", "left_foot", "spine", "thorax",
    "nose", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow",
    "right_wrist",
)  # fmt: skip
HEAD_TOP = 10  # the one joint that is no joint of SMPL's
FROM_SMPL = (0, 2, 5, 8, 1, 4, 7, 6, 12, 15, 15, 16, 18, 20, 17, 19, 21)
MIRRORED = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)
SIDES = (4, 1)  # left and right hip: which way a body faces

SPAN, STEP = 60, 6  # frames of a window at 30 a second, and from one that is kept to the next
FRAMES = SPAN // STEP  # N = 10, at 5 a second
MIDDLE = FRAMES // 2  # the frame whose pose is asked for, as in P-STMO, whose setting the paper follows
SHORTEST = 25  # frames of a clip; a shorter window than 60 is held at its last frame
STRIDE = {"train": 10, "val": 15, "test": 15}  # frames from one window to the next
FARTHEST = 1_000_000  # metres or pixels: no coordinate is beyond
RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the frames, that early prediction observes
# The 17 AVA classes that at least four training and four validation windows of the single split show.
CLASSES = (2, 3, 4, 6, 7, 8, 9, 10, 12, 14, 17, 20, 36, 47, 69, 74, 79)
# Of a frame's labels the one that counts: what is done with an object or to a person before the pose.
BEFORE_POSE = (36, 47, 17, 20, 69, 79, 74, 80)


@dataclass(frozen=True, eq=False)
class Windows:
    """W windows of a split."""

    joints: Floats  # (W, 60, 17, 3) metres in the world
    label: NDArray[np.int64]  # (W,) place in CLASSES, -1 for none of them
    take: NDArray[np.str_]  # (W,)

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, rows: Any) -> Windows:
        return Windows(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def labelled_rows(self) -> NDArray[np.int64]:
        """Numbers of those that show a class. Raises BadInput where none does."""
        rows = np.flatnonzero(self.label >= 0)
        if not len(rows):
            raise BadInput("ups", "windows", "one or more that show a class", f"none of {len(self)}")
        return rows

    @property
    def labelled(self) -> Windows:
        """Those that show a class. Raises BadInput where none does."""
        return self[self.labelled_rows]


def human36m(clip: Clip, body: Body) -> Floats:
    """A clip's joints (T, 17, 3) in the world; the head's top is a vertex, the nose SMPL's head joint."""
    joints = forward_kinematics(clip.pose, body.rest_joints(), clip.translation)[:, FROM_SMPL]
    joints[:, HEAD_TOP] = body.points(clip.pose, None, clip.translation, [body.head_top])[:, 0]
    return joints.astype(np.float32)


def frame_class(labels: NDArray[np.uint8]) -> int:
    """A frame's labels (80,) → one AVA id, 0 for none."""
    shown = (np.flatnonzero(labels) + 1).tolist()
    return next((action for action in (*BEFORE_POSE, *shown) if action in shown), 0)


def windows(library: dict[str, Clip], split: str, body: Body, classes: Sequence[int] = CLASSES) -> Windows:
    """The windows of `train`, `val` or `test`; a window's class is what at least half its frames show."""
    joints, labels, takes = [], [], []
    number = {action: i for i, action in enumerate(classes)}
    for clip in library.values():
        first, last = part(clip, split)
        if last - first < SHORTEST:
            continue
        placed, shown = human36m(clip, body), np.array([frame_class(row) for row in clip.labels])
        for start in range(first, max(last - SPAN, first) + 1, STRIDE[split]):
            at = np.minimum(np.arange(start, start + SPAN), last - 1)
            action, count = np.unique(shown[at], return_counts=True)
            most = int(action[count.argmax()]) if count.max() >= SPAN // 2 else 0
            joints.append(placed[at])
            labels.append(number.get(most, -1))
            takes.append(clip.take)
    if not joints:
        raise BadInput("ups", "windows", f"clips for {split}", "none")
    return Windows(np.stack(joints), np.array(labels), np.array(takes))


@lru_cache(maxsize=2)
def load_windows(fold: tuple[int, int] | None = None) -> dict[str, Windows]:
    """Windows by split of the shipped motion: the single split, or fold (k, K) of data.folds, without test.

    What validation shows of a class that training never does is unlabelled there: it could not be learnt.
    Raises BadInput for a fold that is none.
    """
    library = load_library()
    if fold is not None:
        library = split_by_fold(library, fold)
    body = load_body()
    found = {name: windows(library, name, body) for name in (STRIDE if fold is None else ("train", "val"))}
    learnt = np.unique(found["train"].label)
    for name, own in found.items():
        found[name] = Windows(own.joints, np.where(np.isin(own.label, learnt), own.label, -1), own.take)
    return found


# ------------------------------------------------------------------------------------------------- the camera


MOST = {"astray": 1.0, "swapped": 1.0, "size": 0.9, "slower": 0.9}  # of Filming's shares


@dataclass(frozen=True)
class Filming:
    """Where cameras stand, what detectors get wrong, how a performer is varied: ours, not the paper's.

    Raises BadInput for what is no such number, and for a least that is more than its most.
    """

    near: float = 3.5  # metres from the person, least
    far: float = 6.5  # and most
    low: float = 0.6  # height of the camera, least
    high: float = 2.2  # and most
    aim: float = 0.15  # standard deviation of the point looked at, about the hip
    noise_3d: float = 0.02  # metres, a depth camera's
    noise_2d: float = 0.015  # metres at the person
    astray: float = 0.03  # share of 2D joints that are far off
    astray_by: float = 0.08  # metres at the person
    swapped: float = 0.01  # share of frames in which left and right are taken for each other
    size: float = 0.0  # in training: people up to this share larger or smaller
    slower: float = 0.0  # in training: motion up to this share slower

    def __post_init__(self) -> None:
        for field in fields(self):
            most = MOST.get(field.name, math.inf)
            finite_number("filming", field.name, getattr(self, field.name), 0, most)
        finite_number("filming", "near", self.near, 0, self.far)
        finite_number("filming", "low", self.low, 0, self.high)


def film(
    rng: np.random.Generator, world: Floats, filming: Filming | None = None, augment: bool = False
) -> Floats:
    """Windows (B, 60, 17, 3) in the world → N frames before a camera of their own (B, N, 17, 3).

    `augment` draws the first frame, mirrors every other window, and varies size and tempo as `filming` says.
    """
    how, count = filming or Filming(), len(world)
    start = rng.integers(0, STEP, count) if augment else np.zeros(count, int)
    rate = 1 - rng.uniform(0, how.slower, count) if augment and how.slower else np.ones(count)
    at = start[:, None] + np.round(np.arange(FRAMES) * STEP * rate[:, None]).astype(int)
    x = world[np.arange(count)[:, None], at]
    if augment:
        flipped = (rng.random(count) < 0.5)[:, None, None, None]
        x = np.where(flipped, (x * [-1, 1, 1])[:, :, MIRRORED], x)
        if how.size:
            x = x * (1 + rng.uniform(-how.size, how.size, count))[:, None, None, None]
    return _before(rng, x, how).astype(np.float32)


def _before(rng: np.random.Generator, x: NDArray[Any], how: Filming) -> NDArray[Any]:
    """World (B, N, 17, 3) → camera frame: a camera at any side looks at where the middle frame's hip is."""
    count = len(x)
    target = x[:, MIDDLE, 0] + rng.normal(0, how.aim, (count, 3))
    side, away = rng.uniform(0, 2 * np.pi, count), rng.uniform(how.near, how.far, count)
    height = rng.uniform(how.low, how.high, count)
    place = np.stack([target[:, 0] + away * np.sin(side), height, target[:, 2] + away * np.cos(side)], axis=1)
    forward = target - place
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 1, 0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    turn = np.stack([right, np.cross(forward, right), forward], axis=1)  # (B,3,3)
    return np.einsum("bij,bnkj->bnki", turn, x - place[:, None, None])


def seen_in_2d(rng: np.random.Generator, camera: Floats, filming: Filming | None = None) -> Floats:
    """Camera joints → what a 2D detector gives (B, N, 17, 3), as `normalised_2d` has it."""
    how, shape = filming or Filming(), camera.shape[:3]
    depth = camera[..., 2:].clip(0.5)  # whoever runs past the camera
    off = np.where(rng.random((*shape, 1)) < how.astray, how.astray_by, how.noise_2d)
    flat = (camera[..., :2] + rng.normal(0, 1, (*shape, 2)) * off) / depth
    swapped = (rng.random(shape[:2]) < how.swapped)[..., None, None]
    return normalised_2d(np.where(swapped, flat[:, :, MIRRORED], flat))


def normalised_2d(flat: NDArray[np.floating]) -> Floats:
    """x/z, y/z (B, N, J, 2) → the model's input (B, N, J, 3): about the middle hip, times 4; third axis 0."""
    about = 4 * (flat - flat[:, flat.shape[1] // 2, None, :1])
    return np.pad(about.clip(-10, 10), ((0, 0), (0, 0), (0, 0), (0, 1))).astype(np.float32)


def seen_in_3d(rng: np.random.Generator, camera: Floats, filming: Filming | None = None) -> Floats:
    """Camera joints → noisy ones (B, N, 17, 3) in metres about the first frame's hip."""
    noise = (filming or Filming()).noise_3d
    return (camera - camera[:, :1, :1] + rng.normal(0, noise, camera.shape)).astype(np.float32)


# -------------------------------------------------------------------------------------------------- the tasks


@dataclass(frozen=True, eq=False)
class Views:
    """B windows as a task sees them, and what it is asked for."""

    task: str
    pose: Floats  # (B, N, 17, 3) the input, zero where not observed
    seen: NDArray[np.bool_]  # (B, N) which frames are observed
    goal: Floats  # (B, 17, 3) the middle frame's pose about its hip, metres in the camera frame
    label: NDArray[np.int64]  # (B,) place in CLASSES
    take: NDArray[np.str_]  # (B,)

    @property
    def wanted(self) -> Any:
        """Poses for lifting, classes for the others."""
        return self.goal if self.task == "lifting" else self.label


def observed(ratio: float | NDArray[np.floating], count: int, frames: int = FRAMES) -> NDArray[np.bool_]:
    """The first `ratio` of the frames, one or one a window (B, N): at least one. Raises BadInput."""
    share = np.broadcast_to(np.asarray(ratio, np.float64), count)
    if not ((share > 0) & (share <= 1)).all():
        raise BadInput("ups", "ratio", "above 0, at most 1", ratio)
    return np.arange(frames) < np.maximum(np.round(share * frames), 1)[:, None]


def views(
    task: str,
    source: Windows,
    rng: np.random.Generator,
    *,
    ratio: float | NDArray[np.floating] = 1.0,
    augment: bool = False,
    filming: Filming | None = None,
) -> Views:
    """Windows as a task sees them: 2D for lifting and action2d, 3D for early and action3d.

    `ratio` is early prediction's alone. The same generator gives the same views. Raises BadInput.
    """
    flat = check_task(task) in ("lifting", "action2d")
    camera = film(rng, source.joints, filming, augment)
    pose = (seen_in_2d if flat else seen_in_3d)(rng, camera, filming)
    seen = observed(ratio if task == "early" else 1.0, len(source))
    goal = camera[:, MIDDLE] - camera[:, MIDDLE, :1]
    return Views(task, pose * seen[..., None, None], seen, goal, source.label, source.take)


def checked_joints(where: object, field: str, array: Any, joints: tuple[int, ...], axes: int = 3) -> Floats:
    """(T, J, axes) as float32. Raises BadInput for a J that is not listed, and for what is no such number."""
    told = f"numbers (T, {' or '.join(map(str, joints))}, {axes})"
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise BadInput(where, field, told, type(array).__name__)
    if array.ndim != 3 or array.shape[1] not in joints or array.shape[2] != axes or not len(array):
        raise BadInput(where, field, told, f"shape {array.shape}")
    farthest = max(float(array.max()), -float(array.min()))
    if not farthest <= FARTHEST:
        raise BadInput(where, field, f"finite coordinates up to {FARTHEST:,}", farthest)
    return array.astype(np.float32)


def skeleton_views(
    task: str,
    clips: Sequence[NDArray[np.floating]],
    labels: Sequence[int],
    takes: Sequence[str],
    *,
    ratio: float | NDArray[np.floating] = 1.0,
    frames: int = FRAMES,
) -> Views:
    """A user's own 3D joints as `action3d` and `early` see them: `frames` of each clip, evenly over it.

    clips: (T, J, 3) each, metres in a depth camera's frame, joint 0 the hip; J is the model's. A frame of
    zeros shows nobody and is left out. NTU's main person from pyskl's file, by skeletr's `read_annotations`:

        splits, found = read_annotations("ntu60_3danno.pkl", classes=60)
        shown = [(one.keypoint[0], one.label, one.frame_dir) for one in found if one.keypoint.any()]
        seen = skeleton_views("action3d", *zip(*shown))

    Raises BadInput for the tasks that see 2D, for clips that do not fit together or show nobody, and for
    labels that are no whole numbers.
    """
    if check_task(task) not in ("early", "action3d"):
        raise BadInput("ups", "task", "early | action3d, which see 3D", task)
    whole_number("ups", "frames", frames, 1)
    if not clips or not len(clips) == len(labels) == len(takes):
        found = f"{len(clips)}, {len(labels)} and {len(takes)}"
        raise BadInput("ups", "clips, labels, takes", "as many of each, and some", found)
    label = np.asarray(labels)
    if label.dtype.kind not in "iu":
        raise BadInput("ups", "labels", "whole numbers", str(label.dtype))
    joints, drawn = tuple(TREES), []
    for take, clip in zip(takes, clips, strict=True):
        own = checked_joints("ups", f"clip {take}", clip, joints)
        joints = own.shape[1:2]
        own = own[own.any(axis=(1, 2))]
        if not len(own):
            raise BadInput("ups", f"clip {take}", "a frame in which somebody is seen", "none")
        drawn.append(own[np.linspace(0, len(own) - 1, frames).round().astype(int)])
    pose = np.stack(drawn)
    pose = pose - pose[:, :1, :1]
    seen = observed(ratio if task == "early" else 1.0, len(clips), frames)
    goal = pose[:, frames // 2] - pose[:, frames // 2, :1]
    return Views(task, pose * seen[..., None, None], seen, goal, label, np.asarray(takes))


def scored_views(task: str, source: Windows, ratio: float = 1.0, cameras: int = 1) -> Views:
    """The views that every method is scored on: `cameras` of each window, the same for all seeds and models.

    Action tasks see labelled windows alone. At each ratio the cameras and the noise are the same.
    """
    chosen = source if check_task(task) == "lifting" else source.labelled
    rows = np.tile(np.arange(len(chosen)), cameras)
    return views(task, chosen[rows], np.random.default_rng(99), ratio=ratio)


def training_views(
    task: str,
    source: Windows,
    rng: np.random.Generator,
    count: int,
    filming: Filming | None = None,
    ratio: float | None = None,
) -> Views:
    """A training batch: windows for lifting, classes by the root of their number for the others.

    Early prediction draws a ratio a window where none is given. Raises BadInput as `views` and `labelled` do.
    """
    if task == "lifting":
        rows = rng.integers(0, len(source), count)
    else:
        labelled = source.labelled_rows
        rare = np.bincount(source.label[labelled])[source.label[labelled]] ** -0.5
        rows = labelled[rng.choice(len(labelled), count, p=rare / rare.sum())]
    share = ratio if ratio is not None else rng.choice(RATIOS, count) if task == "early" else 1.0
    return views(task, source[rows], rng, ratio=share, augment=True, filming=filming)
