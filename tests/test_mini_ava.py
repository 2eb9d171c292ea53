"""mini_ava on disk: equal for equal seeds, checked by hash, its ground truth and tracklets in agreement."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import golden
import numpy as np
import polars as pl
import pytest

from lart_mini import ava, files
from lart_mini.boxes import corners_from_xywh, fractions_from_corners
from lart_mini.data.cache import keep
from lart_mini.data.mini_ava import SIZES, SPLITS, VERSION, MiniAva, Size, mini_ava, recipe_digest
from lart_mini.data.videos import TRACKERS, Video, _groundtruth, compose_scene, video_of
from lart_mini.evaluation import ava_csv
from lart_mini.files import BadInput
from lart_mini.people import body as body_module
from lart_mini.people import clips as clips_module
from lart_mini.people.body import Body
from lart_mini.people.clips import Clip
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.takes import segments
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.faults import Faults
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


def damage(file: Path, how: str) -> None:
    """Of sha256.json and of the folder it is in."""
    digests = json.loads(file.read_text())
    contents = {
        "empty": "", "cut": file.read_text()[:100], "no bytes": "\x00", "list": "[]", "null": "null",
        "none": "{}",
        "deep": "[" * 100_000, "fewer": json.dumps(dict(list(digests.items())[:2])),
        "more": json.dumps(digests | {"../other": "0"}), "other types": json.dumps(dict.fromkeys(digests)),
    }  # fmt: skip
    if how in contents:
        file.write_text(contents[how])
    elif how == "latin":
        file.write_bytes(b"\xff\xfe")
    elif how == "folder":
        file.unlink()
        file.mkdir()
    elif how == "folder for a table":
        (file.parent / "ava-val.csv").unlink()
        (file.parent / "ava-val.csv").mkdir()
    else:
        shutil.rmtree(file.parent)
        make = {"file": file.parent.touch, "link": lambda: file.parent.symlink_to("nowhere")}
        make[how]()


DAMAGES = (
    "empty", "cut", "no bytes", "list", "null", "none", "deep", "fewer", "more", "other types", "latin",
    "folder", "folder for a table", "file", "link",
)  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
def test_what_is_not_known_to_be_whole_is_composed_again(
    smallest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: MiniAva, how: str
) -> None:
    def compose(size: Size, seed: int, out: dict[str, Path], *_: object) -> None:
        shutil.copytree(tiny.path, out["lart"], dirs_exist_ok=True)

    monkeypatch.setattr(MODULE, "_compose", compose)
    data = mini_ava(smallest, 0, tmp_path)
    files = {p.name: p.read_bytes() for p in data.path.iterdir()}
    damage(data.path / "sha256.json", how)
    assert mini_ava(smallest, 0, tmp_path).path == data.path
    assert {p.name: p.read_bytes() for p in data.path.iterdir()} == files
    assert [p.name for p in tmp_path.iterdir()] == [data.path.name] and not data.path.is_symlink()


@pytest.mark.parametrize("locks", [True, False])
def test_several_at_once_get_the_same_whole_data_set(
    smallest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: MiniAva, locks: bool
) -> None:
    """With locks one composes and the others wait; on a disk without them the first one's is taken."""
    composed, together = [], threading.Barrier(4)

    def compose(size: Size, seed: int, out: dict[str, Path], *_: object) -> None:
        composed.append(out)
        if not locks:
            together.wait(60)
            assert out["lart"].is_dir(), "others leave alone what is being composed"
        shutil.copytree(tiny.path, out["lart"], dirs_exist_ok=True)

    def asked(number: int) -> Path:
        while not locks and len(composed) < number:  # each begins once the one before is composing
            time.sleep(0.01)
        return mini_ava(smallest, 0, tmp_path).path

    monkeypatch.setattr(MODULE, "_compose", compose)
    if not locks:
        monkeypatch.setattr(files, "fcntl", None)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(asked, range(4)))
    (path,) = found
    assert len(composed) == (1 if locks else 4) and [p.name for p in tmp_path.iterdir()] == [path.name]
    whole = {p.name: p.read_bytes() for p in tiny.path.iterdir()}
    assert {p.name: p.read_bytes() for p in path.iterdir()} == whole


def test_a_cache_is_made_where_no_lock_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    place = tmp_path / "fresh" / "cache" / "set"
    keep([place], ["a"], lambda made: [(folder / "a").write_text("1") for folder in made.values()] and None)
    assert (place / "a").read_text() == "1"


def test_linked_composes_each_scene_once(
    smallest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {tracker: mini_ava(smallest, 0, tmp_path / "alone", 1, tracker) for tracker in TRACKERS}
    composed, compose = [], MODULE.compose_scene
    monkeypatch.setattr(MODULE, "compose_scene", lambda *given: composed.append(given) or compose(*given))
    together = MODULE.linked(smallest, 0, tmp_path / "together", 1)
    assert len(composed) == len(alone["lart"].videos())
    for tracker, data in alone.items():
        assert together[tracker].path.name == data.path.name
        for file in data.path.iterdir():
            assert (together[tracker].path / file.name).read_bytes() == file.read_bytes()
    assert MODULE.linked(smallest, 0, tmp_path / "together", 1) == together
    assert len(composed) == len(alone["lart"].videos())


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "1", None])
def test_seeds_are_whole_numbers_that_generators_take(smallest: str, tmp_path: Path, seed: object) -> None:
    with pytest.raises(BadInput, match="mini_ava: seed: expected a whole number from 0 to 4294967295"):
        mini_ava(smallest, seed, tmp_path)  # type: ignore[arg-type]


def test_nothing_half_composed_stays(smallest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compose(size: Size, seed: int, out: dict[str, Path], *_: object) -> None:
        (out["lart"] / "ava-val.npz").write_text("half")
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


def test_the_recipe_is_the_size_the_seed_the_tracker_the_version_the_motion_and_the_body(
    tmp_path: Path, free_body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recipe(size: Size = SMALLEST, seed: int = 0, tracker: str = "lart") -> str:
        return recipe_digest(size, seed, tracker)

    found = [recipe(), recipe(seed=1), recipe(tracker="iou")]
    found += [recipe(replace(SMALLEST, **{field: 7})) for field in vars(SMALLEST)]
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "VERSION", VERSION + 1)
        found.append(recipe())
    for name in sorted(p.name for p in clips_module.LIBRARY.iterdir() if p.name != clips_module.CONTACTS):
        copy = tmp_path / name / "motion"
        shutil.copytree(clips_module.LIBRARY, copy)
        with (copy / name).open("ab") as file:
            file.write(b" ")
        with monkeypatch.context() as patch:
            patch.setattr(clips_module, "LIBRARY", copy)
            found.append(recipe())
    arrays = ("v_template", "shapedirs", "posedirs", "joint_regressor", "weights")
    others = [replace(free_body, **{field: getattr(free_body, field) + 1}) for field in arrays]
    others.append(replace(free_body, vertex_ids=free_body.vertex_ids | {"nose": 0}))
    for other in others:
        with monkeypatch.context() as patch:
            patch.setattr(body_module, "load_body", lambda other=other: other)
            found.append(recipe())
    assert len(set(found)) == len(found) == 3 + 5 + 1 + len(list(clips_module.LIBRARY.iterdir())) - 1 + 6
    assert recipe() == found[0], "and nothing else, such as the time, or contacts, which only pixels show"


def test_data_that_move_have_another_version(tiny: MiniAva) -> None:
    stored = json.loads(golden.STORED.read_text(encoding="utf-8"))
    assert stored["version"] == VERSION, (
        f"{golden.STORED.name} is of version {stored['version']}, the data of {VERSION}: "
        "when all that is meant to move has moved, python tests/golden.py stores what it is like"
    )
    moved = golden.differences(stored["figures"], golden.figures(tiny))
    assert not moved, "\n".join(
        [
            f"mini_ava's data moved, but VERSION in lart_mini/data/mini_ava.py is still {VERSION}.",
            "Not meant? Then a change has done more than it should: find it first.",
            "Meant? Raise VERSION (or old caches pass for new data), run python tests/golden.py, and take",
            "every stored figure anew: data_samples, notebooks, tests/expected, benchmarks, README.",
            *moved[:20],
        ]
    )


def test_every_video_has_a_seed_of_its_own(
    smallest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, smallest, replace(SMALLEST, train=3, val=2))
    used = []

    def spy(pool: list, split: str, windows: int, action: int, seed: tuple, model: Body) -> Scene:
        used.append(seed)
        return compose_scene(pool, split, windows, action, seed, model)

    monkeypatch.setattr(MODULE, "compose_scene", spy)
    for seed in (0, 1):
        mini_ava(smallest, seed, tmp_path, jobs=1)
    assert len(set(used)) == len(used) == 2 * 7


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


def exact(data: MiniAva, split: str) -> float:
    """Share of the boxes at key frames that are one of the ground truth's to its last digit."""
    table, found = truth_of(data, split), []
    for tracklet in data.tracklets(split):
        corners = fractions_from_corners(corners_from_xywh(tracklet.box), tracklet.frame_size)
        at_key = tracklet.detected & (tracklet.frame % 30 == 0) & (tracklet.label_source == 2)
        for t in np.flatnonzero(at_key):
            rows = table.filter(video=tracklet.video, second=ava.second(int(tracklet.frame[t])))
            off = np.abs(rows.select("x1", "y1", "x2", "y2").to_numpy() - corners[t]).max(axis=1)
            found.append(off.min() < 0.0006)
    return float(np.mean(found))


def test_who_is_scored_is_detected_as_anywhere_and_only_training_is_handed_boxes(tiny: MiniAva) -> None:
    assert exact(tiny, "ava-train") == 1
    assert exact(tiny, "ava-val") < 0.1 and exact(tiny, "ava-test") < 0.1


def test_who_is_hardly_visible_is_no_ground_truth(crowd: dict[str, Scene]) -> None:
    scene, frame = crowd["ava-train"], 90
    for visible, count in ((0.24, 0), (0.26, 1), (0.5, 1), (1.0, 1)):
        hidden = [replace(p, visible=np.full(scene.frames, visible, np.float32)) for p in scene.filmed[:1]]
        rows = _groundtruth("v", replace(scene, filmed=hidden), np.array([frame]))
        assert len(rows) == count * scene.filmed[0].labels[frame].sum(), visible
    assert scene.filmed[0].labels[frame].any()


def test_a_label_holds_for_the_second_about_its_key_frame(tiny: MiniAva) -> None:
    for tracklet in tiny.tracklets("ava-val"):
        state = np.c_[tracklet.labels, tracklet.label_source]
        changes = tracklet.frame[1:][(state[1:] != state[:-1]).any(axis=1)]
        assert set((changes % 30).tolist()) <= {15}, "also where identities were switched"


# ------------------------------------------------------------------------------------------- who links what


CROWDED = (3, 3)  # seed of a scene with more than two people


@pytest.fixture(scope="module")
def crowd(library: dict[str, Clip], free_body: Body) -> dict[str, Scene]:
    """Split → a crowded scene of its training takes, two windows long."""
    pool, splits = segments(library, "train"), ("ava-train", "ava-val", "kinetics-train")
    return {split: compose_scene(pool, split, 2, 12, CROWDED, free_body) for split in splits}


@pytest.fixture(scope="module")
def linked(crowd: dict[str, Scene], free_body: Body) -> dict[str, dict[str, Video]]:
    """Split → tracker → the same crowded video of the split."""
    return {
        split: {tracker: video_of(crowd[split], split, 0, free_body, tracker) for tracker in TRACKERS}
        for split in ("ava-train", "kinetics-train")
    }


def test_labels_end_with_the_window_whose_key_frame_they_are_of(linked: dict[str, dict[str, Video]]) -> None:
    late = 0
    for tracker in ("lart", "iou", "truth"):
        for one in linked["ava-train"][tracker].tracklets:
            key = ava.nearest_keyframe(one.frame)
            outside = ~np.isin(key, one.frame)
            late += outside.sum()
            assert not one.label_source[outside].any(), "the window does not know whom the key frame shows"
            # Within it, who is not detected at the key frame has no labels about it.
            missed = ~outside & ~one.detected[(key - one.frame[0]).clip(0, len(one) - 1)]
            assert not one.label_source[missed].any()
    assert late > 0


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
            assert (shape == shape[0]).all(), "another person has another shape"


def test_windows_are_tracked_each_on_its_own(
    crowd: dict[str, Scene], free_body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spy(window: Detections, config: TrackerConfig) -> np.ndarray:
        asked.append((int(window.frame[0]), int(window.frame[-1]), config))
        return track(window, config)

    monkeypatch.setattr("lart_mini.data.videos.track", spy)
    made = video_of(crowd["ava-val"], "ava-val", 0, free_body)
    assert asked == [(41, 168, TrackerConfig.lart()), (161, 288, TrackerConfig.lart())]
    starts = {(one.keyframe, int(one.frame[0]), len(one)) for one in made.tracklets}
    assert starts == {(120, 41, 128), (240, 161, 128)}


def test_few_detections_make_no_tracklet_and_missed_ones_no_label(
    crowd: dict[str, Scene], free_body: Body
) -> None:
    blind = Faults(miss_start=0.4, miss_stop=0.04)
    made = video_of(crowd["ava-val"], "ava-val", 0, free_body, "truth", blind)
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
        assert 0.4 < row["detected"] < 1
        if row["split"] == "kinetics-train":
            assert row["boxes"] == row["classes"] == 0
            continue
        table = truth_of(tiny, row["split"])
        assert row["boxes"] == table.group_by("video", "second", "person").len().height
        counts = dict(zip(classes["id"], classes[row["split"]], strict=True))
        assert {i: n for i, n in counts.items() if n} == dict(table.group_by("action").len().iter_rows())
    index = json.loads((tiny.path / "sha256.json").read_text())
    assert set(index) == {p.name for p in tiny.path.iterdir()} - {"sha256.json"}
