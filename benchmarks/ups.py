"""UPS's decoding: words a second with keys and values kept and without; lifting against playing time.

`python benchmarks/ups.py --repeats 5`: both ways on the same weights and inputs in one run, in turns.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from lart_mini.ups import (
    CLASSES,
    TASKS,
    UPS,
    PoseBatch,
    UPSConfig,
    action_names,
    answers,
    load_vocabulary,
    load_windows,
    new_model,
    scored_views,
)

WORDS = 52


@torch.no_grad()
def uncached(model: UPS, pose: torch.Tensor, seen: torch.Tensor, words: int) -> torch.Tensor:
    """Greedy answers (B, K) with everything computed anew at each word, the encoder too."""
    task = torch.full((len(pose),), TASKS.index("lifting"))
    said = torch.zeros(len(pose), 0, dtype=torch.long)
    for _ in range(words):
        target = torch.cat([said, torch.zeros(len(pose), 1, dtype=torch.long)], dim=1)
        logits = model(PoseBatch(pose, seen, task, target))
        said = torch.cat([said, logits[:, -1:].argmax(-1)], dim=1)
    return said


@torch.no_grad()
def encoded_once(model: UPS, pose: torch.Tensor, seen: torch.Tensor, words: int) -> torch.Tensor:
    """The same with the encoder run once: what the cache alone is worth."""
    task = TASKS.index("lifting")
    memory, mask = model.memory(pose, seen, task)
    said = torch.zeros(len(pose), 0, dtype=torch.long)
    first = model.start[task].expand(len(pose), 1, -1)
    for k in range(words):
        x = torch.cat([first, model.read(model.table[said])], dim=1) + model.position[: k + 1]
        for layer in model.layers:
            x = layer(x, layer.cross.keys(memory), mask, None)
        said = torch.cat([said, model.logits(x[:, -1:]).argmax(-1)], dim=1)
    return said


def seconds(work, *arguments) -> tuple[float, object]:
    """Processor seconds that a call takes, and what it gives."""
    start = time.process_time()
    found = work(*arguments)
    return time.process_time() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    vocabulary = load_vocabulary(action_names(CLASSES))
    model = new_model(UPSConfig.mini(vocabulary), vocabulary).eval()
    views = scored_views("lifting", load_windows()["val"])
    pose, seen = (torch.from_numpy(x[: options.batch]) for x in (views.pose, views.seen))
    ways = {"kept": lambda: model.decode(pose, seen, "lifting", WORDS)[0]}
    ways |= {"encoder once": lambda: encoded_once(model, pose, seen, WORDS)}
    ways |= {"all anew": lambda: uncached(model, pose, seen, WORDS)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        said = []
        for name, work in ways.items():
            spent, found = seconds(work)
            taken[name].append(spent)
            said.append(found)
        assert all(torch.equal(said[0], other) for other in said[1:])
    for name, spent in taken.items():
        rate = options.batch * WORDS / np.median(spent)
        ratio = np.median(np.divide(spent, taken["kept"]))
        print(f"{name:13s} {rate:9.0f} words a second   {ratio:5.2f} × the time of kept")
    spent, _ = seconds(answers, model, vocabulary, views)
    print(f"lifting {len(views.pose)} windows: {spent:.2f} s, {len(views.pose) / spent:.0f} poses a second")
    print(f"every frame of a clip at 30 a second: {len(views.pose) / spent / 30:.1f} × as fast as it plays")


if __name__ == "__main__":
    main()
