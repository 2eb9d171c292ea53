"""mini_ava on disk: equal for equal seeds, checked by hash, its ground truth and tracklets in agreement."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lart_mini import ava
from lart_mini.data.mini_ava import (
    SIZES,
    SPLITS,
    TRACKERS,
    MiniAva,
    Size,
    Video,
    _recipe,
    compose_video,
    mini_ava,
)
from lart_mini.evaluation import ava_csv
from lart_mini.files import BadInput
from lart_mini.people.body import Body
from lart_mini.people.clips import Clip
from lart_mini.scenes.takes import segments
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.detector import Faults
from lart_mini.tracking.tracker import TrackerConfig, track

MODULE = sys.modules["lart_mini.data.mini_ava"]  # in the folder the name is the function
LABELLED = ("ava-train", "ava-val", "ava-test")
SMALLEST = Size(train=1, kinetics=1, val=1, test=1, windows=1)


@pytest.fixture
def smallest(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(SIZES, "smallest", SMALLEST)
    return "smallest"


def truth_of(data: MiniAva, split: str) -> pl.DataFrame:
    return ava_csv.read_groundtruth(data.groundtruth(split))


# -------------------------------------------------------------------------------------------------- the cache


def test_what_is_composed_depends_on_the_seed_alone(smallest: str, tmp_path: Path) -> None:
    once, again, other = (
        mini_ava(smallest, seed, tmp_path / place, jobs=jobs)
        for seed, place, jobs in ((3, "a", 1), (3, "b", 2), (4, "a", 1))
    )
    digests = [(data.path / "sha256.json").read_text() for data in (once, again, other)]
    assert digests[0] == digests[1] != digests[2]
    assert once.path.name == again.path.name and once.path != other.path


def test_a_whole_folder_is_read_and_a_damaged_one_composed_again(
    smallest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mini_ava(smallest, 0, tmp_path, jobs=1)
    files = {p.name: p.read_bytes() for p in data.path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "_compose", lambda *_: pytest.fail("composed what the cache holds"))
        assert mini_ava(smallest, 0, tmp_path).path == data.path
    for name in ("ava-val.npz", "ava-train.csv"):
        whole = data.path / name
        whole.write_bytes(whole.read_bytes()[:-7])
        mini_ava(smallest, 0, tmp_path, jobs=1)
        assert {p.name: p.read_bytes() for p in data.path.iterdir()} == files
    (data.path / "ava-test.npz").unlink()
    mini_ava(smallest, 0, tmp_path, jobs=1)
    assert {p.name: p.read_bytes() for p in data.path.iterdir()} == files
    assert sorted(p.name for p in tmp_path.iterdir()) == [data.path.name]


def test_nothing_half_composed_stays(smallest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compose(size: Size, seed: int, out: Path, jobs: int, tracker: str) -> None:
        (out / "ava-val.npz").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(MODULE, "_compose", compose)
    with pytest.raises(KeyboardInterrupt):
        mini_ava(smallest, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_may_be_named_by_the_environment(
    smallest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LART_MINI_CACHE", str(tmp_path / "there"))
    assert mini_ava(smallest, 0, jobs=1).path.parent == tmp_path / "there"


def test_the_recipe_is_the_size_the_seed_the_tracker_and_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _recipe(SMALLEST, 0, "lart")
    assert _recipe(SMALLEST, 1, "lart") != before
    assert _recipe(SMALLEST, 0, "iou") != before
    assert _recipe(Size(2, 1, 1, 1, 1), 0, "lart") != before
    monkeypatch.setattr(MODULE, "VERSION", 0)
    assert _recipe(SMALLEST, 0, "lart") != before


def test_unknown_sizes_and_splits_are_refused(tiny: MiniAva, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"size: expected smoke \| laptop"):
        mini_ava("enormous", 0, tmp_path)
    with pytest.raises(BadInput, match=r"tracker: expected lart \| iou \| truth \| none, found sort"):
        mini_ava("smoke", 0, tmp_path, tracker="sort")
    with pytest.raises(BadInput, match="split: expected one of ava-train"):
        tiny.tracklets("train")
    with pytest.raises(BadInput, match="kinetics-train"):
        tiny.groundtruth("kinetics-train")


# ----------------------------------------------------------------------------------------------- ground truth


@pytest.mark.parametrize("split", LABELLED)
def test_ground_truth_is_avas(tiny: MiniAva, split: str) -> None:
    table = truth_of(tiny, split)
    assert len(table) > 5
    corners = table.select("x1", "y1", "x2", "y2").to_numpy()
    assert corners.min() >= 0 and corners.max() <= 1
    assert (corners[:, 2:] > corners[:, :2]).all()
    assert set(table["action"]) <= set(ava.NAMES)
    assert 902 <= table["second"].min() and table["second"].max() <= 905
    assert set(table["video"]) <= set(tiny.videos(split)["video"])
    assert not table.is_duplicated().any() and not table["person"].has_nulls()
    lines = tiny.groundtruth(split).read_text().splitlines()
    assert len(lines) == len(table)
    assert {line.split(",")[1] for line in lines} <= {"0902", "0903", "0904", "0905"}


def test_one_person_has_one_pose_and_one_box_a_second(tiny: MiniAva) -> None:
    poses = [c.id for c in ava.CLASSES if c.category == "PM"]
    for split in LABELLED:
        table = truth_of(tiny, split)
        people = table.group_by("video", "second", "person").agg(
            pl.col("action").is_in(poses).sum().alias("poses"),
            pl.struct("x1", "y1", "x2", "y2").n_unique().alias("boxes"),
        )
        assert people["boxes"].max() == 1 and people["poses"].max() == 1


def test_no_take_is_in_training_and_in_a_scored_split(tiny: MiniAva, library: dict[str, Clip]) -> None:
    def takes(split: str) -> set[str]:
        videos = tiny.videos(split)["takes"].to_list()
        clips = [library[n.removesuffix("_mirrored")] for people in videos for names in people for n in names]
        return {clip.take for clip in clips if clip.split != "time"}

    learnt = takes("ava-train") | takes("kinetics-train")
    assert learnt and takes("ava-val") and takes("ava-test")
    assert not learnt & (takes("ava-val") | takes("ava-test"))


# -------------------------------------------------------------------------------------------------- tracklets


@pytest.mark.parametrize("split", SPLITS)
def test_tracklets_are_valid_and_named_by_their_split(tiny: MiniAva, split: str) -> None:
    members = tiny.tracklets(split)
    assert len({t.name for t in members}) == len(members) > 1
    for tracklet in members:
        tracklet.validate()
        assert tracklet.dataset == split and tracklet.detected.sum() >= 8
        np.testing.assert_array_equal(np.diff(tracklet.frame), 1)
        assert len(tracklet) == (300 if split == "kinetics-train" else 128)
        rotations = tracklet.pose.reshape(-1, 3, 3)
        np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-4)


@pytest.mark.parametrize("split", LABELLED)
def test_labels_are_the_rows_of_the_csv(tiny: MiniAva, split: str) -> None:
    table = truth_of(tiny, split)
    told: dict[tuple[str, int], list[set[int]]] = {}
    for (video, second, _), rows in table.group_by("video", "second", "person"):
        told.setdefault((str(video), int(str(second))), []).append(set(rows["action"]))
    seen = 0
    for tracklet in tiny.tracklets(split):
        for t in np.flatnonzero((tracklet.frame % 30 == 0) & (tracklet.label_source == 2)):
            actions = set((np.flatnonzero(tracklet.labels[t]) + 1).tolist())
            assert tracklet.detected[t], "only who is seen at the key frame is known"
            assert actions in told[tracklet.video, ava.second(int(tracklet.frame[t]))]
            seen += 1
        unlabelled = tracklet.label_source == 0
        assert not tracklet.labels[unlabelled].any() and set(tracklet.label_source.tolist()) <= {0, 2}
    assert seen >= 0.9 * len(told) > 3, "the detector misses few"


def test_training_boxes_at_key_frames_are_the_ground_truths_with_its_labels(tiny: MiniAva) -> None:
    table = truth_of(tiny, "ava-train")
    size = np.array([1280, 720, 1280, 720])
    found = 0
    for tracklet in tiny.tracklets("ava-train"):
        for t in np.flatnonzero((tracklet.frame % 30 == 0) & (tracklet.label_source == 2)):
            assert tracklet.detected[t], "given boxes are never missed"
            rows = table.filter(video=tracklet.video, second=ava.second(int(tracklet.frame[t])))
            box = np.r_[tracklet.box[t, :2], tracklet.box[t, :2] + tracklet.box[t, 2:]] / size
            near = np.abs(rows.select("x1", "y1", "x2", "y2").to_numpy() - box).max(axis=1) < 0.002
            assert set(rows.filter(near)["action"]) == set(np.flatnonzero(tracklet.labels[t]) + 1)
            found += 1
    assert found == table.select("video", "second", "person").n_unique()


def test_a_label_holds_for_the_second_about_its_key_frame(tiny: MiniAva) -> None:
    for tracklet in tiny.tracklets("ava-val"):
        state = np.c_[tracklet.labels, tracklet.label_source]
        changes = tracklet.frame[1:][(state[1:] != state[:-1]).any(axis=1)]
        assert set((changes % 30).tolist()) <= {15}, "also where identities were switched"


# ------------------------------------------------------------------------------------------- who links what


@pytest.fixture(scope="module")
def linked(library: dict[str, Clip], free_body: Body) -> dict[str, dict[str, Video]]:
    """Split → tracker → the same crowded video of the split."""
    made: dict[str, dict[str, Video]] = {}
    for split in ("ava-train", "kinetics-train"):
        pool = segments(library, "train")
        made[split] = {
            tracker: compose_video(pool, split, 0, 12, 2, (3, 9), free_body, tracker)
            for tracker in TRACKERS
        }
    return made


def boxes(video: Video, frames: list[int]) -> set[tuple[float, ...]]:
    """Frame, box and confidence of everything that tracklets have detected at some frames."""
    found = [
        (int(one.frame[t]), *one.box[t].tolist(), float(one.confidence[t]))
        for one in video.tracklets
        for t in np.flatnonzero(one.detected & np.isin(one.frame, frames))
    ]
    assert len(set(found)) == len(found), "a detection is in one tracklet at most"
    return set(found)


@pytest.mark.parametrize("split", ["ava-train", "kinetics-train"])
def test_all_trackers_link_the_same_detections_of_the_same_scene(
    linked: dict[str, dict[str, Video]], split: str
) -> None:
    videos = linked[split]
    assert videos["lart"].about["actors"] > 2
    keys = list(range(0, 300, 30) if split == "kinetics-train" else range(60, 271, 30))
    every = boxes(videos["none"], keys)
    for tracker in ("lart", "iou", "truth"):
        assert (videos[tracker].about, videos[tracker].rows) == (videos["none"].about, videos["none"].rows)
        assert boxes(videos[tracker], keys) <= every
        assert len(boxes(videos[tracker], keys)) > 0.9 * len(every)


def test_without_tracking_a_tracklet_is_one_detection(linked: dict[str, dict[str, Video]]) -> None:
    for split, videos in linked.items():
        for one in videos["none"].tracklets:
            one.validate()
            assert len(one) == 1 and one.detected.all() and one.frame[0] == one.keyframe
            assert one.frame[0] % 30 == 0
        labelled = [one for one in videos["none"].tracklets if one.label_source[0] == 2]
        told = {(row[1], row[-1]) for row in videos["none"].rows}
        assert len(labelled) == len(told) and (split == "kinetics-train") == (not told)


def test_true_identities_never_change_the_person(linked: dict[str, dict[str, Video]]) -> None:
    for videos in linked.values():
        made = videos["truth"].tracklets
        assert len({(one.scene, one.track) for one in made}) == len(made)
        for one in made:
            assert 0 <= one.track < videos["truth"].about["actors"]
            shape = one.betas[one.detected]
            # Another person has another shape, and within one person it only drifts.
            assert np.abs(np.diff(shape, axis=0)).max() < 0.6


def test_windows_are_tracked_each_on_its_own(
    library: dict[str, Clip], free_body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spy(window: Detections, config: TrackerConfig) -> np.ndarray:
        asked.append((int(window.frame[0]), int(window.frame[-1]), config))
        return track(window, config)

    monkeypatch.setattr(MODULE, "track", spy)
    pool = segments(library, "train")
    made = compose_video(pool, "ava-val", 0, 12, 2, (3, 9), free_body)
    assert asked == [(41, 168, TrackerConfig.lart()), (161, 288, TrackerConfig.lart())]
    starts = {(one.keyframe, int(one.frame[0]), len(one)) for one in made.tracklets}
    assert starts == {(120, 41, 128), (240, 161, 128)}


def test_few_detections_make_no_tracklet_and_missed_ones_no_label(
    library: dict[str, Clip], free_body: Body
) -> None:
    blind, pool = Faults(miss_start=0.6, miss_stop=0.04), segments(library, "train")
    made = compose_video(pool, "ava-val", 0, 12, 2, (3, 9), free_body, "truth", blind)
    assert 0 < len(made.tracklets) < 2 * made.about["actors"]
    assert min(one.detected.sum() for one in made.tracklets) >= 8
    labelled = [(one.label_source == 2)[one.frame % 30 == 0] for one in made.tracklets]
    seen = [one.detected[one.frame % 30 == 0] for one in made.tracklets]
    assert np.concatenate(labelled).any(), "the led action is labelled where somebody is seen"
    assert not (np.concatenate(labelled) & ~np.concatenate(seen)).any(), "nobody missed there is labelled"


def test_pretraining_clips_have_no_labels(tiny: MiniAva) -> None:
    for tracklet in tiny.tracklets("kinetics-train"):
        assert not tracklet.labels.any() and not tracklet.label_source.any()


def test_summary_and_classes_count_what_is_there(tiny: MiniAva) -> None:
    summary, classes = tiny.summary(), tiny.boxes_per_class()
    assert summary["split"].to_list() == list(SPLITS)
    assert summary["videos"].to_list() == [8, 2, 5, 2]
    for row in summary.rows(named=True):
        members = tiny.tracklets(row["split"])
        assert row["tracklets"] == len(members) and row["frames"] == sum(len(t) for t in members)
        assert 0.5 < row["detected"] < 1
        if row["split"] == "kinetics-train":
            assert row["boxes"] == row["classes"] == 0
            continue
        table = truth_of(tiny, row["split"])
        assert row["boxes"] == table.group_by("video", "second", "person").len().height
        counts = dict(zip(classes["id"], classes[row["split"]], strict=True))
        assert {i: n for i, n in counts.items() if n} == dict(table.group_by("action").len().iter_rows())
    index = json.loads((tiny.path / "sha256.json").read_text())
    assert set(index) == {p.name for p in tiny.path.iterdir()} - {"sha256.json"}
