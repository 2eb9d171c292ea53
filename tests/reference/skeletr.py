"""SkeleTR slowly and literally, with loops over persons, joints, branches and tokens (ICCV 2023, section 3).

Sequences are linked one by one; ST-GCN++ is summed joint by joint and branch by branch from a model's own
weights; attention is a loop over heads and tokens.
"""

from __future__ import annotations

import numpy as np

from lart_mini.data.skeletons import Skeletons


def box_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x, y, w, h."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return float(shared / (a[2] * a[3] + b[2] * b[3] - shared))


def sequences(skeletons: Skeletons, frames: int, step: int, least: float = 0.3) -> dict[int, list[int]]:
    """Centre → numbers of the T skeletons linked to it by overlap, −1 where there is none (3.2)."""
    half, found = frames * step // 2, {}
    for centre in range(len(skeletons)):
        if skeletons.frame[centre] % half:
            continue
        chain = {half: centre}
        for direction in (-1, 1):
            last, place = centre, half + direction
            while 0 <= place < frames * step:
                best, most = -1, least
                for other in np.flatnonzero(skeletons.frame == skeletons.frame[centre] + place - half):
                    shared = box_overlap(skeletons.box[other], skeletons.box[last])
                    if shared > most or (shared == most and best < 0):
                        best, most = int(other), shared
                if best >= 0:
                    chain[place], last = best, best
                place += direction
        found[centre] = [chain.get(place, -1) for place in range(half % step, frames * step, step)]
    return found
