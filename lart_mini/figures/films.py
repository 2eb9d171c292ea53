"""A rendered scene as a film: who is where, what they do by the ground truth, and what LART says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.ndimage import uniform_filter1d

from lart_mini import ava
from lart_mini.boxes import corners_from_xywh
from lart_mini.data.mini_ava import PLAIN, scene_of
from lart_mini.data.rendered import CARRY, SEEN, world_of
from lart_mini.data.videos import place_of, video_of
from lart_mini.figures.base import CYCLE
from lart_mini.figures.pictures import Marked, Picture, draw_people
from lart_mini.files import BadInput, whole_number
from lart_mini.lart.config import assembly_for
from lart_mini.lart.predict import dense_scores, samples_of
from lart_mini.lart.shipped_weights import load_shipped
from lart_mini.scenes.render import SIZE, Renderer
from lart_mini.scenes.scene import Scene
from lart_mini.tracklets.tracklet import Tracklet

LAYERS = ("plain", "truth", "tracks", "scores")
LEAST = 0.2  # of a score that is drawn
TAIL = 30  # frames of a path

People = Callable[[int], list[Marked]]  # a frame's number → whom to draw


def read_scene_name(text: str) -> tuple[str, int]:
    """`ava-val:3`, or `val00000003`, its video → split and number. Raises BadInput for another form."""
    if found := place_of(text):
        return found
    split, _, number = text.partition(":")
    if not number.isdecimal() or not number.isascii() or len(number) > 9:
        raise BadInput("scene", "name", "a split and the number of its video, such as ava-val:3", text)
    return split, int(number)


def film_scene(
    name: str,
    *,
    size: str = "smoke",
    seed: int = 0,
    draw: str = "truth",
    frames: tuple[int, int | None, int] = (0, None, 1),
    zoom: int = 2,
    letters: int = 6,
) -> Iterator[Picture]:
    """Pictures of a scene of mini_ava, `zoom` times 216 × 384 pixels, with people marked on them.

    name: `ava-val:3`, say, or the video's own · draw: `plain`, `truth` (boxes and actions), `tracks` (what
    the tracker follows) or `scores` (tracks, and what the shipped LART says of each) · frames: first, one
    after the last (None: to the end), step · letters: height of words, pixels before the zoom. Raises
    BadInput before the first picture for a scene, size, seed, `draw` or frames that are none.
    """
    split, index = read_scene_name(name)
    if draw not in LAYERS:
        raise BadInput("film", "draw", " | ".join(LAYERS), draw)
    whole_number("film", "zoom", zoom, 1, 8)
    whole_number("film", "letters", letters, 1, 64)
    scene = scene_of(split, index, size, seed)
    first, last, step = frames
    stop = scene.frames if last is None else last
    whole_number("film", "first frame", first, 0, scene.frames - 1)
    whole_number("film", "frame after the last", stop, first + 1, scene.frames)
    whole_number("film", "step", step, 1)
    renderer = Renderer(world_of(scene), (zoom * SIZE[0], zoom * SIZE[1]))
    people, high = _people(scene, renderer, split, index, draw), letters * zoom
    return (draw_people(renderer.frame(t), people(t), letters=high) for t in range(first, stop, step))


def _people(scene: Scene, renderer: Renderer, split: str, index: int, draw: str) -> People:
    if draw == "plain":
        return lambda _: []
    if draw == "truth":
        return lambda t: true_people(scene, renderer, t)
    tracklets = video_of(scene, split, index, scene.body, rows=PLAIN.rows(scene, [])).tracklets
    scores = _scores(tracklets) if draw == "scores" else [None] * len(tracklets)
    scale = renderer.size[1] / scene.camera.size[1]
    return lambda t: tracked_people(tracklets, scores, t, scale)


def true_people(scene: Scene, renderer: Renderer, t: int) -> list[Marked]:
    """The annotated people of frame `t`: boxes, and actions as the rendered set has them."""
    scale, least = renderer.size[1] / scene.camera.size[1], SEEN * (renderer.size[1] / SIZE[1]) ** 2
    seen, found = renderer.seen(t), []
    for number, person in enumerate(scene.filmed):
        if scene.annotated[number, t]:
            actions = set((np.flatnonzero(person.labels[t]) + 1).tolist()) - {CARRY}
            if any(seen.get(thing, 0) >= least for thing in renderer.world.held_by(number, t)):
                actions.add(CARRY)
            told = [(ava.NAMES[action], None) for action in sorted(actions)]
            found.append(Marked(person.box[t] * scale, f"person {number}", told, CYCLE[number % len(CYCLE)]))
    return found


def tracked_people(
    tracklets: Sequence[Tracklet], scores: Sequence[np.ndarray | None], t: int, scale: float
) -> list[Marked]:
    """Whom the tracker follows at frame `t`; scores: (T,60) of each tracklet, or None."""
    found, told = [], set[int]()
    for tracklet, rows in zip(tracklets, scores, strict=True):
        k = t - int(tracklet.frame[0])
        if not 0 <= k < len(tracklet) or not tracklet.detected[k] or tracklet.track in told:
            continue
        told.add(tracklet.track)
        boxes = corners_from_xywh(tracklet.box[max(0, k - TAIL) : k + 1]) * scale
        feet = np.stack([boxes[:, [0, 2]].mean(axis=1), boxes[:, 3]], axis=1)
        feet = uniform_filter1d(feet, 9, axis=0, mode="nearest")
        kept = tracklet.detected[max(0, k - TAIL) : k + 1]
        colour = CYCLE[tracklet.track % len(CYCLE)]
        actions = [] if rows is None else _best(rows[k])
        found.append(Marked(boxes[-1], f"track {tracklet.track}", actions, colour, feet[kept]))
    return found


def _best(scores: np.ndarray) -> list[tuple[str, float | None]]:
    order = np.argsort(-scores)[:3]
    return [(ava.NAMES[ava.EVALUATED[k]], float(scores[k])) for k in order if scores[k] >= LEAST]


def _scores(tracklets: Sequence[Tracklet]) -> list[np.ndarray]:
    if not tracklets:
        return []
    model, stats, _ = load_shipped("small-finetuned")
    samples = samples_of(tracklets, model.config, stats, assembly_for(model.config))
    return dense_scores(model, samples, progress=False)
