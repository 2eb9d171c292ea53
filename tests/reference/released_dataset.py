"""One sample as the released data set builds it, frame by frame from the dicts of the pickles, in float64.

Written from what docs say of that data set, and sharing nothing with lart_mini but the format. Arrays are
(P, T, …); the others come in the order in which the released code would have drawn them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# The ids of the 20 AVA classes that are not evaluated.
LEFT_OUT = {2, 16, 18, 19, 21, 23, 25, 31, 32, 33, 35, 39, 40, 42, 44, 50, 53, 55, 71, 75}
EVALUATED = [i for i in range(1, 81) if i not in LEFT_OUT]


def padded(mean_std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std (229,) from the published (2, 1, 226): a person's place is left as it is."""
    return np.append(mean_std[0, 0], [0.0, 0.0, 0.0]), np.append(mean_std[1, 0], [1.0, 1.0, 1.0])


def ego_rows(length: int, frames: int, train: bool) -> list[int]:
    """The random crop of a long tracklet is set back to its start; a short one loses its last frame."""
    if not train:
        return list(range(min(length, frames)))
    return list(range(frames)) if length > frames + 1 else list(range(length - 1))


def person_frame(file: dict[str, Any], row: int, mean: np.ndarray, std: np.ndarray, width: int) -> dict:
    """Everything the sample holds of one person in one frame."""
    key = file["apperance_index"][row, 0, 0]
    has_gt = file["has_gt"][row, 0, 0]
    label, seen = np.zeros(80), np.zeros(width)
    if key != -1:
        label, seen = file["action_label_psudo"][key][0], file["apperance_dict"][key][0]
    if has_gt == 2:
        label = file["action_label_gt"][row, 0]
    joints = [file["3d_joints"][row, 0, j] + file["camera"][row, 0] for j in range(45)]
    return {
        "pose": [(file["pose_shape"][row, 0, n] - mean[n]) / (std[n] + 1e-10) for n in range(229)],
        "joints": np.concatenate(joints),
        "appearance": seen,
        "labels": [label[i - 1] for i in EVALUATED],
        "detected": file["has_detection"][row, 0, 0],
        "has_gt": has_gt,
    }


def sample(
    ego: dict[str, Any],
    others: list[dict[str, Any]],
    *,
    frames: int,
    people: int,
    mean_std: np.ndarray,
    width: int,
    train: bool,
    truth_only: bool,
) -> dict[str, np.ndarray]:
    """pose, joints, appearance, labels, detected and label_weight, zero where nobody fills them."""
    mean, std = padded(mean_std)
    widths = {"pose": 229, "joints": 135, "appearance": width, "labels": 60}
    made = {name: np.zeros((people, frames, size)) for name, size in widths.items()}
    made |= {name: np.zeros((people, frames)) for name in ("detected", "has_gt")}
    rows = ego_rows(len(ego["frame_name"]), frames, train)
    first, last = ego["fid"][rows[0], 0, 0], ego["fid"][rows[-1], 0, 0]
    for slot, file in enumerate([ego, *others][:people]):
        begins, ends = file["fid"][0, 0, 0], file["fid"][-1, 0, 0]
        if begins < first and ends > last:
            continue  # a person who is there before and after the window is left out
        for row in range(len(file["frame_name"])):
            t = int(file["fid"][row, 0, 0] - first)
            if 0 <= t < len(rows):
                for name, value in person_frame(file, row, mean, std, width).items():
                    made[name][slot, t] = value
    counts = made["has_gt"] == 2 if truth_only else made.pop("has_gt") >= 1
    made.pop("has_gt", None)
    return made | {"label_weight": made["detected"] * counts}
