"""A small training that tests run in processes of their own: `python training_job.py <what> <folder> …`."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lart_mini.lart.config import LARTConfig, StageConfig
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.model import LART
from lart_mini.lart.recipe import train
from lart_mini.lart.tokens import Stats
from lart_mini.tracklets.tracklet import Tracklet
from lart_mini.training import loop
from lart_mini.training.devices import choose_fabric
from lart_mini.training.loop import History

FRAMES = 12


def tracklet(scene: int, track: int, length: int) -> Tracklet:
    """Random numbers in the shape of a tracklet, with gaps, and labels in some of the frames."""
    rng = np.random.default_rng((scene, track))

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=(length, *shape)).astype(np.float32)

    video = f"video{scene:06d}"
    return Tracklet(
        name=f"ava-train_{video}_000000_{track}_{length}",
        video=video,
        track=track,
        keyframe=0,
        frame=np.arange(length) + track,
        pose=draw(24, 3, 3),
        betas=draw(10),
        translation=draw(3),
        joints=draw(45, 3),
        detected=rng.random(length) < 0.8,
        box=np.abs(draw(4)),
        frame_size=np.array([100, 100]),
        confidence=np.abs(draw()),
        labels=(rng.random((length, 80)) < 0.1).astype(np.float32),
        label_source=np.where(rng.random(length) < 0.7, 2, 0).astype(np.int8),
    )


def tracklets(scenes: int = 7) -> list[Tracklet]:
    """Scenes of one, two or three people; seven scenes have 13 tracklets, with unequal numbers of tokens."""
    people = [(scene, track) for scene in range(scenes) for track in range(1 + scene % 3)]
    return [tracklet(scene, track, length=5 + 2 * scene) for scene, track in people]


def dataset(scenes: int = 7) -> TrackletDataset:
    """They as egos of a training."""
    stats = Stats(np.zeros(229, np.float32), np.ones(229, np.float32))
    return TrackletDataset(tracklets(scenes), frames=FRAMES, people=3, stats=stats, train=True)


def fit(
    model: LART, data: TrackletDataset, config: StageConfig, progress: bool = False, **options: Any
) -> History:
    """`train` on a data set that masks as the settings say."""
    data.mask_ratio = config.mask_ratio
    return train(model, data, config, progress, **options)


class Stopped(Exception):
    pass


def stop_at(monkeypatch: pytest.MonkeyPatch, wanted: int) -> None:
    """Let the training fail in its step number `wanted`, from 0."""
    step, count = loop._step, iter(range(1000))

    def counted(*arguments: object) -> object:
        if next(count) == wanted:
            raise Stopped
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_step", counted)


def model(**changes: object) -> LART:
    torch.manual_seed(0)
    small = {"people": 3, "frames": FRAMES, "width": 16, "depth": 2, "heads": 2, "pose_width": 16}
    return LART(LARTConfig(**small | changes))  # type: ignore[arg-type]


# A short last batch of one, unequal shares, micro-batches, a clipped gradient and the released settings.
DIVIDED = {
    "even": StageConfig(epochs=1, batch_size=4, warmup_epochs=0),
    "uneven": StageConfig(epochs=1, batch_size=5, warmup_epochs=0, accumulate=2, clip=0.1),
    "released": StageConfig.released("pretrain", epochs=1, batch_size=6, lr=1e-3, drop_path=0.0),
}


def divided(name: str, fabric: Fabric | None = None) -> tuple[History, list[torch.Tensor], torch.Tensor]:
    """One epoch without dropout: how it went, each step's gradient, the final weights."""
    trained = model(dropout=0.0)
    gradients: list[torch.Tensor] = []

    def keep(*_: object) -> None:
        gradients.append(torch.cat([p.grad.flatten() for p in trained.parameters() if p.grad is not None]))

    hook = register_optimizer_step_pre_hook(keep)
    history = fit(trained, dataset(), DIVIDED[name], progress=False, fabric=fabric)
    hook.remove()
    return history, gradients, torch.cat([p.detach().flatten() for p in trained.parameters()])


def processes(folder: Path, count: int) -> None:
    """Run every configuration on `count` devices; process 0 writes what came out, each its steps' seeds."""
    fabric, seeds, seed = choose_fabric("cpu", devices=count), [], torch.manual_seed
    torch.manual_seed = lambda number: (seeds.append(number), seed(number))[1]
    for name in DIVIDED:
        history, gradients, weights = divided(name, fabric)
        if fabric.is_global_zero:
            torch.save({"loss": history.loss, "gradients": gradients, "weights": weights}, folder / name)
    # Of the last configuration: one seed makes the model, one a step.
    torch.save(seeds[-len(history.loss) :], folder / f"seeds{fabric.global_rank}")


STOPPED = StageConfig(epochs=2, batch_size=5, warmup_epochs=0)
STOP_AT = 4  # steps


def stopped(folder: Path, count: int) -> None:
    """A training of `count` processes that ends all of a sudden, its state kept after each step."""
    fabric, step, done = choose_fabric("cpu", devices=count), loop._step, iter(range(100))

    def until(*given: Any) -> Any:
        if next(done) == STOP_AT:
            fabric.barrier()
            os._exit(0)
        return step(*given)

    loop._step = until
    fit(model(dropout=0.0), dataset(), STOPPED, fabric=fabric, state=folder / "run.state", save_every=0)


LONG = StageConfig(epochs=4, batch_size=4, accumulate=2, ema=0.9, drop_path=0.2, warmup_epochs=1)


def long_run(checkpoint: Path | None, out: Path) -> None:
    """A training with everything that draws or averages, its state kept after each step."""
    trained = model(dropout=0.2)
    history = fit(trained, dataset(20), LONG, state=checkpoint, save_every=0)
    torch.save({"loss": history.loss, "lr": history.lr, "weights": trained.state_dict()}, out)


def killed(folder: Path) -> None:
    """Run it through, then again in processes of which six are killed at random moments."""
    fork = multiprocessing.get_context("fork")
    state, chance, kills = folder / "run.state", random.Random(0), 0
    whole = fork.Process(target=long_run, args=(None, folder / "whole"))
    whole.start()
    whole.join()
    while not (folder / "resumed").exists():
        before = _written(state)
        process = fork.Process(target=long_run, args=(state, folder / "resumed"))
        process.start()
        if kills < 6:
            # Rounds have to get on by a step; then any moment of the next few will do.
            while process.is_alive() and _written(state) == before:
                time.sleep(0.001)
            time.sleep(chance.random() * 0.05)
            process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        assert process.exitcode in (0, -signal.SIGKILL)
    (folder / "kills").write_text(str(kills))


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = {"processes": processes, "stopped": stopped, "killed": killed}
    jobs[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:]))
