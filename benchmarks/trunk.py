"""What looking costs: processor milliseconds of a thread for frames and crops, beside drawing the frame.

    python benchmarks/trunk.py --repeats 5

The trunk's maps at strides 8 and 16, frame by frame, as `rendered_maps` and `looks_of` compute them;
crops of 80 × 80 pixels by nines, to stride 32; and a video's people looked at each second, drawing included.
Turns are mixed, so that a machine that is busy is so for all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from lart_mini.appearance import RenderedFrames, load_trunk, looks_of, padded
from lart_mini.data import rendered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, trunk = rendered("smoke"), load_trunk()
    renderer = data.renderer("ava-val", 1)
    frames = [renderer.frame(60 + k) for k in range(options.repeats + 1)]  # the still view is made by now
    large = [padded(torch.from_numpy(frame)[None], 16) for frame in frames]
    small = [frame[:, ::2, ::2] for frame in large]
    crops = torch.from_numpy(np.stack([frames[0][20:100, 30 * k : 30 * k + 80] for k in range(9)]))
    tracks = [one for one in data.tracklets("ava-val") if one.video == data.videos("ava-val")["video"][1]]
    video = RenderedFrames(data, "ava-val", 1)
    rows = len(looks_of(tracks, video, trunk).t)
    tasks: dict[str, tuple[float, Callable[[int], object]]] = {
        "a frame drawn, 216 x 384": (1, lambda k: renderer.frame(66 + k)),
        "its maps": (1, lambda k: trunk.maps(large[k])),
        "maps at 108 x 192": (1, lambda k: trunk.maps(small[k])),
        "a crop": (len(crops), lambda k: trunk.maps(crops, (8, 16, 32))),
        "a person's second, drawing and all": (rows, lambda k: looks_of(tracks, video, trunk)),
    }
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    with torch.inference_mode():
        for turn in range(options.repeats + 1):
            for name, (share, run) in tasks.items():
                began = time.process_time()
                run(turn)
                spent[name].append(1000 * (time.process_time() - began) / share)
    drawn = float(np.median(spent["a frame drawn, 216 x 384"][1:]))
    for name, times in spent.items():
        middle = float(np.median(times[1:]))  # the first turn warms up
        print(f"{name:36s} {middle:7.1f} ms, {middle / drawn:5.2f} of drawing a frame")


if __name__ == "__main__":
    main()
