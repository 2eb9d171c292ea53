"""What the Action Transformer costs: the frozen trunk, training, the Tx head by cells and boxes.

    python benchmarks/action_cost.py

Processor milliseconds of one thread, the least of several runs: trust the ratios.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from lart_mini.action_transformer import ActionTransformer, ClipBatch, loss, preset
from lart_mini.appearance import load_trunk, padded

REPEATS = 5


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trunk = load_trunk()
    for size in ((108, 192), (216, 384)):
        pictures = padded(torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8), 16)
        cost = least(lambda shown=pictures: trunk.maps(shown)) / 4
        print(f"frozen trunk, {size[0]} x {size[1]}: {cost:.1f} ms a frame")
    for head in ("Tx", "I3D", "Tx+I3D"):
        network = ActionTransformer(preset("mini", head=head)).train()
        batch = clips(8, 3)

        def step(network=network, batch=batch) -> None:
            loss(network(batch), batch).backward()

        cost = least(step) / 8
        print(
            f"training, {head:6} head: {cost:.1f} ms a clip (8 frames, 3 people), {1000 / cost:.0f} clips/s"
        )
    network = ActionTransformer(preset("mini")).eval()
    print("Tx head, forward, ms:    " + "".join(f"R = {count:<6}" for count in (1, 5, 20, 64, 300)))
    for frames in (2, 4, 8, 16):
        x = torch.randn(1, network.trunk.channels, frames, 14, 24)
        row = []
        for count in (1, 5, 20, 64, 300):
            boxes = clips(1, count).box
            with torch.no_grad():
                row.append(least(lambda x=x, boxes=boxes: network.read(x, boxes)))
        print(f"T' = {frames:2}, {frames * 14 * 24:5,} cells   " + "".join(f"{one:<10.1f}" for one in row))


def clips(count: int, people: int) -> ClipBatch:
    """Noise, with boxes."""
    corners = torch.rand(count, people, 2, 2)
    box = torch.cat([corners.amin(2) * 0.8, corners.amax(2) * 0.8 + 0.2], dim=-1)
    labels = (torch.rand(count, people, 60) > 0.97).float()
    there = torch.ones(count, people, dtype=torch.bool)
    return ClipBatch(torch.randn(count, 8, 152, 14, 24).half(), box, there, box, labels)


def least(work: Callable[[], object]) -> float:
    """Processor milliseconds."""
    found = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return 1000 * min(found)


if __name__ == "__main__":
    main()
