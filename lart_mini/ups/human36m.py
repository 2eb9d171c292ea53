"""A user's own poses in the form that lifting papers share: Human3.6M's positions and 2D detections as .npz.

`positions_3d`: subject → action → (T, 32 or 17, 3) metres, z up, 50 frames a second. `positions_2d`: subject
→ action → a list of cameras' (T, 17, 2) pixels, with `metadata`. Neither is shipped or fetched; both are read
without running what stands in them. The cameras are not in the files: 3D motion is filmed as the kit's is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput, finite_number, told
from lart_mini.reading.objects import read_objects
from lart_mini.scenes.camera import look_at
from lart_mini.ups.tasks import (
    FARTHEST,
    FRAMES,
    JOINTS,
    SPAN,
    STEP,
    Views,
    Windows,
    checked_joints,
    normalised_2d,
)

Floats = NDArray[np.float32]

RATE, KEPT_RATE = 50, 30  # frames a second of Human3.6M, and of a window before every sixth is kept
FASTEST = 1000  # frames a second of a user's own
# Of the 32 joints of Human3.6M's skeleton the 17 that are scored, in their order.
OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
LEFT, RIGHT = ([i for i, name in enumerate(JOINTS) if name.startswith(side)] for side in ("left", "right"))
FOCAL, CENTRE = 1145.0, (513.0, 509.0)  # pixels, about those of Human3.6M's four cameras


def read_positions(path: str | Path) -> dict[str, Floats]:
    """`positions_3d` of a file: "subject/action" → (T, 17, 3) metres in the world, y up, as the kit's.

    Raises BadInput naming file and entry for another form, another number of joints, and coordinates that are
    no numbers.
    """
    found = {}
    for name, array in _sequences(path, read_objects(path, ("positions_3d",))["positions_3d"]).items():
        joints = checked_joints(path, name, array, (32, len(JOINTS)))
        kept = joints[:, OF_32] if joints.shape[1] == 32 else joints
        found[name] = np.stack([kept[..., 0], kept[..., 2], -kept[..., 1]], axis=-1)  # z up → y up
    return found


def read_detections_2d(path: str | Path) -> dict[str, list[Floats]]:
    """`positions_2d` of a file: "subject/action" → (T, 17, 2) pixels of each camera.

    Raises BadInput as `read_positions` does, and for joints that are not Human3.6M's: COCO has 17, too.
    """
    content = read_objects(path, ("positions_2d", "metadata"))
    meta = content["metadata"]
    sides: Any = meta.get("keypoints_symmetry") if type(meta) is dict else None
    if not _is_pair(sides) or [list(map(int, side)) for side in sides] != [LEFT, RIGHT]:
        layout = meta.get("layout_name") if type(meta) is dict else type(meta).__name__
        wanted, given = f"h36m: {[LEFT, RIGHT]}", f"{told(layout)}: {told(sides)}"
        raise BadInput(path, "metadata: keypoints_symmetry", wanted, given)
    found = {}
    for name, cameras in _sequences(path, content["positions_2d"]).items():
        if type(cameras) not in (list, tuple) or not cameras:
            raise BadInput(path, name, "a list of cameras' arrays", type(cameras).__name__)
        places = [f"{name}, camera {number}" for number in range(len(cameras))]
        found[name] = [
            checked_joints(path, place, one, (len(JOINTS),), 2)
            for place, one in zip(places, cameras, strict=True)
        ]
    return found


def _is_pair(sides: object) -> bool:
    """Two lists of numbers?"""
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return False
    return all(
        isinstance(side, list | tuple) and all(isinstance(joint, int | np.integer) for joint in side)
        for side in sides
    )


def _sequences(path: str | Path, content: Any) -> dict[str, Any]:
    """By "subject/action" what stands there."""
    if type(content) is not dict or not content:
        raise BadInput(path, "positions", "a dict of subjects", type(content).__name__)
    found: dict[str, Any] = {}
    for subject, actions in content.items():
        if type(actions) is not dict:
            raise BadInput(path, str(subject), "a dict of actions", type(actions).__name__)
        for action, array in actions.items():
            name = f"{subject}/{action}"
            if name in found:
                raise BadInput(path, name, "one subject and action of this name", "two")
            found[name] = array
    if not found:
        raise BadInput(path, "positions", "actions of a subject", "none")
    return found


def motion_windows(
    positions: dict[str, Floats], label: int = -1, rate: float = RATE, stride: float = 0.5
) -> Windows:
    """Windows of 2 s, one every `stride` seconds, of anybody's 17 joints: to train on, or to be filmed.

    positions: name → (T, 17, 3) metres in the world, y up, `rate` frames a second; the name is the take.
    Raises BadInput where none is two seconds long, and for anything but such numbers.
    """
    finite_number("windows", "rate", rate, 1, FASTEST)
    finite_number("windows", "stride", stride, 0.01)
    steps = np.round(np.arange(SPAN) * rate / KEPT_RATE).astype(int)
    joints, takes = [], []
    for name, sequence in positions.items():
        checked_joints("windows", name, sequence, (len(JOINTS),))
        hop = max(round(stride * rate), 1)
        for start in range(0, len(sequence) - int(steps[-1]), hop):
            joints.append(sequence[start + steps])
            takes.append(name)
    if not joints:
        raise BadInput("windows", "sequences", f"one of {steps[-1] + 1} frames or more", "none")
    return Windows(np.stack(joints), np.full(len(joints), label), np.array(takes))


def detection_views(
    pixels: Floats, rate: float = RATE, focal: float = FOCAL, centre: tuple[float, float] = CENTRE
) -> tuple[Views, Floats]:
    """Every frame of a clip's 2D joints (T, 17, 2) in pixels as lifting sees it: amid its window.

    At the clip's ends frames are held. `focal` and `centre` are the camera's, in pixels. Training's cameras
    look at the hip, so each window is turned until the frame's own hip is in the middle; a camera that rolls
    is not put upright. Gives the turns (T, 3, 3), too: an answer @ its turn is in the camera's frame. Raises
    BadInput.
    """
    finite_number("lifting", "focal", focal, 1)
    finite_number("lifting", "rate", rate, 1, FASTEST)
    for place in centre:
        finite_number("lifting", "centre", place, -FARTHEST, FARTHEST)
    count = len(checked_joints("lifting", "pixels", pixels, (len(JOINTS),), 2))
    offset = np.round((np.arange(FRAMES) - FRAMES // 2) * STEP * rate / KEPT_RATE).astype(int)
    at = (np.arange(count)[:, None] + offset).clip(0, count - 1)
    flat = (np.asarray(pixels, np.float64)[at] - centre) / focal
    rays = np.pad(flat, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1)  # (T,N,17,3)
    up = np.array([1, -1, -1], np.float32)  # y up, as look_at has it
    turns = look_at(np.zeros(3, np.float32), up * rays[:, FRAMES // 2, 0]) * up
    turned = np.einsum("tij,tnkj->tnki", turns, rays)
    flat = turned[..., :2] / turned[..., 2:].clip(1e-3)  # nobody is behind the camera
    goal = np.zeros((count, len(JOINTS), 3), np.float32)
    seen, nobody = np.ones((count, FRAMES), bool), np.full(count, "")
    return Views("lifting", normalised_2d(flat), seen, goal, np.full(count, -1), nobody), turns
