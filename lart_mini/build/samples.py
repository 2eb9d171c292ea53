"""A dozen tracklets in the released format that show what tracklets are like: data_samples/tracklets/.

They are composed as mini_ava is, in videos of their own, and are the same on every run.
`python -m lart_mini.build samples` makes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from lart_mini.data.mini_ava import TAKES
from lart_mini.data.videos import Video, compose_scene, video_of
from lart_mini.files import atomic_path, sha256
from lart_mini.lart.teacher import fit_teacher, teach
from lart_mini.people import body, clips
from lart_mini.scenes.takes import LISTEN_TO, TALK_TO, Segment, scored_actions, segments
from lart_mini.tracking.faults import Faults
from lart_mini.tracklets.released import write_released
from lart_mini.tracklets.tracklet import Tracklet

SEED = 2  # of the samples' videos
FIRST_VIDEO = 900000  # their numbers, so that no video of mini_ava has the same name
TAUGHT_ON = 24  # labelled videos that the teacher of the pseudo labels is fitted on
# Numbers are kept in steps of 1 / this: no tracker is more exact, and the files compress to half their size.
STEPS = {"pose": 1024, "translation": 1024, "labels": 1024, "joints": 512, "betas": 128, "confidence": 128}
STEPS |= {"appearance": 64, "box": 4}
PLAIN = Faults(false_track=0)
SWITCHED = 286  # from which video on to look for a switch: plain ones are rare


@dataclass(frozen=True)
class Sample:
    """A tracklet, what it was chosen to show, and the takes of its video, person by person."""

    tracklet: Tracklet
    shows: str
    takes: list[list[str]]


def make_samples() -> list[Sample]:
    """The twelve samples, in a fixed order; on the free body, whatever LART_MINI_SMPL says."""
    return [
        *_samples("three people of one scene, gaps, ground truth", "ava-train", PLAIN, _three_people),
        *_samples("a person and a false track", "ava-train", Faults(false_track=1), _false_track),
        *_samples("an identity switch, by overlap alone", "ava-train", PLAIN, _switched, "iou", SWITCHED),
        *_samples("two people in conversation", "ava-val", PLAIN, _conversation),
        *_samples("a performer whom training never shows", "ava-test", PLAIN, _one_person),
        *_taught(_samples("pseudo labels and appearance", "kinetics-train", PLAIN, _two_people)),
    ]


def _samples(
    shows: str,
    split: str,
    faults: Faults,
    wanted: Callable[[Video, int], bool],
    tracker: str = "lart",
    first: int = 0,
) -> list[Sample]:
    """The tracklets of a split's first video, from number `first` on, for which `wanted` holds."""
    for index in count(first):
        video = _compose(split, index, faults, tracker)
        if wanted(video, index):
            takes = video.about["takes"]
            return [Sample(rounded(tracklet), shows, takes) for tracklet in video.tracklets]
    raise AssertionError("count() never ends")


def _three_people(video: Video, index: int) -> bool:
    gaps = [1 - tracklet.detected.mean() for tracklet in video.tracklets]
    return video.about["actors"] == len(gaps) == 3 and 0.1 < max(gaps) < 0.5


def _false_track(video: Video, index: int) -> bool:
    still = [(tracklet.pose == tracklet.pose[0]).all() for tracklet in video.tracklets]
    return video.about["actors"] == 1 and sorted(still) == [False, True]


def _switched(video: Video, index: int) -> bool:
    """Whether there are two tracks, and one shows two people, each for a fifth of its detections or more."""
    if len(video.tracklets) != 2:
        return False
    people = _compose("ava-train", index, PLAIN, "truth").tracklets
    own = [
        [(one.betas == person.betas).all(axis=1)[one.detected].mean() for person in people]
        for one in video.tracklets
    ]
    return any(sum(share >= 0.2 for share in shares) == 2 for shares in own)


def _conversation(video: Video, index: int) -> bool:
    labels = [set((np.flatnonzero(t.labels.any(axis=0)) + 1).tolist()) for t in video.tracklets]
    return len(labels) == 2 and TALK_TO in labels[0] and LISTEN_TO in labels[1]


def _one_person(video: Video, index: int) -> bool:
    return len(video.tracklets) == 1


def _two_people(video: Video, index: int) -> bool:
    return video.about["actors"] == len(video.tracklets) == 2


def _taught(samples: list[Sample]) -> list[Sample]:
    labelled = [t for index in range(TAUGHT_ON) for t in _compose("ava-train", index, Faults()).tracklets]
    taught = teach(fit_teacher(labelled), [sample.tracklet for sample in samples])
    return [replace(s, tracklet=rounded(t)) for s, t in zip(samples, taught, strict=True)]


@lru_cache
def _pool(split: str) -> tuple[list[Segment], list[int]]:
    """Segments that a split may use, and the evaluated actions they show."""
    pool = segments(clips.load_library(), TAKES[split])
    return pool, scored_actions(pool)


def _compose(split: str, index: int, faults: Faults, tracker: str = "lart") -> Video:
    pool, actions = _pool(split)
    action, number, seed = actions[index % len(actions)], FIRST_VIDEO + index, (SEED, index)
    free_body = body.load_body(body.FREE_BODY)
    scene = compose_scene(pool, split, 1, action, seed, free_body)
    return video_of(scene, split, number, free_body, tracker, faults)


def rounded(tracklet: Tracklet) -> Tracklet:
    """The tracklet with its numbers in whole steps of 1 / STEPS."""
    changed = {}
    for field, steps in STEPS.items():
        array = getattr(tracklet, field)
        if array is not None:
            changed[field] = (np.round(array * steps) / steps).astype(np.float32)
    return replace(tracklet, **changed)


def write_samples(folder: Path) -> list[Sample]:
    """Write the samples and manifest.json (SHA-256, what a file shows, its takes); other .pkl files go."""
    # In one thread, the teacher too: last bits depend on how many share a product.
    with threadpool_limits(1):
        samples = make_samples()
    manifest = {}
    for sample in samples:
        path = folder / f"{sample.tracklet.name}.pkl"
        write_released(sample.tracklet, path, compress=True)
        manifest[path.name] = {"sha256": sha256(path), "shows": sample.shows, "takes": sample.takes}
    for path in folder.glob("*.pkl"):
        if path.name not in manifest:
            path.unlink()
    with atomic_path(folder / "manifest.json") as temporary:
        temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return samples
