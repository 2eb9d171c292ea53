"""Figures: titles and units on every axis, alt text kept, and the sizes that notebooks must stay under."""

from __future__ import annotations

import functools
import io
import os
import sys
import types
from typing import Any

import ipywidgets
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.manager import KernelManager
from matplotlib import colormaps
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from PIL import Image

from lart_mini import progress
from lart_mini.figures import attention, base, model, people, skeletr, tracks, ups, widgets
from lart_mini.figures.diagram import STAGES, lart_diagram
from lart_mini.lart.config import LARTConfig
from lart_mini.people import body
from lart_mini.people.body import load_body
from lart_mini.skeletr.stgcnpp import LAYOUTS
from lart_mini.ups.vocabulary import Vocabulary, load_vocabulary

RNG = np.random.default_rng(0)
FRAMES = 60
REST = load_body().rest_joints(np.zeros(10, np.float32))
JOINTS = REST + np.linspace(0, 1, FRAMES)[:, None, None] * np.array([1, 0, 0.5]) + np.array([0, 1, 0])
DETECTED = np.arange(FRAMES) % 20 > 4
BOX = np.tile([100.0, 50, 60, 200], (FRAMES, 1))
POINTS = JOINTS[..., :2] * 100 + 100
MASK = RNG.random((8, 8)) < 0.5
WEIGHTS = RNG.dirichlet(np.ones(8), size=(3, 8))
DIFFERENCES = {"a": np.array([1.0, -2]), "b": np.array([30.0])}
COSTS = np.array([[1.0, -20, 3], [4, 5, 30]])
ONES = np.ones((2, 1))
COCO = LAYOUTS["coco"]
KEYPOINTS = np.stack([np.arange(17) % 4 * 20.0, np.arange(17) * 10.0], axis=1) + 50
GRAPHS = COCO.graphs().numpy() + RNG.normal(0, 0.1, (3, 17, 17))
LOOKS = RNG.dirichlet(np.ones(3), size=3)
HELD = np.array([1, 1, 2, 3, -1, -1])
HALF = {"a": 3.0, "b": None}
WORDS = load_vocabulary(["walk", "sit"], bins=4)
POSE = RNG.normal(0, 0.4, (17, 3))
PICTURE = RNG.integers(0, 256, (9, 16, 3), np.uint8)
MAPS, ASKED = RNG.random((2, 3, 4)), (0.2, 0.1, 0.6, 0.9)


@functools.cache  # nobody changes a figure
def every_figure(t: str = "t", a: str = "a", x: str = "x") -> dict[str, Figure]:
    """With titles `t`, names of curves and methods `a`, and of classes and groups `x`."""
    curve = (np.array([1.0, 0.5]), np.array([0.5, 1.0]))
    places, facing = [JOINTS[:, 0]], [np.tile([0, 0, 1.0], (FRAMES, 1))]
    bars = {a: np.array([0.1, np.nan]), "b": np.array([0.2, 0.3])}
    seen = KEYPOINTS[None], RNG.uniform(0, 1, (1, 17)), np.array([[40.0, 40, 80, 180]])
    body, changes = load_body(), {a: DIFFERENCES["a"], "b": DIFFERENCES["b"]}
    return {
        "skeletons": people.skeleton_strip(JOINTS, title=t, detected=DETECTED),
        "above": people.scene_from_above(places, facing, [a], title=t),
        "meshes": people.mesh_strip(body.v_template[None], body.faces, [a], title=t),
        "timeline": people.detection_timeline([DETECTED, ~DETECTED], [a, "b"], title=t, keyframes=[30]),
        "tracklet": people.tracklet_strip(POINTS, BOX, DETECTED, (360, 640), title=t),
        "diagram": lart_diagram(LARTConfig.mini(), title=t),
        "encoding": model.positional_encoding(RNG.uniform(-1, 1, (2, 5, 8))),
        "masks": model.attention_masks({a: MASK, "two": ~MASK}, 2, 4, title=t),
        "maps": model.attention_maps(WEIGHTS, [a, "b", "c"], 2, 4, title=t),
        "attention": model.attention_over_time(WEIGHTS[0, 0].reshape(2, 4), 1, MASK[:2, :4], title=t),
        "losses": model.loss_curves({a: curve}, title=t),
        "precision": model.precision_recall({a: curve}, title=t),
        "classes": model.class_bars(bars, [x, "y"], ["PM", "PI"], title=t),
        "ladder": model.ladder([a, "b"], [0.1, 0.3], [None, 0.2], [None, 0.4]),
        "differences": model.differences(changes, [x, "y"], {a: 3.0, "b": None}, limit=5, title=t),
        "costs": tracks.cost_tables({a: COSTS, "b": COSTS}, [a, "b"], [x, "y", "z"], [(0, 1)], title=t),
        "held": tracks.track_rows(np.arange(6), np.array([0, 0, 0, 1, 1, -1]), {a: HELD}, title=t, cut=3),
        "trackers": tracks.tracker_dots({"switches": ONES, "IDF1": ONES}, [a], ["k"], title=t),
        "counts": model.class_counts({a: np.array([3, 4])}, [x, "y"], title=t),
        "graph": skeletr.graph_on_bodies(*seen, COCO, (360, 640), title=t),
        "learned": skeletr.learned_graph(GRAPHS, [x, *"abcdefghijklmnop"], title=t),
        "looks": skeletr.attention_from_above(RNG.normal(size=(3, 2)), np.zeros(3), [LOOKS], [a], title=t),
        "words": ups.word_map(Vocabulary((a, "b"), WORDS.bins, WORDS.table), title=t),
        "written": ups.pose_as_written(POSE[None].repeat(2, 0), [4, 17], POSE, title=t),
        "routes": ups.routes_over_training([0, 5], RNG.integers(0, 2, (2, 2, 3)), [a, "b"], title=t),
        "foreseen": ups.foreseen(POSE[None], np.array([[0.2, 0.8]]), [a, "b"], title=t),
        "ratios": ups.over_ratios({a: [(5, 4, 6), (7, 7, 7)]}, [0.5, 1], title=t, measure=x),
        "watched": attention.attention_on_frames([PICTURE] * 2, {a: MAPS}, ASKED, [x, "y"], title=t),
        "mass": attention.looked_bars({a: {x: 1.0, "y": 3.0}, "b": {x: 0.5, "y": 1.0}}, title=t),
        "bins": attention.binned_ap({a: [(x, 0.5, 3), ("y", 0.2, 4)]}, title=t),
        "vectors": model.person_vectors(RNG.normal(size=(9, 5)), {a: (2, {0: x}), "b": (3, {})}, title=t),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(every_figure()))
def test_every_figure_has_a_title_and_named_axes_and_is_small(name: str) -> None:
    figure = every_figure()[name]
    assert figure.get_suptitle()
    labels = [text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]
    assert labels
    assert len(base.to_png(figure)) < 100_000


@pytest.mark.parametrize("name", list(every_figure()))
def test_names_with_dollars_are_drawn_as_they_are(name: str) -> None:
    odd = r"$\badmacro{$"
    base.to_png(every_figure(odd, f"a{odd}", f"x{odd}")[name])


def test_a_joint_is_drawn_once_it_is_said() -> None:
    figure = ups.pose_as_written(POSE[None].repeat(2, 0), [4, 17], POSE, title="t")
    above = figure.axes[:2]
    bones = [[len(part.get_segments()) for part in axes.collections[::2]] for axes in above]
    assert bones == [[16, 3], [16, 16]]  # all of the truth, and what has been said
    drawn = above[1].collections[2].get_color()
    sides = {tuple(to_rgba_array(colour)[0]) for colour in (base.LEFT, base.RIGHT, base.MIDDLE)}
    assert {tuple(colour) for colour in drawn} == sides


def test_the_likeliest_actions_are_foreseen() -> None:
    odds = np.array([[0.1, 0.6, 0.3], [0.7, 0.1, 0.2]])
    axes = ups.foreseen(POSE[None].repeat(2, 0), odds, ["a", "b", "c"], title="t", shown=2).axes[1]
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    assert axes.lines[0].get_ydata().tolist() == [0.1, 0.7]


def test_filmstrip_draws_missing_frames_pale() -> None:
    axes = people.skeleton_strip(JOINTS, [0, 10], title="t", detected=DETECTED).axes[0]
    assert [bones.get_alpha() for bones in axes.collections] == [0.25, 1]
    assert "missing" in axes.texts[0].get_text() and axes.texts[1].get_text() == "0.3 s"


def test_doubted_joints_are_hollow_and_their_edges_dotted() -> None:
    score = np.ones((1, 17))
    score[0, 9] = 0.1  # the left wrist
    box = np.array([[40.0, 40, 80, 180]])
    axes = skeletr.graph_on_bodies(KEYPOINTS[None], score, box, COCO, (360, 640), title="t").axes[0]
    white = (axes.collections[0].get_facecolor() == to_rgba_array("white")).all(axis=1)
    assert np.flatnonzero(white).tolist() == [9]
    assert [line.get_linestyle() for line in axes.lines[:17]].count(":") == 1
    assert [line.get_color() for line in axes.lines[9:11]] == [base.LEFT, base.RIGHT]


def test_only_new_links_and_looks_above_an_even_share_have_arrows() -> None:
    graphs = COCO.graphs().numpy().copy()
    graphs[1, 0, 1] += 5  # the skeleton has this one
    graphs[1, 9, 15] += 1
    last = skeletr.learned_graph(graphs, ["a"] * 17, title="t", strongest=1).axes[3]
    (arrow,) = last.patches
    ends = [np.asarray(end).tolist() for end in arrow._posA_posB]
    assert ends == skeletr.FRONT[[9, 15]].tolist()
    assert last.get_title().endswith("the three graphs added up")
    sides = {text.get_text().strip(): text.get_position()[0] for text in last.texts}
    assert sides["right"] < 0 < sides["left"], "the body faces us"
    looks = np.array([[0.0, 0.9, 0.1], [0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3]])
    figure = skeletr.attention_from_above(np.eye(3)[:, :2], np.zeros(3), [looks], ["a"], title="t")
    assert len(figure.axes[0].patches) == 2  # 0 at 1, and 1 at 2; an even share is none


def test_what_is_close_to_chance_can_be_read() -> None:
    axes = attention.looked_bars({"a": {"x": 0.96, "y": 1.05}}, title="t").axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.96", "1.05"]
    chance = next(line for line in axes.lines if list(line.get_ydata()) == [1, 1])
    assert all(text.get_zorder() > chance.get_zorder() and text.get_bbox_patch() for text in axes.texts)


def test_left_and_right_have_their_own_colours() -> None:
    colours = dict(zip(people.BONES[:, 1].tolist(), people.BONE_COLOURS, strict=True))
    assert colours[body.JOINT_NAMES.index("left_knee")] == base.LEFT
    assert colours[body.JOINT_NAMES.index("right_wrist")] == base.RIGHT
    assert colours[body.JOINT_NAMES.index("neck")] == base.MIDDLE


def test_mesh_shows_what_faces_the_viewer_and_paints_near_last() -> None:
    body = load_body()
    vertices = np.asarray(body.v_template, dtype=float)
    polygons, colours = people._shaded_faces(vertices, body.faces, base.SKIN)
    assert 0.3 * len(body.faces) < len(polygons) < 0.7 * len(body.faces) and colours.shape == (
        len(polygons),
        3,
    )
    squares = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1.0]])
    near, far = [3, 4, 5], [0, 1, 2]
    drawn, _ = people._shaded_faces(
        squares + np.arange(6)[:, None] * 1e-3, np.array([near, far, far[::-1]]), (1, 1, 1)
    )
    assert len(drawn) == 2 and drawn[1][0, 0] > drawn[0][0, 0]


def test_differences_draw_mean_seeds_and_interval_and_name_what_is_far_off() -> None:
    axes = model.differences(DIFFERENCES, ["x", "y"], HALF, limit=5, title="t").axes[0]
    drawn = [np.asarray(line.get_xdata()).tolist() for line in axes.lines]
    assert [-3.5, 2.5] in drawn and [1, -2] in drawn and [-0.5] in drawn
    assert [text.get_text() for text in axes.texts] == ["+30.0 ▸"] and axes.texts[0].get_position()[0] == 5


def test_costs_are_summed_and_their_pairs_framed() -> None:
    figure = tracks.cost_tables({"a": COSTS, "b": COSTS}, ["k", "l"], ["x", "y", "z"], [(0, 1)], title="t")
    assert [text.get_text() for text in figure.axes[2].texts] == ["2", "-40", "6", "8", "10", "60"]
    assert [patch.get_xy() for patch in figure.axes[2].patches] == [(0.53, -0.47)]


def test_a_row_of_a_track_has_a_colour_and_a_number_for_each_id() -> None:
    frame, actor = np.arange(6), np.array([0, 0, 0, 1, 1, -1])
    axes = tracks.track_rows(frame, actor, {"a": HELD}, title="t").axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]
    colours = [tuple(bars.get_facecolor()[0][:3]) for bars in axes.collections]
    assert len(colours) == len({*colours}) == 4  # three ids, and what is in no track


def test_detections_fill_the_panel() -> None:
    axes = Figure().subplots()
    boxes = np.array([[100.0, 50, 60, 200], [300, 80, 40, 100]])
    tracks.draw_detections(axes, boxes, np.stack([POINTS[0]] * 2), ["k", "r"], margin=10)
    assert axes.get_xlim() == (90, 350) and axes.get_ylim() == (260, 40)
    assert [patch.get_bbox().bounds for patch in axes.patches] == [tuple(box) for box in boxes]


def test_ladder_draws_its_interval_from_end_to_end_and_the_number_beyond_it() -> None:
    axes = model.ladder(["a", "b"], [0.1, 0.3], [None, 0.15], [None, 0.4]).axes[0]
    (interval,) = axes.lines
    assert interval.get_xydata().tolist() == [[15, 1], [40, 1]]
    assert [bar.get_width() for bar in axes.patches] == [10, 30]
    assert [(text.get_text(), round(text.get_position()[0], 1)) for text in axes.texts] == [
        ("10.0", 11.2), ("30.0", 41.2),
    ]  # fmt: skip


def test_yaw_of_a_quarter_turn_brings_the_front_to_the_right() -> None:
    np.testing.assert_allclose(people.rotate_y(np.array([0, 0, 1.0]), 90), [1, 0, 0], atol=1e-12)


def test_animation_is_small_and_needs_no_network() -> None:
    player = people.animate_tracklet(POINTS, BOX, DETECTED, (360, 640), alt='a "person"').data
    assert len(player) < 300_000 and "font-awesome" not in player and "&quot;person&quot;" in player
    assert player.count("data:image/png;base64") <= 40


def test_a_movie_of_less_than_a_picture_in_two_seconds_plays() -> None:
    assert "data:image/png" in people.movie(Figure((1, 1)), lambda _: [], 2, fps=0.4, alt="slow").data


def test_show_keeps_the_alt_text() -> None:
    InteractiveShell.instance()
    with capture_output() as captured:
        base.show(every_figure()["ladder"], alt="two bars")
    output = captured.outputs[0]
    assert (
        output.metadata == {"image/png": {"alt": "two bars"}}
        and output.data["text/plain"] == "[figure] two bars"
    )
    assert Image.open(io.BytesIO(output.data["image/png"])).width > 100
    InteractiveShell.clear_instance()


def nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in progress.FRONT_ENDS:
        monkeypatch.delenv(name, raising=False)


def test_explore_is_static_without_a_front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody_watches(monkeypatch)
    drawn = []

    def draw(frame: int) -> Figure:
        drawn.append(frame)
        return every_figure()["ladder"]

    InteractiveShell.instance()
    with capture_output() as captured:
        widgets.explore(draw, "two bars", frame=[5, 0, 10])
    assert drawn == [5] and len(captured.outputs) == 1
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("front_end", progress.FRONT_ENDS)
def test_one_figure_stands_and_changes_where_it_is(monkeypatch: pytest.MonkeyPatch, front_end: str) -> None:
    monkeypatch.setenv(front_end, "there")
    boxes = []

    class Box(ipywidgets.VBox):
        def __init__(self, *options: Any) -> None:
            super().__init__(*options)
            boxes.append(self)

    monkeypatch.setattr(ipywidgets, "VBox", Box)
    drawn = []

    def draw(mask_ratio: float, head: str) -> Figure:
        drawn.append((mask_ratio, head))
        figure = base.new_figure(2, 1, f"{mask_ratio} {head}")
        figure.supxlabel("x")
        return figure

    InteractiveShell.instance()
    with capture_output() as captured:
        widgets.explore(draw, 'the "one" figure', mask_ratio=[0.4, 0.0, 0.8], head=["who", "when"])
        slider, buttons, picture = boxes[0].children
        before = picture.value
        slider.value, buttons.value = 0.8, "when"
        after = picture.value
        slider.value, buttons.value = 0.4, "who"
    InteractiveShell.clear_instance()
    assert isinstance(slider, ipywidgets.SelectionSlider) and slider.options == (0.0, 0.4, 0.8)
    assert isinstance(buttons, ipywidgets.ToggleButtons) and buttons.options == ("who", "when")
    assert slider.description == "mask ratio"
    assert drawn == [(0.4, "who"), (0.8, "who"), (0.8, "when"), (0.4, "when"), (0.4, "who")]
    assert before == picture.value != after and "the &quot;one&quot; figure" in after
    (output,) = captured.outputs  # of which a page without a kernel shows the picture
    assert output.data["application/vnd.jupyter.widget-view+json"]["model_id"] == boxes[0].model_id
    assert Image.open(io.BytesIO(output.data["image/png"])).width == 2 * base.DPI
    assert output.data["text/plain"] == '[figure] the "one" figure'


SLIDER = """
from lart_mini.figures import explore, new_figure
explore(lambda shown: new_figure(1, 1, str(shown)), "a figure", shown=[1, 2, 3])
"""


def test_a_real_kernel_sends_a_moved_slider_a_new_picture_and_no_second_output() -> None:
    """What JupyterLab and VS Code would get: sliders are moved by a message that names their place."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=os.environ | {progress.FRONT_ENDS[0]: "x.ipynb"})
    client = manager.client()
    client.start_channels()
    heard: list[dict[str, Any]] = []
    try:
        client.wait_for_ready(timeout=60)
        client.execute_interactive(SLIDER, timeout=60, output_hook=heard.append)
        opened = [message["content"] for message in heard if message["msg_type"] == "comm_open"]
        models = {one["data"]["state"]["_model_name"]: one["comm_id"] for one in opened}
        assert [message["msg_type"] for message in heard].count("display_data") == 1
        move = {"comm_id": models["SelectionSliderModel"]}
        move["data"] = {"method": "update", "state": {"index": 2}, "buffer_paths": []}
        client.shell_channel.send(client.session.msg("comm_msg", move))
        moved: list[dict[str, Any]] = []
        while not moved or moved[-1]["content"].get("execution_state") != "idle":
            moved.append(client.get_iopub_msg(timeout=60))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    updates = [one["content"] for one in moved if one["msg_type"] == "comm_msg"]
    pictures = [one for one in updates if one["comm_id"] == models["HTMLModel"]]
    assert len(pictures) == 1 and "data:image/png" in pictures[0]["data"]["state"]["value"]
    assert not {"display_data", "update_display_data", "error", "stream"} & {one["msg_type"] for one in moved}


def test_bars_stand_only_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody_watches(monkeypatch)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert progress.progress(range(3)).disable and list(progress.progress(range(3))) == [0, 1, 2]
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert progress.watched()


# ---------------------------------------------------------------------------------- what is drawn is what is


def test_token_by_token_pictures_have_the_asking_token_in_their_rows() -> None:
    masks = model.attention_masks({"one": MASK, "two": ~MASK}, 2, 4, title="t").axes
    np.testing.assert_array_equal(masks[0].images[0].get_array(), MASK)
    np.testing.assert_array_equal(masks[1].images[0].get_array(), ~MASK)
    assert masks[0].get_ylabel() == "token that attends"
    maps = model.attention_maps(WEIGHTS, ["a", "b", "c"], 2, 4, title="t").axes
    for axes, weights, name in zip(maps, WEIGHTS, "abc", strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), weights)
        assert axes.get_title() == name


def test_the_encoding_is_drawn_over_time_and_over_people() -> None:
    encoding = RNG.uniform(-1, 1, (2, 5, 8))
    over_time, over_people = model.positional_encoding(encoding).axes[:2]
    np.testing.assert_array_equal(over_time.images[0].get_array(), encoding[0].T)
    np.testing.assert_array_equal(over_people.images[0].get_array(), encoding[:, 0].T)


def test_the_diagram_has_the_shapes_of_its_config() -> None:
    for config, wanted in (
        (LARTConfig.paper(), ["229→256→256→256", "linear 256→512", "16 blocks", "attention, 16 heads"]),
        (LARTConfig.mini(classes=80), ["229→192→192→192", "2 blocks", "(B, P, T, 80)", "(B, 80)"]),
        (LARTConfig.released(), ["229→229→128", "(B, P, T, 229 + 135 + 2048)", "looks 2048"]),
    ):
        axes = lart_diagram(config).axes[0]
        words = [line for text in axes.texts for line in text.get_text().split("\n")]
        assert set(wanted) <= set(words), set(wanted) - set(words)
        assert f"N = P · T = {config.people * config.frames} tokens" in axes.get_xlabel()
        norms = [word for word in words if "LayerNorm" in word]
        assert norms == 2 * (["LayerNorm"] if config.norm == "pre" else ["+, LayerNorm"])


def test_the_diagrams_words_do_not_touch() -> None:
    for config in (LARTConfig.paper(), LARTConfig.released()):
        figure = lart_diagram(config)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts if len(text.get_text()) > 1]
        page = figure.bbox
        for i, one in enumerate(boxes):
            assert not one.count_overlaps(boxes[i + 1 :]) and page.count_contains([one.min, one.max]) == 2


def test_the_diagrams_grounds_hold_the_stages_that_are_spoken_of() -> None:
    names = ["tracks", "person-vectors", "encoder (MLP)", "mask token, encoding", "every token, one row"]
    names += ["2 blocks", "head", "pooled"]
    for stage, name in zip(STAGES, names, strict=True):
        axes = lart_diagram(LARTConfig.mini(), here=[stage]).axes[0]
        axes.figure.draw_without_rendering()
        ground = axes.patches[0].get_window_extent()
        above = next(text for text in axes.texts if text.get_text() == name).get_position()[0]
        own = [text for text in axes.texts if text.get_position()[0] == above]
        own = [text for text in own if ground.y0 < text.get_window_extent().y0 < ground.y1]
        assert len(own) >= 3
        for text in own:
            box = text.get_window_extent()
            assert ground.count_contains([box.min, box.max]) == 2, text.get_text()
    plain = lart_diagram(LARTConfig.mini()).axes[0]
    assert len(axes.patches) == len(plain.patches) + 1


def test_attention_over_time_shades_the_gaps_and_dots_the_token_that_asks() -> None:
    detected = np.array([[True, True, False, True], [False, True, True, True]])
    panels = model.attention_over_time(WEIGHTS[0, 0].reshape(2, 4), 1, detected, title="t").axes
    for axes, row in zip(panels, detected, strict=True):
        shaded = [patch.get_extents().transformed(axes.transData.inverted()).x0 for patch in axes.patches]
        assert [round(x + 0.5) for x in shaded] == np.flatnonzero(~row).tolist()
        assert list(axes.lines[0].get_xdata()) == [1, 1]
    shares = [int(axes.get_ylabel().split("\n")[1].split("%")[0]) for axes in panels]
    np.testing.assert_allclose(shares, 100 * WEIGHTS[0, 0].reshape(2, 4).sum(axis=1), atol=0.5)


def test_recall_runs_to_the_right_and_precision_upwards() -> None:
    precision, recall = np.array([1.0, 0.7, 0.6]), np.array([0.1, 0.2, 0.4])
    axes = model.precision_recall({"a": (precision, recall)}, title="t").axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), recall)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), precision)


def test_classes_keep_their_names_when_they_are_sorted() -> None:
    values = {"a": np.array([0.1, 0.2, 0.3, 0.4]), "b": np.array([0.9, np.nan, 0.2, 0.5])}
    axes = model.class_bars(values, ["w", "x", "y", "z"], ["PM", "PM", "PI", "OM"], title="t").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["y", "z", "w"]
    assert [bar.get_width() for bar in axes.patches[:3]] == pytest.approx([20, 50, 90])
    assert list(axes.lines[0].get_xdata()) == pytest.approx([30, 40, 10])


def test_counts_stand_in_their_row_and_zeros_nowhere() -> None:
    counts = {"train": np.array([3, 0, 4]), "val": np.array([5, 6, 7])}
    axes = model.class_counts(counts, ["x", "y", "z"], title="t").axes[0]
    drawn = [line.get_xydata().tolist() for line in axes.lines]
    for points, expected in zip(drawn, ([[3, 0], [4, 2]], [[5, 0], [6, 1], [7, 2]]), strict=True):
        np.testing.assert_allclose(points, expected, atol=0.2)  # beside each other in their row


def test_each_part_of_a_vector_has_a_panel_with_its_own_numbers() -> None:
    values = RNG.normal(size=(9, 5))
    figure = model.person_vectors(values, {"a": (2, {1: "q"}), "b": (3, {})}, title="t")
    first, second = (axes.images[0].get_array() for axes in figure.axes[:2])
    np.testing.assert_array_equal(np.concatenate([first, second]), values.T)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["q"]


def test_the_timeline_is_filled_where_somebody_was_detected() -> None:
    frame = np.array([10, 11, 12, 20, 21])
    figure = people.detection_timeline(
        [np.array([True, True, False, True, True])], ["a"], title="t", frames=[frame]
    )
    drawn = [(bar.get_x(), bar.get_width(), bar.get_hatch()) for bar in figure.axes[0].patches[:3]]
    assert drawn == [(10, 2, None), (12, 1, "////"), (20, 2, None)]


def test_seen_from_above_depth_runs_upwards() -> None:
    places = np.array([[0.0, 1, 5], [1, 1, 6]])
    facing = np.array([[0.0, 0, -2], [3, 0, 0]])
    axes = people.scene_from_above([places], [facing], ["ego"], title="t", every=1).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), places[:, [0, 2]])
    (arrows,) = axes.collections
    drawn = np.stack([arrows.U, arrows.V], 1)
    np.testing.assert_allclose(drawn, np.linalg.norm(drawn[0]) * np.array([[0, -1], [1, 0]]), atol=1e-6)


@pytest.mark.parametrize("depth", [1.0, 9.0])
def test_seen_from_above_people_fill_the_picture_and_the_camera_is_told(depth: float) -> None:
    places = np.array([[0.0, 1, depth], [2, 1, depth + 1]])
    axes = people.scene_from_above([places], [places], ["ego"], title="t").axes[0]
    (left, right), (near, far) = axes.get_xlim(), axes.get_ylim()
    assert left < 0 and right > 2 and near < depth and far > depth + 1
    assert (near < 0) == (depth < 3)
    assert any("camera" in text.get_text() for text in axes.texts)
    assert ("below this edge" in " ".join(text.get_text() for text in axes.texts)) == (depth > 3)


def test_a_smoothed_path_keeps_the_one_it_is_a_mean_of() -> None:
    places = np.stack([np.arange(6.0), np.ones(6), 5 + np.array([0, 1, 0, 1, 0, 1.0])], axis=1)
    axes = people.scene_from_above([places], [places], ["ego"], title="t", smooth=4).axes[0]
    raw, path = (np.asarray(line.get_ydata()) for line in axes.lines[:2])
    np.testing.assert_array_equal(raw, places[:, 2])
    assert np.ptp(path[2:-1]) < 1e-9 < np.ptp(raw)


def test_a_video_frame_has_its_origin_above_and_no_box_where_nobody_was_seen() -> None:
    for detected in (True, False):
        axes = Figure().subplots()
        people.draw_video_frame(axes, POINTS[0], BOX[0], (360, 640), detected)
        boxes = [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in axes.patches[1:]]
        assert boxes == ([tuple(BOX[0])] if detected else [])
        assert axes.get_xlim() == (0, 640) and axes.get_ylim() == (360, 0)


# Machado, Oliveira and Fernandes 2009: what linear red, green and blue become without one kind of cone.
BLINDNESS = {
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.052]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
    "none": np.eye(3).tolist(),
}  # fmt: skip


def seen(colours: Any, blindness: str) -> np.ndarray:
    """Colours (N, 3) as lightness and two colour axes (N, 3), CIE L*a*b*, for eyes without a kind of cone."""
    linear = np.asarray(to_rgba_array(colours))[:, :3]
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(BLINDNESS[blindness]).T, 0, 1)
    to_xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
    xyz = np.cbrt(linear @ to_xyz.T / to_xyz.sum(axis=1) + 1e-4)
    x, y, z = xyz.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_are_told_apart_by_the_colour_blind(blindness: str) -> None:
    for colours in (base.CYCLE, [base.LEFT, base.RIGHT, base.MIDDLE], list(model.CATEGORY_COLOURS.values())):
        lab = seen(colours, blindness)
        apart = np.linalg.norm(lab[:, None] - lab, axis=-1)[np.triu_indices(len(colours), 1)]
        assert apart.min() > 10, apart
    rising = seen(colormaps[base.LOW_TO_HIGH](np.linspace(0, 1, 32)), blindness)[:, 0]
    assert (np.diff(rising) < 0).all(), "more is darker"
    ends = seen(colormaps[base.BELOW_TO_ABOVE]([0.15, 0.5, 0.85]), blindness)
    assert np.linalg.norm(ends[0] - ends[2]) > 20 and ends[1, 0] > max(ends[0, 0], ends[2, 0]) + 20


def test_keys_that_are_alike_have_like_colours() -> None:
    keys = np.zeros((4, 6, 8))
    keys[:, 3:, 0], keys[2:, :, 1] = 5, 1
    colours = attention.pca_colours(keys + 1e-9 * RNG.normal(size=keys.shape))
    assert colours.shape == (4, 6, 3) and colours.min() >= 0 and colours.max() <= 1
    assert abs(colours[0, 0] - colours[0, 3]).max() > 0.9, "the largest difference has the whole scale"
    assert abs(colours[0, 0, :2] - colours[1, 2, :2]).max() < 0.05
    figure = attention.keys_in_colour(PICTURE, {"a": keys, "b": keys}, title="t", covered=(0.5, 1.0))
    assert [axes.get_title() for axes in figure.axes] == ["the key frame", "a", "b"]
    assert figure.axes[1].images[0].get_extent() == [0, 16, 18, 0], "the map goes on below the picture"
