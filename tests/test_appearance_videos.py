"""Where pictures come from: rendered scenes, whose maps are kept, and users' files, sound or not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import everywhere, make_tracklet
from golden import TINY

from lart_mini import cli
from lart_mini.action_transformer.recipe import watched_maps
from lart_mini.appearance import features as features_module
from lart_mini.appearance import looks as looks_module
from lart_mini.appearance import videos as videos_module
from lart_mini.appearance.features import Maps, maps_of, read_maps, rendered_maps
from lart_mini.appearance.frames import RenderedFrames, VideoFrames, clip_frames, shrunk
from lart_mini.appearance.trunk import load_trunk, padded
from lart_mini.appearance.videos import find_videos, write_folder
from lart_mini.data.mini_ava import SIZES, MiniAva
from lart_mini.data.rendered import Rendered
from lart_mini.figures.pictures import write_video
from lart_mini.files import BadInput
from lart_mini.reading.videos import open_video
from lart_mini.tracklets.npz import load_tracklets, save_tracklets
from lart_mini.tracklets.released import read_released
from lart_mini.tracklets.tracklet import Tracklet

SMALL = (32, 64)
SHADES = [20, 60, 100, 140, 180, 220, 250, 200]


@pytest.fixture
def scenes(tiny: MiniAva, monkeypatch: pytest.MonkeyPatch) -> Rendered:
    """The tiny mini_ava's scenes, to be drawn; its labels are as they are."""
    monkeypatch.setitem(SIZES, "tiny", TINY)
    return Rendered(tiny.path, "tiny", 0)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of 240 × 320 pixels, each of a shade of its own, 10 a second."""
    path = tmp_path_factory.mktemp("films") / "a_b-cdefghi.mp4"
    return write_video([np.full((240, 320, 3), shade, np.uint8) for shade in SHADES], path, fps=10)


# ---------------------------------------------------------------------------------------------- rendered maps


def test_maps_are_drawn_once_and_kept_apart(
    scenes: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"videos": [1], "size": SMALL, "step": 30, "cache": tmp_path, "jobs": 1}
    (maps,) = rendered_maps(scenes, "ava-val", **how).values()
    count = len(range(0, scenes.videos("ava-val")["frames"][1], 30))
    assert maps.frame.tolist() == [30 * k for k in range(count)]
    assert maps.fine.shape == (count, 40, 4, 8) and maps.coarse.shape == (count, 112, 2, 4)
    assert maps.fine.dtype == maps.coarse.dtype == np.float16
    picture = torch.from_numpy(next(RenderedFrames(scenes, "ava-val", 1, SMALL).pictures([60])))
    with torch.no_grad():
        fine, _ = load_trunk().maps(picture[None])
    np.testing.assert_allclose(maps.fine[2], fine[0], atol=0.01 * float(fine.abs().max()))

    others = [{"size": (16, 32)}, {"drawn": False}, {"step": 15}, {"videos": [0]}]
    folders = set(next(tmp_path.iterdir()).iterdir())
    for change in others:
        rendered_maps(scenes, "ava-val", **how | change)
        assert len(set(next(tmp_path.iterdir()).iterdir())) == (len(folders) + 1)
        folders = set(next(tmp_path.iterdir()).iterdir())

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(features_module, "maps_of", never)
    (again,) = rendered_maps(scenes, "ava-val", **how).values()
    np.testing.assert_array_equal(again.coarse, maps.coarse)


def test_damaged_maps_are_computed_again_and_missing_ones_told(scenes: Rendered, tmp_path: Path) -> None:
    how = {"videos": [0], "size": (16, 32), "step": 30, "cache": tmp_path, "jobs": 1}
    (maps,) = rendered_maps(scenes, "ava-val", **how).values()
    whole, (file,) = np.array(maps.fine), tmp_path.rglob("fine.npy")
    file.write_bytes(file.read_bytes()[:-7])
    (again,) = rendered_maps(scenes, "ava-val", **how).values()
    np.testing.assert_array_equal(again.fine, whole)
    with pytest.raises(BadInput) as refused:
        read_maps(tmp_path / "none", (16, 32))
    assert "frame.npy" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("change", "told"), [
    ({"videos": [99]}, "video of ava-val: expected 0 to"),
    ({"step": 7}, "step: expected a divisor of 30"),
    ({"step": 0}, "step: expected a whole number from 1"),
    ({"step": -6}, "step: expected a whole number from 1"),
    ({"step": 2.5}, "step: expected a whole number from 1"),
    ({"size": (0, 64)}, "height: expected a whole number from 1"),
])  # fmt: skip
def test_maps_of_what_is_not_there_are_told_in_a_line(
    scenes: Rendered, tmp_path: Path, change: dict, told: str
) -> None:
    how = {"videos": [0], "size": SMALL, "step": 30, "cache": tmp_path, "jobs": 1}
    with pytest.raises(BadInput, match=told):
        rendered_maps(scenes, "ava-val", **how | change)
    assert not list(tmp_path.rglob("*.npy"))


def test_splits_and_frames_that_are_not_there_are_told(scenes: Rendered, tmp_path: Path) -> None:
    for asked in (
        lambda: rendered_maps(scenes, "ava_val", cache=tmp_path),
        lambda: watched_maps(scenes, "val"),
    ):
        with pytest.raises(BadInput, match=r"split: expected ava-train \| kinetics-train"):
            asked()
    frames = RenderedFrames(scenes, "ava-val", 1, SMALL)
    for number in (-1, scenes.videos("ava-val")["frames"][1], 1.5):
        with pytest.raises(BadInput, match="ava-val:1: frame: expected a whole number from 0 to"):
            frames.pictures([0, number])  # type: ignore[list-item]


FORTY = """
import os, resource, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import polars as pl
from lart_mini.appearance import features

def tiny(*_, **__):
    fine, coarse = np.ones((2, 40, 2, 2), np.float16), np.ones((2, 112, 1, 1), np.float16)
    return features.Maps(np.array([0, 30]), fine, coarse, (16, 16))

features.maps_of, features._trunk = tiny, lambda: None
data = SimpleNamespace(path=Path("data"), videos=lambda split: pl.DataFrame({"frames": [60] * 40}))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
before = len(os.listdir("/dev/fd"))
maps = features.rendered_maps(data, "ava-val", size=(16, 16), step=30, cache=sys.argv[1], jobs=1)
assert len(os.listdir("/dev/fd")) - before == 80 and all(one.fine.min() == 1 for one in maps.values())
"""


def test_more_videos_are_read_than_the_system_lets_open(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORTY, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_work_in_this_process_leaves_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, shown = [], SimpleNamespace(size=SMALL)

    def seen(*_: object, **__: object) -> None:
        threads.append(torch.get_num_threads())
        raise BadInput("work", "threads", "counted", "enough")

    monkeypatch.setattr(features_module, "maps_of", seen)
    monkeypatch.setattr(looks_module, "looks_of", seen)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for work, given in ((features_module._kept, (shown, [])), (looks_module._kept, ([], shown))):
            with pytest.raises(BadInput, match="enough"):
                work(*given, tmp_path / work.__module__)  # type: ignore[operator]
            assert threads.pop() == 1 and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_clip_takes_the_nearest_maps_and_the_ends_again() -> None:
    maps = Maps(np.arange(0, 60, 6), np.zeros((10, 1, 1, 1)), np.zeros((10, 1, 1, 1)), SMALL)
    assert maps.rows(np.array([-9, 0, 2, 4, 30, 33, 34, 54, 99])).tolist() == [0, 0, 0, 1, 5, 5, 6, 9, 9]
    assert set(range(0, 170, 30)) <= set(clip_frames(170, 6))


# ----------------------------------------------------------------------------------------------- users' files


def test_frames_of_a_video_are_those_asked_for(film: Path) -> None:
    video = open_video(film)
    assert video.size == (240, 320) and video.rate == pytest.approx(10)
    found = [round(float(one.mean())) for one in video.pictures([0, 3, 3, 7])]
    np.testing.assert_allclose(found, [SHADES[k] for k in (0, 3, 3, 7)], atol=4)
    with pytest.raises(BadInput, match="frames: expected 12 or more, found 8"):
        list(video.pictures([2, 11]))


def test_colours_are_red_green_and_blue(tmp_path: Path) -> None:
    red = np.full((48, 64, 3), [220, 30, 30], np.uint8)
    video = open_video(write_video([red] * 3, tmp_path / "red.mp4", fps=10))
    (found,) = video.pictures([1])
    np.testing.assert_allclose(found.mean(axis=(0, 1)), [220, 30, 30], atol=12)


def test_tracklets_may_count_at_another_rate_and_from_another_second(film: Path) -> None:
    def shades(numbers: list[int], **how: float) -> list[int]:
        return [round(float(one.mean())) for one in VideoFrames(film, **how).pictures(numbers)]

    np.testing.assert_allclose(shades([3, 6, 9], rate=30.0), [SHADES[k] for k in (1, 2, 3)], atol=4)
    np.testing.assert_allclose(shades([0, 2], start=0.3), [SHADES[k] for k in (3, 5)], atol=4)
    with pytest.raises(BadInput, match="rate: expected a finite number from 1"):
        VideoFrames(film, rate=0.0)


def test_wide_pictures_are_made_smaller_and_all_are_whole(film: Path) -> None:
    trunk = load_trunk()
    maps = maps_of(VideoFrames(film), [0, 2, 3, 5, 6], trunk, width=128)
    assert maps.size == (96, 128) and maps.fine.shape == (5, 40, 12, 16)
    with torch.no_grad():
        (picture,) = VideoFrames(film).pictures([5])
        fine, _ = trunk.maps(padded(torch.from_numpy(shrunk(picture, 128))[None], 16))
    np.testing.assert_allclose(maps.fine[3], fine[0], atol=0.01 * float(fine.abs().max()))
    with pytest.raises(BadInput, match="frames: expected one or more"):
        maps_of(VideoFrames(film), [], trunk)


def broken(folder: Path, film: Path, kind: str) -> Path:
    path = folder / "a_b-cdefghi.mp4"
    content = film.read_bytes()
    text = b"#EXTM3U\n#EXTINF:1,\n" + str(film).encode()
    path.write_bytes({"empty": b"", "text": b"no video", "cut": content[:300], "playlist": text}[kind])
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "playlist"])
def test_what_is_no_video_is_told_in_a_line(
    film: Path, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = broken(tmp_path, film, kind)
    with pytest.raises(BadInput) as refused:
        open_video(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_a_folder_and_a_missing_file_are_no_videos(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="file: expected a video, found no plain file"):
        open_video(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_video(tmp_path / "none.mp4")


# ------------------------------------------------------------------------------------------------ the command


def people() -> list[Tracklet]:
    one = everywhere(make_tracklet(8))
    joints = np.random.default_rng(0).uniform(-0.4, 0.4, (8, 45, 3)).astype(np.float32)
    place = np.tile(np.array([0.1, 0, 4], np.float32), (8, 1))
    return [replace(one, frame=np.arange(8), joints=joints, translation=place)]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def test_the_command_writes_tracklets_that_know_how_they_look(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks, projection = tmp_path / "tracks.npz", tmp_path / "projection.npz"
    save_tracklets(people(), tracks)
    fit = ("--fit", projection, "--pooling", "box+hands", "--dims", 1)
    code, told, _ = run(capsys, "appearance", tracks, film, tmp_path / "seen.npz", *fit)
    assert code == 0 and told.startswith("1 vectors of 1 for 1 tracklets")
    (seen,) = load_tracklets(tmp_path / "seen.npz")
    assert seen.appearance is not None and seen.appearance.shape == (8, 1)
    code, _, _ = run(capsys, "appearance", tracks, film.parent, tmp_path / "out", "--projection", projection)
    (file,) = (tmp_path / "out").iterdir()
    assert code == 0
    np.testing.assert_allclose(read_released(file).appearance, seen.appearance, atol=1e-5)
    for folder in ("x", "y"):  # whose files would be one
        (tmp_path / "twins" / folder).mkdir(parents=True)
        shutil.copy(file, tmp_path / "twins" / folder)
    late = ("--projection", projection, "--start", 900)  # which decoding would tell
    code, _, told = run(capsys, "appearance", tmp_path / "twins", film, tmp_path / "one", *late)
    assert code == 2 and told.endswith(f"one: tracklet {seen.name}: expected one of this name, found 2\n")


@pytest.mark.parametrize(("videos", "options", "told"), [
    ("film", [], "projection: expected one of --projection and --fit, found both or none"),
    ("film", ["--fit", "p.npz", "--pooling", "feet"], "pooling: expected box | hands | head"),
    ("film", ["--fit", "p.npz", "--dims", "40"], "dims: expected a whole number from 1 to 1, found 40"),
    ("film", ["--fit", "p.npz", "--dims", "1", "--start", "900"], "frames: expected 9001 or more, found 8"),
    ("none", ["--fit", "p.npz"], "video a_b-cdefghi: expected one file of this name, found 0"),
    ("missing.mp4", ["--fit", "p.npz"], "missing.mp4: No such file or directory"),
    ("empty", ["--fit", "p.npz"], "a_b-cdefghi.mp4: file: expected a video that OpenCV can decode"),
    ("film", ["--projection", "tracks.npz"], "pooling: expected to be there, found no such array"),
    ("rendered:huge", ["--fit", "p.npz"], "size: expected smoke | laptop | gpu"),
    ("film", ["--fit", "o"], "o: output: expected another file than the projection's, found the same"),
    ("film", ["--projection", "none/../o"], "o: output: expected another file than the projection's"),
    ("film", ["--projection", "p.npz", "--pooling", "head"], "--pooling: option: expected --fit beside it"),
    ("film", ["--projection", "p.npz", "--dims", "64"], "--dims: option: expected --fit beside it"),
    *[("film", ["--fit", "p.npz", "--dims", dims, "--start", "900"],  # which decoding would tell
       f"dims: expected a whole number from 1 to 1, found {dims}") for dims in ("0", "-1", "100000")],
])  # fmt: skip
def test_a_command_that_cannot_be_is_told_in_a_line_and_leaves_nothing(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    videos: str, options: list[str], told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save_tracklets(people(), "tracks.npz")
    for name in ("none", "empty"):
        Path(name).mkdir()
    broken(Path("empty"), film, "empty")
    before = sorted(Path().rglob("*"))
    code, out, err = run(
        capsys, "appearance", "tracks.npz", film if videos == "film" else videos, "o", *options
    )
    assert code == 2 and out == "" and told in err and err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_a_single_file_is_of_one_video_and_a_name_of_one_file(film: Path, tmp_path: Path) -> None:
    one = people()[0]
    other = replace(one, name="ava-train_x_b-cdefghi_000150_3_8", video="x_b-cdefghi")
    with pytest.raises(BadInput, match="videos: expected a folder, for tracklets of 2 videos"):
        find_videos([one, other], str(film))
    with pytest.raises(FileNotFoundError):
        find_videos([one, other], str(tmp_path / "none"))
    for ending in ("mp4", "avi"):
        (tmp_path / f"{one.video}.{ending}").write_bytes(film.read_bytes())
    with pytest.raises(BadInput, match="expected one file of this name, found 2"):
        find_videos([one], str(tmp_path))


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    good, bad = people()[0], replace(people()[0], labels=np.full((8, 80), 2, np.float32))
    for wrong in (replace(bad, name="ava-train_a_b-cdefghi_000150_4_8", track=4), good):
        with pytest.raises(BadInput):
            write_folder([good, wrong], tmp_path / "out")
        assert not list(tmp_path.iterdir())


def test_a_rendered_set_draws_its_own_tracklets_alone(
    scenes: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos_module, "rendered", lambda size: scenes)
    own = [one for split in ("ava-val", "ava-train") for one in scenes.tracklets(split)]
    for name, frames in find_videos(own, "rendered:tiny").items():
        assert isinstance(frames, RenderedFrames)
        assert scenes.videos(frames.split)["video"][frames.index] == name
    # Another seed's have such names, but other boxes; another size's have other names, too.
    for other in (replace(own[0], box=own[0].box + 1), replace(own[0], name=own[1].name)):
        with pytest.raises(BadInput, match="tracklet: expected one of the rendered set tiny, found another"):
            find_videos([*own, other], "rendered:tiny")
