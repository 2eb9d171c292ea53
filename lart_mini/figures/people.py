"""Pictures of people: skeletons, meshes, boxes, scenes; and tracklets that move.

Arrays go in, and a matplotlib `Figure` comes out; `draw_*` put them on axes that are there. None touches
pyplot's global state.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from IPython.display import HTML
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter1d

from lart_mini.figures.base import (
    CYCLE,
    FLOOR,
    LEFT,
    MIDDLE,
    PALETTE,
    RIGHT,
    SKIN,
    _few_colours,
    literal,
    new_figure,
)
from lart_mini.people.body import JOINT_NAMES, PARENTS

BONES = np.array([(parent, joint) for joint, parent in enumerate(PARENTS) if parent >= 0])  # (23, 2)
BONE_COLOURS = [
    LEFT
    if JOINT_NAMES[joint].startswith("left")
    else RIGHT
    if JOINT_NAMES[joint].startswith("right")
    else MIDDLE
    for _, joint in BONES
]


def rotate_y(points: NDArray, degrees: float) -> NDArray:
    """Turn points (…, 3) about the vertical axis; 90 brings what faced +z to face +x."""
    angle = np.radians(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return np.asarray(points) @ turn.T


def upright(points: NDArray) -> NDArray:
    """Camera frame (x right, y down, z forward) to y up, facing the viewer: half a turn about x."""
    return np.asarray(points) * np.array([1, -1, -1])


def draw_skeleton(axes: Axes, joints: NDArray, width: float = 2.5, alpha: float = 1.0) -> None:
    """Draw 24 SMPL joints (24, 2): left side blue, right side vermillion, spine black, a dot for the head."""
    bones = list(joints[BONES])
    axes.add_collection(
        LineCollection(bones, colors=BONE_COLOURS, linewidths=width, alpha=alpha, capstyle="round")
    )
    axes.plot(*joints[JOINT_NAMES.index("head")], "o", color=MIDDLE, markersize=2.4 * width, alpha=alpha)


def side_legend(axes: Axes) -> None:
    """Name the two sides' colours once, in a corner."""
    for label, colour in (("person's left", LEFT), ("person's right", RIGHT)):
        axes.plot([], [], color=colour, linewidth=2.5, label=label)
    axes.legend(loc="upper right", fontsize=8, frameon=False, ncols=2, borderaxespad=0)


def skeleton_strip(
    joints: NDArray,
    frames: Sequence[int] | None = None,
    *,
    title: str,
    yaw: float = 25,
    fps: float = 30,
    detected: NDArray | None = None,
) -> Figure:
    """A filmstrip of one person.

    joints: (T, 24, 3) metres, y up, floor at 0. frames: which to draw (by default eight, evenly spread).
    detected: (T,) bool; frames without a detection are drawn pale. yaw: degrees to turn about the vertical.
    """
    joints = np.asarray(joints)
    if frames is None:
        frames = np.linspace(0, len(joints) - 1, min(8, len(joints))).round().astype(int).tolist()
    step = 1.3
    figure = new_figure(1.35 * len(frames) + 0.4, 2.9, title)
    axes = figure.subplots()
    for place, frame in enumerate(frames):
        person = rotate_y(joints[frame] - joints[frame, 0] * [1, 0, 1], yaw)
        seen = detected is None or bool(detected[frame])
        draw_skeleton(axes, person[:, :2] + [place * step, 0], alpha=1 if seen else 0.25)
        note = f"{frame / fps:.1f} s" + ("" if seen else "\nmissing")
        axes.text(place * step, -0.12, note, ha="center", va="top", fontsize=9, color=MIDDLE)
    top = max(2.0, float(joints[list(frames), :, 1].max()) + 0.25)
    axes.axhline(0, color=FLOOR, linewidth=1.5, zorder=0)
    axes.set(xlim=(-0.8, step * len(frames) - 0.5), ylim=(-0.45, top + 0.15), aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([0, 1, 2])
    axes.set_ylabel("height (m)")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    side_legend(axes)
    return figure


def _shaded_faces(vertices: NDArray, faces: NDArray, colour: ArrayLike) -> tuple[NDArray, NDArray]:
    """Painter's algorithm: faces towards the viewer, far ones first (F', 3, 2), and their colours (F', 3)."""
    corners = vertices[faces]  # (F, 3, 3), the viewer looks along -z
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-12
    light = np.array([-0.45, 0.6, 0.66])
    bright = 0.35 + 0.55 * np.clip(normals @ light, 0, 1) + 0.12 * np.clip(normals[:, 2], 0, 1)
    visible = normals[:, 2] > 0
    order = np.argsort(corners[visible, :, 2].mean(axis=1))
    colours = np.clip(np.asarray(colour) * bright[visible, None], 0, 1)
    return corners[visible][order][..., :2], colours[order]


def draw_mesh(axes: Axes, vertices: NDArray, faces: NDArray, colour: ArrayLike = SKIN) -> None:
    """Draw vertices (V, 3), metres, y up, the viewer at +z, and faces (F, 3), softly lit from above."""
    polygons, colours = _shaded_faces(np.asarray(vertices), np.asarray(faces), colour)
    axes.add_collection(
        PolyCollection(list(polygons), facecolors=colours, edgecolors=colours, linewidths=0.3)
    )


def mesh_strip(
    meshes: NDArray,
    faces: NDArray,
    labels: Sequence[str],
    *,
    title: str,
    yaw: float | Sequence[float] = 25,
    step: float = 1.2,
) -> Figure:
    """A row of meshes (N, V, 3), metres, y up, floor at 0, over their labels; `yaw` for all or for each."""
    meshes = np.asarray(meshes)
    yaws = np.broadcast_to(np.asarray(yaw, dtype=float), (len(meshes),))
    figure = new_figure(1.25 * step * len(meshes) + 0.5, 3.1, title)
    axes = figure.subplots()
    for place, (mesh, label) in enumerate(zip(meshes, labels, strict=True)):
        middle = (mesh.max(axis=0) + mesh.min(axis=0)) / 2 * [1, 0, 1]
        place_of_mesh = np.array([place * step, 0, 0])
        draw_mesh(axes, rotate_y(mesh - middle, yaws[place]) + place_of_mesh, faces)
        axes.text(place * step, -0.1, literal(label), ha="center", va="top", fontsize=9, color=MIDDLE)
    top = max(1.9, float(meshes[..., 1].max()) + 0.1)
    axes.axhline(0, color=FLOOR, linewidth=1.5, zorder=0)
    axes.set(xlim=(-0.6 * step, step * (len(meshes) - 0.4)), ylim=(-0.4, top), aspect="equal", yticks=[0, 1])
    axes.set_xticks([])
    axes.set_ylabel("height (m)")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def scene_from_above(
    translations: Sequence[NDArray],
    facing: Sequence[NDArray],
    names: Sequence[str],
    *,
    title: str,
    every: int = 15,
    smooth: int = 1,
) -> Figure:
    """Who stands where and looks which way, seen from above; the picture holds the people.

    translations: per person (T, 3) metres in the camera frame. facing: per person (T, 3), where the
    pelvis faces in the same frame. The path as it is stands pale behind its mean over `smooth` rows, which
    has an arrow every `every` rows. Where the camera is not in the picture, a line says where it is.
    """
    grounds = [np.asarray(places)[:, [0, 2]] for places in translations]
    low, high = (
        np.min([g.min(axis=0) for g in grounds], axis=0),
        np.max([g.max(axis=0) for g in grounds], axis=0),
    )
    arrow = 0.1 * max(2.0, *(high - low))  # metres
    low, high = low - 1.6 * arrow, high + 1.6 * arrow
    wide, deep = high - low
    figure = new_figure(6.6, float(np.clip(5.8 * deep / wide, 1.6, 5)) + 1.1, title)
    axes = figure.subplots()
    for person, (ground, directions, name) in enumerate(zip(grounds, facing, names, strict=True)):
        colour, heading = CYCLE[person % len(CYCLE)], np.asarray(directions)[:, [0, 2]]
        path, heading = (uniform_filter1d(x.astype(float), smooth, axis=0) for x in (ground, heading))
        heading *= arrow / (np.linalg.norm(heading, axis=1, keepdims=True) + 1e-9)
        axes.plot(*ground.T, color=colour, linewidth=0.7, alpha=0.4)
        axes.plot(*path.T, color=colour, linewidth=1.8)
        axes.quiver(
            *path[::every].T, *heading[::every].T, color=colour, angles="xy", scale_units="xy", scale=1,
            width=0.006, zorder=3,
        )  # fmt: skip
        axes.plot(*path[0], marker="o", color=colour, markersize=7)
        top = ground[ground[:, 1].argmax()] + [0, arrow]  # clear of the arrows
        axes.annotate(
            literal(name), top, (0, 2), textcoords="offset points", ha="center", color=colour, fontsize=9,
            path_effects=[withStroke(linewidth=3, foreground="white")], zorder=4,
        )  # fmt: skip
    _mark_camera(axes, low, high)
    axes.set(xlabel="to the right of the camera (m)", ylabel="away from the camera (m)", aspect="equal")
    axes.grid(color="#E5E5E5")
    axes.set_axisbelow(True)
    return figure


def _mark_camera(axes: Axes, low: NDArray, high: NDArray) -> None:
    """The camera at (0, 0), or where it lies from the lower edge; low, high: the picture's corners (2,)."""
    if low[1] < 3:  # not far: let it be in the picture
        low, high = np.minimum(low, -0.3), np.maximum(high, 0.3)
        axes.plot(0, 0, marker="^", markersize=12, color=MIDDLE, linestyle="none")
        axes.annotate("camera", (0, 0), (10, -4), textcoords="offset points", fontsize=9)
    else:
        axes.text(
            0.5, 0.02, f"▼ camera, {low[1]:.0f} m below this edge",
            transform=axes.transAxes, ha="center", va="bottom", fontsize=9, color=MIDDLE,
        )  # fmt: skip
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def draw_timeline(axes: Axes, detected: NDArray, row: float, frame: NDArray | None = None) -> None:
    """One person's row of a timeline, (T,) bool: filled while detected, hatched while lost."""
    frame = np.arange(len(detected)) if frame is None else np.asarray(frame)
    changes = np.flatnonzero(np.diff(np.asarray(detected).astype(int))) + 1
    for part in np.split(np.arange(len(detected)), changes):
        start, stop = frame[part[0]], frame[part[-1]] + 1
        seen = bool(detected[part[0]])
        axes.barh(
            row,
            stop - start,
            left=start,
            height=0.6,
            color=PALETTE["sky"] if seen else "white",
            edgecolor="none" if seen else PALETTE["vermillion"],
            hatch=None if seen else "////",
        )


def detection_timeline(
    detected: Sequence[NDArray],
    names: Sequence[str],
    *,
    title: str,
    frames: Sequence[NDArray] | None = None,
    keyframes: Sequence[int] = (),
) -> Figure:
    """Per person (T,) bool: when the tracker has a box and when not; dashed lines at the key frames."""
    figure = new_figure(8, 1.15 + 0.36 * len(detected), title)
    axes = figure.subplots()
    for row, values in enumerate(detected):
        draw_timeline(axes, values, row, None if frames is None else frames[row])
    for keyframe in keyframes:
        axes.axvline(keyframe, color=MIDDLE, linestyle="--", linewidth=1)
    axes.barh(np.nan, 0, color=PALETTE["sky"], label="detected")
    axes.barh(np.nan, 0, color="white", edgecolor=PALETTE["vermillion"], hatch="////", label="missing")
    if len(keyframes):
        axes.plot([], [], color=MIDDLE, linestyle="--", linewidth=1, label="key frame")
    axes.set_yticks(range(len(names)), list(map(literal, names)), fontsize=9)
    axes.set_xlabel("frame (30 per second)")
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_video_frame(
    axes: Axes, points: NDArray | None, box: NDArray, frame_size: Sequence[float], detected: bool
) -> None:
    """One video frame without its pixels: its edge, the person's box x, y, w, h, and 24 joints in pixels."""
    height, width = frame_size
    axes.add_patch(Rectangle((0, 0), width, height, facecolor="#F4F3EF" if detected else "#EBEBEB"))
    if detected:
        axes.add_patch(
            Rectangle((box[0], box[1]), box[2], box[3], fill=False, edgecolor=PALETTE["green"], linewidth=1.8)
        )
    if points is not None and detected:
        draw_skeleton(axes, points, width=1.8)
    if not detected:
        axes.text(
            width / 2, height / 2, "no detection", ha="center", va="center", fontsize=8, color="#595959"
        )
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])


def _with_longest_gap(chosen: NDArray, detected: NDArray) -> NDArray:
    """Move the chosen frame nearest to the longest gap into its middle, so that a strip shows it."""
    seen = np.flatnonzero(np.r_[True, detected, True]) - 1
    longest = int(np.diff(seen).argmax())
    middle = (seen[longest] + seen[longest + 1]) // 2
    if not detected[middle]:
        chosen[np.abs(chosen - middle).argmin()] = middle
    return chosen


def tracklet_strip(
    points: NDArray | None,
    box: NDArray,
    detected: NDArray,
    frame_size: Sequence[float],
    *,
    title: str,
    count: int = 6,
    fps: float = 30,
) -> Figure:
    """A tracklet as a filmstrip over its timeline: box and joints above, detected and missing below.

    points: (T, 24, 2) pixels or None · box: (T, 4) x, y, w, h pixels · detected: (T,) · frame_size: h, w.
    """
    chosen = _with_longest_gap(np.linspace(0, len(box) - 1, count).round().astype(int), detected)
    aspect = float(frame_size[0] / frame_size[1])
    figure = new_figure(1.75 * count, 1.75 * aspect + 1.75, title)
    grid = figure.add_gridspec(2, count, height_ratios=[1.75 * aspect, 0.55])
    for place, frame in enumerate(chosen):
        axes = figure.add_subplot(grid[0, place])
        draw_video_frame(
            axes, None if points is None else points[frame], box[frame], frame_size, bool(detected[frame])
        )
        axes.set_xlabel(f"{frame / fps:.1f} s", fontsize=9)
    below = figure.add_subplot(grid[1, :])
    draw_timeline(below, detected, 0)
    below.vlines(chosen, -0.45, 0.45, color=MIDDLE, linewidth=1)
    below.set(
        xlim=(0, len(box)), yticks=[], xlabel="frame of the tracklet (filled: detected, hatched: missing)"
    )
    below.spines[["top", "right", "left"]].set_visible(False)
    return figure


def animate_tracklet(
    points: NDArray,
    box: NDArray,
    detected: NDArray,
    frame_size: Sequence[float],
    *,
    alt: str,
    most_frames: int = 40,
    fps: float = 30,
) -> HTML:
    """The moving version of `tracklet_strip`: at most `most_frames` pictures, no outside files."""
    stride = int(np.ceil(len(box) / most_frames))
    aspect = float(frame_size[0] / frame_size[1])
    figure = Figure(figsize=(3.6, 3.6 * aspect))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))

    def draw(index: int) -> list:
        frame = index * stride
        axes.clear()
        draw_video_frame(axes, points[frame], box[frame], frame_size, bool(detected[frame]))
        axes.text(8, 8, f"{frame / fps:.1f} s", va="top", fontsize=9)
        return []

    return movie(figure, draw, len(range(0, len(box), stride)), fps=fps / stride, alt=alt)


def movie(figure: Figure, draw: Callable[[int], list], count: int, *, fps: float, alt: str) -> HTML:
    """`count` pictures of `figure`, each drawn by draw(number), as a player without outside files."""
    pictures = FuncAnimation(figure, draw, frames=count, interval=1000 / fps)
    player = pictures.to_jshtml(fps=max(1, round(fps)), embed_frames=True, default_mode="loop")

    def smaller(found: re.Match[str]) -> str:
        picture = io.BytesIO(base64.b64decode(found[2].replace("\\\n", "")))  # lines end in a backslash
        return found[1] + base64.b64encode(_few_colours(picture, 64)).decode()

    return HTML(_offline(re.sub(r"(data:image/png;base64,)([\w+/=\\\n]+)", smaller, player), alt))


def _offline(player: str, alt: str) -> str:
    """matplotlib's player takes its button icons from a web font; plain characters work without a network."""
    icons = {
        "minus": "−",
        "plus": "+",
        "fast-backward": "⇤",
        "fast-forward": "⇥",
        "step-backward": "◁",
        "step-forward": "▷",
        "play fa-flip-horizontal": "◀",
        "pause": "‖",
        "play": "▶",
    }
    player = re.sub(r'<link rel="stylesheet"\s+href="[^"]*font-awesome[^"]*">', "", player)
    for name, character in icons.items():
        player = player.replace(f'<i class="fa fa-{name}"></i>', character)
    return player.replace("<img id=", f'<img alt="{escape(alt)}" id=', 1)
