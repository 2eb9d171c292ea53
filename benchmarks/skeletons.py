"""Skeletons: converting pyskl's annotations once, and batches to learn from, beside pyskl's own way.

    python benchmarks/skeletons.py                      10,000 annotations of NTU's size, in 2D and in 3D
    python benchmarks/skeletons.py --count 1000         smaller
    python benchmarks/skeletons.py --stream bone
    python benchmarks/skeletons.py --part backbone      sequences a second of the graph network

Their way: unpickle all, then sample by sample, as tests/reference/pyskl_input.py, which takes as long as
pyskl and gives the same; it is measured on `--literal` annotations. Ours: open the store, then batches of 64
in random order. The file is one that pickle itself wrote in protocol 2, as mmcv does. Seconds are those of
the processor, on one thread, everything in one run.

The graph network reads all people of a batch at once; beside it stands tests/reference/skeletr.py, which sums
person by person, branch by branch and joint by joint.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from reference import pyskl_input, skeletr  # noqa: E402
from skeleton_files import annotations, dump  # noqa: E402

from lart_mini.skeletr import (  # noqa: E402
    LAYOUTS,
    PRESETS,
    STGCNPP,
    STREAMS,
    SkeletonStore,
    convert_annotations,
    training_input,
)

BATCH = 64
LAYOUT = {"2d": LAYOUTS["coco"], "3d": LAYOUTS["nturgb+d"]}


@contextmanager
def timed(found: dict[str, float], name: str) -> Iterator[None]:
    """Processor seconds of what stands inside."""
    start = time.process_time()
    yield
    found[name] = time.process_time() - start


def measure(kind: str, count: int, literal: int, stream: str, folder: Path) -> None:
    """Print the seconds of both ways, and their ratio an epoch."""
    path = dump(annotations(kind, count), folder / f"{kind}.pkl")
    seconds: dict[str, float] = {}
    with timed(seconds, "convert"):
        convert_annotations(path, folder / kind, progress=False)
    with timed(seconds, "open"):
        store = SkeletonStore(folder / kind)
    rng = np.random.default_rng(0)
    order = rng.permutation(count)
    with timed(seconds, "batches"):
        for start in range(0, count, BATCH):
            training_input(store, order[start : start + BATCH], LAYOUT[kind], rng, stream)
    with timed(seconds, "unpickle"), path.open("rb") as file:
        listed = pickle.load(file)["annotations"]
    with timed(seconds, "samples"):
        for number in order[:literal]:
            torch.from_numpy(pyskl_input.sample(listed[number], stream))
    theirs = seconds["unpickle"] + seconds["samples"] * count / min(count, literal)
    ours = seconds["open"] + seconds["batches"]
    stored = sum(file.stat().st_size for file in (folder / kind).iterdir())
    a_second, with_convert = count / seconds["convert"], theirs / (ours + seconds["convert"])
    sizes = f"{path.stat().st_size >> 20} MiB of pickle, {stored >> 20} MiB of store"
    print(f"{kind} {stream}: {count:,} annotations, {sizes}")
    print(f"convert      seconds {seconds['convert']:.2f}   annotations_per_second {a_second:.0f}")
    print(f"pyskl's way  seconds {theirs:.2f}   of which unpickling {seconds['unpickle']:.2f}")
    print(f"store        seconds {ours:.3f}   of which opening {seconds['open']:.3f}")
    print(f"ratio        {theirs / ours:.1f}   with converting in its only epoch {with_convert:.1f}")


def measure_backbone(name: str, sequences: int, frames: int, literal: int) -> None:
    """Print sequences a second of a preset's graph network: tested, trained, and written out."""
    torch.manual_seed(0)
    config, seconds = PRESETS[name].backbone(), dict[str, float]()
    model = STGCNPP(config).eval()
    x = torch.randn(1, sequences, frames, 17, 3)
    weights = {key: value.double().numpy() for key, value in model.state_dict().items()}
    with timed(seconds, "written out"):
        expected = skeletr.stgcnpp(x[:, :literal].double().numpy(), weights, config.strides)
    with torch.no_grad():
        found = model(x)[:, :literal].numpy()  # a first time, not timed
        with timed(seconds, "tested"):
            model(x)
    assert np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max())
    model.train()(x).square().mean().backward()
    with timed(seconds, "trained"):
        model(x).square().mean().backward()
    tested, trained = (sequences / seconds[way] for way in ("tested", "trained"))
    slow = literal / seconds["written out"]
    told = f"tested {tested:.0f}   trained {trained:.0f}   written out {slow:.1f}   ratio {tested / slow:.0f}"
    print(f"{name:5} {frames} frames   {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Converting skeletons, and batches of them.")
    parser.add_argument("--count", type=int, default=10_000, help="annotations")
    parser.add_argument("--literal", type=int, default=1_000, help="annotations that pyskl's way is timed on")
    parser.add_argument("--stream", choices=STREAMS, default="joint")
    parser.add_argument("--part", choices=("convert", "backbone"), default="convert")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "backbone":
        print("sequences a second")
        for name, sequences in (("mini", 240), ("S", 120), ("L", 30)):
            measure_backbone(name, sequences, frames=10, literal=2)
        return
    with tempfile.TemporaryDirectory() as folder:
        for kind in LAYOUT:
            measure(kind, options.count, options.literal, options.stream, Path(folder))


if __name__ == "__main__":
    main()
