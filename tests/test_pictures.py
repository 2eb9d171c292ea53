"""Pictures of scenes: what is drawn on them, strips and players, video files, and `lart-mini render`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from notebook_kit import ROOT
from PIL import Image

from lart_mini import cli, files
from lart_mini.data.videos import NAMED, video_name
from lart_mini.figures import films, pictures
from lart_mini.figures.pictures import Marked, draw_people, picture_strip, play, player, write_video
from lart_mini.files import BadInput, opencv

GREY = np.full((60, 100, 3), 120, np.uint8)
MOVING = [np.roll(np.kron(np.eye(4, 6, dtype=np.uint8)[..., None] * [200, 90, 40], np.ones((16, 16, 1))), 8 *
k, 1).astype(np.uint8) for k in range(5)]  # fmt: skip


def marked(**changes: object) -> Marked:
    given = {"box": (20, 30, 50, 58), "name": "person 0", "actions": [("walk", 0.9)], "colour": "#0072B2"}
    return Marked(**(given | changes))  # type: ignore[arg-type]


def test_a_box_is_drawn_on_its_edge_and_the_rest_stays() -> None:
    drawn = draw_people(GREY, [marked(actions=[], name="")], letters=6)
    blue = np.array([0, 0x72, 0xB2])
    assert (drawn[30:58, 20] == blue).all() and (drawn[58, 20:50] == blue).all()
    assert (drawn[35:55, 25:45] == 120).all() and (drawn[:, 60:] == 120).all()
    assert (GREY == 120).all(), "the picture given stays what it was"


@pytest.mark.parametrize(
    "box", [(-30, -30, 5, 5), (90, 50, 140, 90), (0, 0, 99, 59), (40, 2, 60, 58), (200, 200, 210, 220)]
)
def test_words_stay_inside_the_picture(box: tuple) -> None:
    one = marked(box=box, actions=[("talk to (e.g., self, a person, a group)", 0.5), ("sit", None)] * 3)
    drawn = draw_people(GREY, [one], letters=8)
    assert drawn.shape == GREY.shape and (drawn != GREY).any()


def test_words_of_people_who_stand_together_do_not_lie_over_each_other() -> None:
    one, other = marked(), marked(box=(24, 30, 54, 58), name="another", colour="#D55E00")
    alone, both = (draw_people(GREY, people, letters=6) for people in ([one], [one, other]))
    assert (both[14:30, 20:45] == alone[14:30, 20:45]).all() and (both[31:47] != alone[31:47]).any()


def test_a_longer_bar_is_a_higher_score_and_a_path_is_a_line() -> None:
    low, high = (
        draw_people(GREY, [marked(actions=[("w", score)], name="longer name")]) for score in (0.1, 0.9)
    )
    assert ((high != low).any(axis=2)).sum() > 20
    path = np.array([[70.0, 10], [90, 10]])
    drawn = draw_people(GREY, [marked(path=path)])
    assert (drawn[10, 70:90] != 120).any(axis=1).all()


def test_a_strip_has_each_picture_over_its_label() -> None:
    figure = picture_strip([GREY] * 5, [f"{k} s $x" for k in range(5)], title="strip $y", columns=3)
    shown = [axes for axes in figure.axes if axes.get_images()]
    assert len(shown) == 5 and len(figure.axes) == 6
    figure.savefig("/dev/null", format="png", dpi=40)


def test_a_player_is_one_small_page_without_script_and_the_strip_stands_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = player(MOVING, 'five "pictures"', fps=10).data
    assert (
        page.startswith("<img ")
        and "&quot;pictures&quot;" in page
        and "http" not in page
        and len(page) < 20_000
    )
    for live in (False, True):
        told: list = []
        monkeypatch.setattr(pictures, "live_front_end", lambda live=live: live)
        monkeypatch.setattr(pictures, "show", lambda figure, alt, told=told: told.append(alt))
        monkeypatch.setattr(pictures, "display", lambda page, told=told: told.append(page.data))
        play(MOVING, "five pictures")
        assert told[0] == "five pictures" and len(told) == 1 + live


@pytest.mark.parametrize("kind", [".mp4", ".gif", ".webp"])
def test_a_video_holds_every_picture(kind: str, tmp_path: Path) -> None:
    path = write_video(iter(MOVING), tmp_path / f"a{kind}", 10)
    if kind == ".mp4":
        video, found = opencv().VideoCapture(str(path)), []
        while (read := video.read())[0]:
            found.append(read[1][..., ::-1])
    else:
        moving = Image.open(path)
        found = []
        for k in range(moving.n_frames):
            moving.seek(k)
            found.append(np.asarray(moving.convert("RGB")))
        assert moving.info["duration"] == 100
    assert len(found) == 5
    for made, given in zip(found, MOVING, strict=True):
        assert np.abs(made.astype(int) - given).mean() < 12
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "nothing half-written beside it"


def test_a_video_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")

    def breaks() -> object:
        yield MOVING[0]
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write_video(breaks(), path)  # type: ignore[arg-type]
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", [".mp4", ".gif", ".webp"])
def test_what_is_no_video_is_told_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    with pytest.raises(BadInput, match=rf"a{kind}: frame 5: expected a picture of \(64, 96, 3\)"):
        write_video([*MOVING, GREY], path)
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadInput, match=rf"a{kind}: fps: expected a finite number from 0.01"):
            write_video(MOVING, path, fps)
    assert not list(tmp_path.iterdir())


def test_what_no_writer_takes_is_told_of_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=rf"^{tmp_path}/a.mp4: video: expected a size and a rate"):
        write_video([np.zeros((0, 0, 3), np.uint8)], tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ava-val:0", "a.avi"], "a.avi: kind of video: expected .mp4 | .gif | .webp, found .avi"),
        (["ava-val:0", "a"], "kind of video: expected .mp4 | .gif | .webp, found a name without ending"),
        (["ava-val:20", "a.mp4"], "video of ava-val: expected a whole number from 0 to 19, found 20"),
        (
            ["ava-val", "a.mp4"],
            "scene: name: expected a split and the number of its video, such as ava-val:3",
        ),
        (["ava-val:x", "a.mp4"], "scene: name: expected"),
        (["nothing:1", "a.mp4"], "split: expected ava-train"),
        (["ava-val:0", "a.mp4", "--size", "none"], "size: expected"),
        (
            ["ava-val:0", "a.mp4", "--draw", "all"],
            "draw: expected plain | truth | tracks | scores, found all",
        ),
        (["ava-val:0", "a.mp4", "--zoom", "0"], "zoom: expected a whole number from 1 to 8, found 0"),
        (["ava-val:0", "a.mp4", "--every", "0"], "step: expected a whole number from 1"),
        (["ava-val:0", "a.mp4", "--first", "500"], "first frame: expected a whole number from 0 to"),
        (["ava-val:0", "a.mp4", "--stop", "0"], "frame after the last: expected a whole number from 1 to"),
        (["ava-val:0", "/dev/null/a.mp4"], "/dev/null/a.mp4: Not a directory"),
    ],
)
def test_render_tells_what_is_wrong_in_one_line(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(["render", *arguments])
    out, err = capsys.readouterr()
    assert left.value.code == 2 and out == "" and err.count("\n") == 1 and told in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("draw", films.LAYERS)
def test_render_writes_a_video(draw: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.gif"
    with pytest.raises(SystemExit) as left:
        cli.main(["render", "ava-val:2", str(out), "--draw", draw, "--first", "90", "--stop", "94",
        "--every", "2", "--zoom", "1"])  # fmt: skip
    assert left.value.code in (0, None) and capsys.readouterr().out.strip() == str(out)
    moving = Image.open(out)
    assert moving.size == (384, 216) and moving.n_frames == 2


def test_a_scene_is_named_by_its_video_or_by_split_and_number() -> None:
    for split in NAMED:
        assert (
            films.read_scene_name(video_name(split, 12))
            == films.read_scene_name(f"{split}:12")
            == (split, 12)
        )
    for name in ("val00000", "val00-00012", "other000012", "val00٠٠٠٠١٢", ""):
        with pytest.raises(BadInput, match="scene: name: expected a split and the number"):
            films.read_scene_name(name)


def test_marked_people_differ_by_layer() -> None:
    plain, truth, tracks, scores = (
        next(films.film_scene("ava-val:2", draw=draw, frames=(90, 91, 1), zoom=1)) for draw in films.LAYERS
    )
    assert all((plain != other).any() for other in (truth, tracks, scores)) and (tracks != scores).any()


# ------------------------------------------------------------------------------------------------- OpenCV
# itself


def test_without_opencv_there_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BadInput) as refused:
        opencv("pictures")
    command = "pip install --force-reinstall --no-deps opencv-python-headless"
    assert f"pictures: cv2: expected installed ({command}), found" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_old_opencv_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__="4.10.0"))
    with pytest.raises(BadInput, match=r"expected OpenCV 5 \(pip install .*headless\), found 4.10.0"):
        opencv()


BROKEN = """
import sys
class NoLibGL:
    def find_spec(self, name, path=None, target=None):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
sys.meta_path.insert(0, NoLibGL())
from lart_mini.cli import main
main(["render", "ava-val:0", "a.mp4"])
"""


def test_an_opencv_that_asks_for_libgl_is_told_with_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "opencv-python-headless" in done.stderr and "libGL.so.1" in done.stderr
    assert not list(tmp_path.iterdir())


def test_make_puts_the_headless_opencv_over_the_one_that_trackeval_brings() -> None:
    """Both fill the folder cv2, and the last one installed counts."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"HEADLESS := {files.HEADLESS}\n" in recipe
    steps = recipe[recipe.index("$(READY): ") :].splitlines()
    all_packages = next(k for k, line in enumerate(steps) if '-e ".[test]"' in line)
    headless = next(k for k, line in enumerate(steps) if "$(HEADLESS)" in line)
    ready = next(k for k, line in enumerate(steps) if "touch $@" in line)
    assert all_packages < headless < ready and "-c constraints.txt" in steps[headless]


def test_this_environments_opencv_needs_no_display() -> None:
    """The one that `make` leaves behind; if this fails: pip install with the words of files.HEADLESS."""
    found = [
        line.split()
        for line in opencv().getBuildInformation().splitlines()
        if line.strip().startswith("GUI:")
    ]
    assert found == [["GUI:", "NONE"]], f"pip install {files.HEADLESS}"
