"""Video level: the label is true by construction, accuracy counts takes, and LART's class token sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from factories import IDENTITY, make_tracklet
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini.data.folds import split_by_fold
from lart_mini.data.labelled_videos import LabelledVideos, labelled_videos
from lart_mini.data.video_level import (
    CLASSES,
    COMPOSED,
    LEAST_SEEN,
    QUIET,
    ROOM,
    SHOWN_BY,
    VIDEOS,
    class_of,
    parts_of,
    video_scene,
)
from lart_mini.evaluation.accuracy import accuracy, draw_takes
from lart_mini.evaluation.intervals import Draws
from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig, StageConfig
from lart_mini.lart.video_level import VideoDataset, VideoLART, train_on_videos, video_scores
from lart_mini.people.body import Body
from lart_mini.people.clips import Clip
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.staging import closest
from lart_mini.scenes.takes import Segment, segments
from lart_mini.tracklets.tracklet import Tracklet

Library = dict[str, Clip]


# ------------------------------------------------------------------------------------------- what is composed


@pytest.fixture(scope="module")
def pools(library: Library) -> dict[str, list[Segment]]:
    return {split: segments(library, split) for split in ("train", "val")}


@pytest.fixture(scope="module")
def scenes(pools: dict[str, list[Segment]], free_body: Body) -> dict[int, Scene]:
    parts = parts_of(pools["train"])
    return {label: video_scene(parts, label, (5, label), free_body) for label in (0, 5, 9, 12, *QUIET)}


def test_a_frame_has_the_first_class_that_it_shows() -> None:
    for shown, expected in (
        ((1,), "bend"),
        ((1, 36), "lift or put down"),
        ((3, 47), "lift or put down"),
        ((12, 79), "talk"),
        ((12, 20), "climb"),
        ((10, 17), "carry"),
        ((12,), "all stand"),
        ((11,), None),
        ((12, 74, 80), None),
        ((), None),
    ):
        labels = np.zeros((1, 80), np.uint8)
        labels[0, np.array(shown, int) - 1] = 1
        assert class_of(labels)[0] == (-1 if expected is None else CLASSES.index(expected))


def test_the_label_is_true_of_the_performer_and_of_nobody_else(scenes: dict[int, Scene]) -> None:
    for label, scene in scenes.items():
        for number, actor in enumerate(scene.actors):
            shown = set(class_of(actor.labels[actor.present]).tolist())
            allowed = {label} if label in QUIET else {label, *QUIET} if number == 0 else set(QUIET)
            assert shown <= allowed, (CLASSES[label], number, [CLASSES[k] for k in shown])
        lead, seen = scene.actors[0], scene.filmed[0].visible > 0.25
        assert ((class_of(lead.labels) == label) & seen).sum() >= LEAST_SEEN
        assert 1 <= len(scene.actors) <= 5
        assert all(closest(a, b) > ROOM for i, a in enumerate(scene.actors) for b in scene.actors[:i])


def test_a_scene_is_its_seeds(
    pools: dict[str, list[Segment]], scenes: dict[int, Scene], free_body: Body
) -> None:
    again = video_scene(parts_of(pools["train"]), 9, (5, 9), free_body)
    for a, b in zip(scenes[9].filmed, again.filmed, strict=True):
        np.testing.assert_array_equal(a.box, b.box)
    other = video_scene(parts_of(pools["train"]), 9, (6, 9), free_body)
    assert not np.array_equal(other.camera.rotation, again.camera.rotation)


def test_no_frame_is_both_learnt_and_scored(library: Library, pools: dict[str, list[Segment]]) -> None:
    def frames(pool: list[Segment]) -> set[tuple[str, int]]:
        parts = [part for own in parts_of(pool).values() for part in own]
        return {(part.clip.name, t) for part in parts for t in range(part.first, part.last)}

    assert not frames(pools["train"]) & frames(pools["val"])
    learnt, held = (parts_of(pools[split]) for split in ("train", "val"))
    for label, own in held.items():
        shared = {s.clip.take for s in own} & {s.clip.take for s in learnt[label]}
        assert all(library[s.clip.name].split == "time" for s in own if s.clip.take in shared)
    assert len(learnt) == len(CLASSES) and len(held) >= len(CLASSES) - 1
    for fold in range(3):
        parted = split_by_fold(library, (fold, 3))
        learnt, held = (parts_of(segments(parted, split)) for split in ("train", "val"))
        takes = [{s.clip.take for own in parts.values() for s in own} for parts in (learnt, held)]
        assert not takes[0] & takes[1]
        assert len(held) > 7


def test_every_class_has_ids_of_its_own() -> None:
    ids = [action for own in SHOWN_BY.values() for action in own]
    assert len(ids) == len(set(ids)) and len(CLASSES) == 15


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledVideos:
    few = replace(VIDEOS, units={"few": (4, 2)})
    return labelled_videos(few, "few", 0, tmp_path_factory.mktemp("cache"), jobs=1)


def test_a_data_set_holds_what_models_read(data: LabelledVideos) -> None:
    assert data.text().splitlines()[0] == COMPOSED
    assert data.labels("train").tolist() == [0, 1, 2, 3]
    for split in ("train", "val"):
        table = data.videos(split)
        assert len(data.tracklets(split)) == len(data.skeletons(split)) == len(table)
        assert all(len(t) == 128 for tracklets in data.tracklets(split) for t in tracklets)
        assert data.resampled(split) == [tuple(takes) for takes in table["takes"].to_list()]
        assert all(data.resampled(split))
    with pytest.raises(BadInput, match=r"train \| val"):
        data.videos("test")


# -------------------------------------------------------------------------------------------------- accuracy


def whole(takes: list[str], weights: list[list[int]]) -> Draws:
    """Draws that repeat takes a whole number of times."""
    rows = np.array([[1] * len(takes), *weights], float)
    return Draws(tuple(takes), rows, np.zeros((len(weights), 64)))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_weights_are_repetitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names, count = ["a", "b", "c"], 12
    takes = [[names[k]] for k in rng.integers(0, 3, count)]
    labels, guesses = rng.integers(0, 3, count), rng.integers(0, 3, (2, count))
    weights = rng.integers(1, 4, (3, 3)).tolist()
    found = accuracy(labels, guesses, takes, 3, whole(names, weights))
    for row, weight in enumerate([[1, 1, 1], *weights]):
        repeated = np.repeat(np.arange(count), [weight[names.index(own[0])] for own in takes])
        right = (guesses == labels)[:, repeated]
        np.testing.assert_allclose(found.top1[:, row], right.mean(axis=1))


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(1)
    takes = [[f"take{k // 10}", f"take{(k // 10 + 1) % 20}"] for k in range(200)]
    labels = rng.integers(0, 3, 200)
    hard = rng.random(20)[np.arange(200) // 10] < 0.5  # whole takes are hard, for both systems alike
    worse = np.where(hard, (labels + 1) % 3, labels)
    better = np.where(hard & (rng.random(200) < 0.2), labels, worse)
    draws = draw_takes(takes)
    a, b = (accuracy(labels, guess, takes, 3, draws) for guess in (better, worse))
    gap, own = a.minus(b), a.estimate()
    assert gap.low > 0 and gap.value == pytest.approx(a.top1[0, 0] - b.top1[0, 0])
    assert gap.high - gap.low < 0.8 * (own.high - own.low)
    assert a.minus(a).low == a.minus(a).high == 0
    with pytest.raises(BadInput, match="the same for both"):
        a.minus(accuracy(labels, worse, takes, 3, draw_takes(takes)))


def test_what_does_not_fit_together_has_no_accuracy() -> None:
    takes = [["a"], ["b"], ["c", "d"]]
    draws = draw_takes(takes)
    for labels, guesses, own, field in (
        ([0, 1], [[0]], [["a"], ["b"]], "labels, guesses and takes"),
        ([0, 5], [[0, 0]], [["a"], ["b"]], "labels"),
        ([0, 1], [[0, -1]], [["a"], ["b"]], "guesses"),
        ([0, 1], [[0, 1]], [["a"], ["z"]], "takes of video 1"),
        ([0, 1], [[0, 1]], [["a"], []], "takes of video 1"),
    ):
        with pytest.raises(BadInput, match=f"accuracy: {field}:"):
            accuracy(labels, guesses, own, 3, draws)


# ---------------------------------------------------------------------------------------- LART's class token

SMALL = LARTConfig(people=3, frames=12, width=16, depth=2, heads=2, pose_width=16, classes=4, dropout=0.0)
RELEASED = LARTConfig.released(
    people=3, frames=12, width=16, depth=2, heads=2, head_width=4, pose_width=16, joints_width=0,
    appearance=0, appearance_width=0, classes=4, dropout=0.0,
)  # fmt: skip
ROUTES = {"post": SMALL, "pre": replace(SMALL, norm="pre"), "released": RELEASED}


def people(video: int, count: int, shift: float = 0.0) -> list[Tracklet]:
    """Tracklets of one video."""
    made = []
    for track in range(count):
        one = make_tracklet(12, seed=10 * video + track, track=track)
        name = f"videos-train_{video:011d}_000006_{track}_12"
        moved = one.translation + np.float32(shift)
        made.append(replace(one, name=name, video=f"{video:011d}", keyframe=6, frame=np.arange(12),
                            translation=moved).validate())  # fmt: skip
    return made


def dataset(videos: list[list[Tracklet]], config: LARTConfig, **settings: Any) -> VideoDataset:
    labels = np.arange(len(videos)) % 4
    return VideoDataset(videos, labels, stats=IDENTITY, config=config, **{"train": False} | settings)


@pytest.mark.parametrize("route", ROUTES)
def test_a_token_before_the_blocks_sees_and_one_after_them_does_not(route: str) -> None:
    videos = [people(0, 2), people(1, 3)]
    for where, sees in (("before", True), ("after", False)):
        torch.manual_seed(0)
        model = VideoLART(ROUTES[route], where)
        scores = video_scores(model, dataset(videos, ROUTES[route]))
        moved = video_scores(model, dataset([people(0, 2, 3.0), people(1, 3, 3.0)], ROUTES[route]))
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
        assert (np.abs(scores - moved).max() > 1e-3) == sees
        assert (np.abs(scores[0] - scores[1]).max() > 1e-3) == sees


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("train", [False, True])
def test_a_videos_score_is_its_own(route: str, train: bool) -> None:
    """Whoever else is in the batch: empty slots and padding of fuller videos are not attended to."""
    torch.manual_seed(0)
    config = ROUTES[route]
    model = VideoLART(config).eval()
    samples = dataset([people(0, 1), people(1, 3), people(2, 2)], config, train=train, mask_ratio=0.3 * train)
    together = model(samples.place(samples.load([0, 1, 2]), torch.device("cpu")))
    alone = torch.cat([model(samples[i]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


def test_unseen_frames_do_not_count_in_training() -> None:
    torch.manual_seed(0)
    model, videos = VideoLART(SMALL).eval(), [people(0, 2), people(1, 2)]
    changed = [[replace(t, pose=np.where(t.detected[:, None, None, None], t.pose, 9).astype(np.float32))
                for t in tracklets] for tracklets in videos]  # fmt: skip
    first, second = (dataset(own, SMALL, train=True) for own in (videos, changed))
    torch.testing.assert_close(model(first[0]), model(second[0]))


def test_it_learns_which_video_is_which() -> None:
    """Four classes by how people are posed; masked tokens and batches as in any training."""
    videos = [people(k, 1 + k % 3) for k in range(8)]
    config = StageConfig(epochs=30, batch_size=4, lr=3e-3, warmup_epochs=2, mask_ratio=0.2)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = VideoLART(SMALL)
        history = train_on_videos(model, dataset(videos, SMALL, train=True, mask_ratio=0.2), config, False)
        runs.append(video_scores(model, dataset(videos, SMALL)))
    assert history.loss[-1] < history.loss[0] / 2
    np.testing.assert_array_equal(*runs)
    assert (runs[0].argmax(axis=1) == np.arange(8) % 4).mean() >= 0.75
    torch.manual_seed(0)
    blind = VideoLART(SMALL, "after")
    train_on_videos(blind, dataset(videos, SMALL, train=True, mask_ratio=0.2), config, False)
    assert len(set(video_scores(blind, dataset(videos, SMALL)).argmax(axis=1))) == 1


def test_trouble_is_told() -> None:
    with pytest.raises(BadInput, match="class_token"):
        VideoLART(SMALL, "beside")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="video 1: expected a tracklet"):
        dataset([people(0, 1), []], SMALL)
    with pytest.raises(BadInput, match="video 1: expected tracklets of one scene"):
        dataset([people(0, 1), [*people(1, 1), *people(2, 1)]], SMALL)
    for labels in ([0], [0, 1, 2]):
        with pytest.raises(BadInput, match=f"labels: expected 2, one a video, found {len(labels)}"):
            VideoDataset(
                [people(0, 1), people(1, 1)], np.array(labels), stats=IDENTITY, config=SMALL, train=False
            )
    with pytest.raises(BadInput, match="mask_ratio"):
        train_on_videos(VideoLART(SMALL), dataset([people(0, 1)], SMALL, train=True), StageConfig())
