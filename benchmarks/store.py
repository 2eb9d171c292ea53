"""How fast batches come out of a store, beside loading the pickles of every sample as the original does.

    python benchmarks/store.py                      generate, convert, then samples/s of both, in one run
    python benchmarks/store.py --tracklets 200      smaller
    python benchmarks/store.py --jobs 1             convert on one core

Random access at T 125, P 5, appearance 2048, released profile; each side in a process of its own, on one
thread. The literal side loads ego and four others with joblib.load, which is faster than our safe reader, and
builds the sample in numpy, with an appearance vector in each frame. The store hands each vector over once,
and says which frames have it, as the kit's models read it; "dense" writes it into each frame, so that both
sides give the same. The tracklets are made up (seeded): random walks of pose and place, five people a scene,
an appearance vector and a pseudo label for each 30 frames.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

from lart_mini import ava
from lart_mini.lart import Stats, StoreDataset, TokenBatch
from lart_mini.tracklets import GROUND_TRUTH, PSEUDO_LABEL, Store, Tracklet, convert, write_released

FRAMES, PEOPLE, BATCH, LENGTH, APPEARANCE = 125, 5, 16, 128, 2048
STATS = Stats(np.linspace(-0.5, 0.5, 229, dtype=np.float32), np.linspace(0.5, 2, 229, dtype=np.float32))


def made_up(scene: int, track: int) -> Tracklet:
    """A random walk of LENGTH frames around its scene's key frame."""
    random = np.random.default_rng((scene, track))
    keyframe, video = 30 * (2 + scene % 897), f"video{scene // 897:06d}"
    blocks = np.arange(LENGTH) // 30
    pseudo = random.random((blocks[-1] + 1, ava.CLASS_COUNT)).astype(np.float32)
    vectors = random.standard_normal((blocks[-1] + 1, APPEARANCE)).astype(np.float32)

    def walk(*shape: int) -> np.ndarray:
        return np.cumsum(random.normal(0, 0.01, (LENGTH, *shape)), axis=0).clip(-1, 1).astype(np.float32)

    return Tracklet(
        name=f"ava-train_{video}_{keyframe:06d}_{track}_{LENGTH}",
        video=video,
        track=track,
        keyframe=keyframe,
        frame=np.arange(LENGTH) + keyframe - LENGTH // 2 + track,
        pose=walk(24, 3, 3),
        betas=walk(10),
        translation=walk(3) + np.array([0, 1, 8], np.float32),
        joints=walk(45, 3),
        detected=random.random(LENGTH) > 0.1,
        box=np.tile(np.array([100, 100, 200, 400], np.float32), (LENGTH, 1)),
        frame_size=np.array([720, 1280]),
        confidence=np.full(LENGTH, 0.9, np.float32),
        labels=np.where(blocks[:, None] == 2, (pseudo > 0.9)[blocks], pseudo[blocks]).astype(np.float32),
        label_source=np.where(blocks == 2, GROUND_TRUTH, PSEUDO_LABEL).astype(np.int8),
        appearance=vectors[blocks],
    )


def write_scene(scene: int, folder: Path) -> None:
    """Write the pickles of a scene's people."""
    for track in range(PEOPLE):
        tracklet = made_up(scene, track)
        write_released(tracklet, folder / f"{tracklet.name}.pkl")


def literal_person(content: dict[str, Any]) -> dict[str, np.ndarray]:
    """All frames of one pickle as the released data set has them."""
    index = content["apperance_index"][:, 0, 0].astype(int)
    has_gt = content["has_gt"][:, 0, 0]
    labels = np.zeros((len(index), ava.CLASS_COUNT))
    appearance = np.zeros((len(index), APPEARANCE), np.float32)
    for t, entry in enumerate(index.tolist()):
        if has_gt[t] == GROUND_TRUTH:
            labels[t] = content["action_label_gt"][t, 0]
        elif entry in content["action_label_psudo"]:
            labels[t] = content["action_label_psudo"][entry][0]
        if entry in content["apperance_dict"]:
            appearance[t] = content["apperance_dict"][entry][0]
    detected = content["has_detection"][:, 0, 0]
    return {
        "frame": content["fid"][:, 0, 0].astype(int),
        "pose": (content["pose_shape"][:, 0] - STATS.mean) / (STATS.std + 1e-10),
        "joints": (content["3d_joints"][:, 0] + content["camera"]).reshape(-1, 135),
        "appearance": appearance,
        "detected": detected,
        "labels": labels[:, np.array(ava.EVALUATED) - 1],
        "label_weight": detected * (has_gt >= 1),
    }


def literal_sample(files: list[Path]) -> dict[str, np.ndarray]:
    """Ego and others (P, T, …), aligned by frame number, from their pickles."""
    people = [literal_person(joblib.load(file)) for file in files]
    window = people[0]["frame"][:FRAMES]
    sample = {key: np.zeros((PEOPLE, FRAMES, *rows.shape[1:]), np.float32) for key, rows in people[0].items()}
    for slot, person in enumerate(people):
        frame = person["frame"]
        if slot and frame[0] < window[0] and frame[-1] > window[-1]:
            continue
        _, to, of = np.intersect1d(window, frame, return_indices=True)
        for key, rows in person.items():
            sample[key][slot, to] = rows[of]
    return sample


def scene_files(folder: Path, ego: Path) -> list[Path]:
    """The ego's pickle, then the others' of its scene."""
    scene, track = ego.name.rsplit("_", 2)[0], ego.name.rsplit("_", 2)[1]
    others = [str(number) for number in range(PEOPLE) if str(number) != track]
    return [ego, *(folder / f"{scene}_{number}_{LENGTH}.pkl" for number in others)]


def run_pickles(folder: Path, seconds: float) -> dict[str, float]:
    """Samples/s of batches assembled from the pickles."""
    files = sorted((folder / "pickles").iterdir())
    random, count, start = np.random.default_rng(0), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        chosen = [files[i] for i in random.integers(len(files), size=BATCH)]
        samples = [literal_sample(scene_files(folder / "pickles", ego)) for ego in chosen]
        _ = {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}
        count += BATCH
    return {"samples_per_second": count / (time.perf_counter() - start)}


def run_store(folder: Path, seconds: float) -> dict[str, float]:
    """Samples/s of batches from the store, also with appearance in each frame, and by how much its pose
    differs from the pickles' (float16)."""
    dataset, random = _dataset(folder), np.random.default_rng(0)

    def rate(finish: Callable[[TokenBatch], object]) -> float:
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            finish(dataset.__getitems__(random.integers(len(dataset), size=BATCH).tolist()))
            count += BATCH
        return count / (time.perf_counter() - start)

    return {
        "samples_per_second": rate(lambda batch: batch),
        "dense_per_second": rate(TokenBatch.dense),
        "difference": max(
            _difference(folder, dataset, int(i)) for i in random.integers(len(dataset), size=8)
        ),
    }


def _dataset(folder: Path) -> StoreDataset:
    store = Store(folder / "store")
    return StoreDataset(store, frames=FRAMES, people=PEOPLE, stats=STATS, train=False, profile="released")


def _difference(folder: Path, dataset: StoreDataset, index: int) -> float:
    name = dataset.store.index["name"][index]
    literal = literal_sample(scene_files(folder / "pickles", folder / "pickles" / f"{name}.pkl"))
    batch = dataset[index].dense().tensors()
    return max(
        float(np.abs(batch[key][0].float().numpy() - literal[key]).max())
        for key in batch.keys() & literal.keys()
    )


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--tracklets", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8, help="for which each side is measured")
    parser.add_argument("--jobs", type=int, default=-1, help="processes that convert")
    parser.add_argument("--only", choices=["pickles", "store"], help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    runs = {"pickles": run_pickles, "store": run_store}
    if options.child:
        torch.set_num_threads(1)
        figures = runs[options.only](Path(options.child), options.seconds)
        figures["gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pickles").mkdir()
        scenes = range(-(-options.tracklets // PEOPLE))
        joblib.Parallel(n_jobs=-1)(joblib.delayed(write_scene)(n, folder / "pickles") for n in scenes)
        start = time.perf_counter()
        converted = convert(folder / "pickles", folder / "store", jobs=options.jobs)
        rate = converted.tracklets / (time.perf_counter() - start)
        sizes = [folder_size(folder / part) / 2**20 for part in ("pickles", "store")]
        print(
            f"{converted.tracklets:,} tracklets: {sizes[0]:.0f} MiB of pickles, {sizes[1]:.0f} MiB of store"
        )
        print(f"converted at {rate:.1f} files/s (jobs {options.jobs}, start of the workers included)")
        results = {}
        for only in runs:
            command = [sys.executable, __file__, "--seconds", str(options.seconds), "--only", only]
            output = subprocess.run(
                [*command, "--child", name], check=True, stdout=subprocess.PIPE, text=True
            )
            results[only] = figures = json.loads(output.stdout)
            print(f"{only:<10}", *(f"  {key} {value:.4g}" for key, value in figures.items()), flush=True)
    for name in ("samples_per_second", "dense_per_second"):
        ratio = results["store"][name] / results["pickles"]["samples_per_second"]
        print(f"ratio, {name.split('_')[0]:<8}{ratio:.1f}")


if __name__ == "__main__":
    main()
