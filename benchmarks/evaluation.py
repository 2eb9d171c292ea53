"""How fast the evaluator is beside the literal one, at the size of AVA's validation set.

    python benchmarks/evaluation.py                        both, from CSV to mAP, each in a process of its own
    python benchmarks/evaluation.py --boxes 5000           smaller
    python benchmarks/evaluation.py --decimals 3           rounded scores: ties, so the heap is played
    python benchmarks/evaluation.py --policy slowfast      another policy

The rows are made up (seeded): labels by a long-tailed prior, scores that know a little of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from lart_mini import ava
from lart_mini.evaluation import ava_csv, frame_map

ROOT = Path(__file__).resolve().parent.parent
VIDEOS = 64


def generate(boxes: int, folder: Path, decimals: int | None, seed: int = 0) -> None:
    """Write groundtruth.csv and detections.csv: `boxes` boxes in 64 videos, 60 rows a box."""
    random = np.random.default_rng(seed)
    seconds = ava.LAST_SECOND - ava.FIRST_SECOND + 1
    frame = np.sort(random.integers(0, VIDEOS * seconds, boxes))
    low = random.uniform(0, 0.6, (boxes, 2))
    corners = np.concatenate((low, low + random.uniform(0.1, 0.4, (boxes, 2))), axis=1)  # x1, y1, x2, y2
    prior = np.minimum(0.9, 0.55 / np.arange(1, 61))[random.permutation(60)]
    labels = random.random((boxes, 60)) < prior
    scores = 1 / (1 + np.exp(-(np.log(prior) + 1.5 * labels + random.normal(0, 1, (boxes, 60)))))
    jittered = np.clip(corners + random.normal(0, 0.02, corners.shape), 0, 1)
    jittered = np.concatenate((jittered[:, :2], np.maximum(jittered[:, 2:], jittered[:, :2] + 0.001)), axis=1)

    person, column = np.nonzero(labels)
    truth = _table(frame[person], corners[person], column).with_columns(person=pl.Series(person % 10))
    ava_csv.write_groundtruth(truth, folder / "groundtruth.csv")
    written = scores.astype(np.float32) if decimals is None else scores.round(decimals)
    found = _table(
        np.repeat(frame, 60), np.repeat(jittered.clip(0, 1), 60, axis=0), np.tile(range(60), boxes)
    )
    ava_csv.write_detections(found.with_columns(score=pl.Series(written.ravel())), folder / "detections.csv")


def _table(frame: np.ndarray, corners: np.ndarray, column: np.ndarray) -> pl.DataFrame:
    seconds = ava.LAST_SECOND - ava.FIRST_SECOND + 1
    names = pl.Series([f"video_{number:05d}" for number in range(VIDEOS)])
    return pl.DataFrame(
        {
            "video": names.gather(frame // seconds),
            "second": ava.FIRST_SECOND + frame % seconds,
            **{name: corners[:, i].round(3) for i, name in enumerate(ava_csv.CORNERS)},
            "action": np.array(ava.EVALUATED)[column],
        }
    )


def run_fast(folder: Path, policy: str) -> dict[str, float]:
    """Seconds from CSV to mAP, then once more from the tables in memory."""
    start = time.perf_counter()
    result = frame_map.evaluate_files(folder / "groundtruth.csv", folder / "detections.csv", policy)
    seconds = time.perf_counter() - start
    groundtruth, detections = result.groundtruth, result.detections
    start = time.perf_counter()
    frame_map.evaluate(groundtruth, detections, policy)
    return {"mAP": result.mean_ap, "seconds": seconds, "in_memory": time.perf_counter() - start}


def run_reference(folder: Path, policy: str) -> dict[str, float]:
    """Seconds from CSV to mAP of tests/reference/evaluation.py."""
    path = ROOT / "tests" / "reference" / "evaluation.py"
    spec = importlib.util.spec_from_file_location("reference_evaluation", path)
    assert spec and spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    start = time.perf_counter()
    rows = (reference.read_csv(folder / name) for name in ("groundtruth.csv", "detections.csv"))
    per_class = reference.per_class_ap(*rows, policy)
    return {"mAP": reference.mean_ap(per_class), "seconds": time.perf_counter() - start}


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--boxes", type=int, default=99_000)
    parser.add_argument("--decimals", type=int)
    parser.add_argument("--policy", choices=list(frame_map.POLICIES), default="activitynet")
    parser.add_argument("--only", choices=["fast", "reference"], help="leave the other out")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    runs = {"fast": run_fast, "reference": run_reference}
    if options.child:
        figures = runs[options.only](Path(options.child), options.policy)
        figures["processor_seconds"] = (
            time.process_time()
        )  # of the whole process, start and second run included
        figures["gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as name:
        generate(options.boxes, Path(name), options.decimals)
        size = (Path(name) / "detections.csv").stat().st_size / 2**20
        rows = 60 * options.boxes
        print(f"policy {options.policy}, {options.boxes:,} boxes, {rows:,} rows, {size:.0f} MiB of CSV")
        results = {}
        for only in [options.only] if options.only else runs:
            command = [sys.executable, __file__, "--policy", options.policy, "--only", only, "--child", name]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[only] = figures = json.loads(output)
            print(f"{only:<10}", *(f"  {key} {value:.9g}" for key, value in figures.items()), flush=True)
    if len(results) == 2:
        slow, fast = results["reference"], results["fast"]
        print(f"ratio       {slow['seconds'] / fast['seconds']:.1f}")
        print(f"difference  {abs(slow['mAP'] - fast['mAP']):.1e}")


if __name__ == "__main__":
    main()
