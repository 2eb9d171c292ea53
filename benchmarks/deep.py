"""Do sixteen layers begin to learn? From PyTorch's start, from DEEP_STARTS, and with the norm before.

    python benchmarks/deep.py --json benchmarks/deep.json        width 64, laptop size, CPU
    python benchmarks/deep.py --steps 40 --size smoke            a look
    python benchmarks/deep.py --width 512 --heads 16 --steps 60  the paper's width
    python benchmarks/deep.py --stages --map                     pre-trained, then fine-tuned

Ground truth, Table 7's column Kinetics-400 but nothing masked: layer decay 1, drop path 0, dropout 0.1.
With `--stages` from DEEP_STARTS alone: pre-trained on pseudo labels with 40 % masked, then fine-tuned by
column AVA, with layer decay 0.9 and drop path 0.1; and by that column from scratch.
Prints and stores the loss of each step; the likeness of tokens by layer (`lart.token_likeness`) and the share
that the pose has in what arrives there, at some steps; and the validation mAP with `--map`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lart_mini import evaluation, lart
from lart_mini.lart import LART, LARTConfig, StageConfig, TokenBatch
from lart_mini.training import Batches, fit

STARTS: dict[str, dict[str, Any]] = {
    "PyTorch's start": {},
    "DEEP_STARTS": lart.DEEP_STARTS,
    "PyTorch's start, norm before": {"norm": "pre"},
}
WATCHED = (0, 5, 10, 20, 50, 100)  # steps before which the layers are looked at


def look(model: LART, batch: TokenBatch) -> dict[str, list[float]]:
    """Of each layer's input and the last one's output (depth + 1): likeness, and the share of the pose."""
    was, _ = model.training, model.eval()
    real = batch.detected.flatten(1)
    states, others = model.states(batch), model.states(replace(batch, pose=batch.pose.roll(1, 0)))
    keep = real[..., None]
    moved = ((states - others).square() * keep).sum(dim=(1, 2, 3))
    size = ((states.square() + others.square()) * keep).sum(dim=(1, 2, 3))
    model.train(was)
    found = {"likeness": lart.token_likeness(states, real), "pose": (moved / size).sqrt()}
    return {name: [round(v, 4) for v in values.tolist()] for name, values in found.items()}


def trained(
    start: str, options: argparse.Namespace, stage: str = "", model: LART | None = None
) -> tuple[LART, dict[str, Any]]:
    """Train from `start`, or from `model`, and say what was seen on the way.

    `stage`: pretrain or finetune as in Table 7, else ground truth in the first one's column, nothing masked.
    """
    data, tracklets, stats = lart.labelled(options.size, 0)
    if stage == "pretrain":
        tracklets = lart.taught(options.size, 0)[1]
    sizes = {name: getattr(options, name) for name in ("depth", "width", "heads", "frames")}
    config = LARTConfig(people=3, pose_width=min(options.width, 256), **sizes, **STARTS[start])
    column = {} if stage else {"mask_ratio": 0.0}
    common = {"batch_size": options.batch, "lr": options.lr, "seed": options.seed}
    settings = StageConfig.of(stage or "pretrain", **common, **column)
    dataset = lart.training_set(tracklets, stats, config, stage or "finetune", settings)
    if model is None:
        torch.manual_seed(options.seed)
        model = LART(config)
        lart.start_head(model, dataset)
    model.set_drop_path(settings.drop_path)
    batches = Batches(dataset, settings.batch_size, seed=options.seed)
    epochs = -(-options.steps // len(batches))
    settings = replace(settings, epochs=epochs, warmup_epochs=epochs / 6)
    probe = dataset.batch([dataset.draw(i) for i in range(0, len(dataset), len(dataset) // options.batch)])
    looks, losses = {}, []

    def watched(logits: torch.Tensor, batch: TokenBatch, weight: torch.Tensor) -> torch.Tensor:
        if len(losses) in WATCHED:
            looks[len(losses)] = look(model, probe)
        loss = lart.masked_bce(logits, batch, weight)
        losses.append(round(float(loss.detach()), 5))
        return loss

    began = time.perf_counter()
    fit(model, batches, watched, lart.parameter_groups(model, settings), settings)
    looks[len(losses)] = look(model, probe)
    found = {"loss": losses, "looks": looks, "last": float(np.mean(losses[-20:]))}
    if options.map:
        members = data.tracklets("ava-val")
        boxes = evaluation.key_boxes(members)
        scores = lart.box_scores(model, lart.samples_of(members, config, stats, "paper"), boxes)
        truth = evaluation.read_groundtruth(data.groundtruth("ava-val"))
        found["mAP"] = evaluation.evaluate(truth, evaluation.ava_rows(boxes, scores)).mean_ap
    heads = {step: one["likeness"][-1] for step, one in looks.items()}
    seconds = time.perf_counter() - began
    print(f"{start} {stage}: mean loss of the last 20 of {len(losses)} steps {found['last']:.4f}")
    print(f"  mAP {found.get('mAP', np.nan):.1%}, {seconds:.0f} s; likeness at the head {heads}", flush=True)
    return model, found


def stages(options: argparse.Namespace) -> dict[str, Any]:
    """Both stages, and the second one's column from scratch."""
    before, pretrained = trained("DEEP_STARTS", options, "pretrain")
    after = trained("DEEP_STARTS", options, "finetune", before)[1]
    scratch = trained("DEEP_STARTS", options, "finetune")[1]
    return {"pre-trained": pretrained, "then fine-tuned": after, "fine-tuned from scratch": scratch}


def main() -> None:
    """Train from each start with the same seed and batches."""
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    numbers = {"depth": 16, "width": 64, "heads": 4, "frames": 32, "steps": 250, "batch": 16, "seed": 0}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--size", default="laptop", help="of mini_ava")
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=list(STARTS))
    parser.add_argument("--stages", action="store_true", help="pre-train, then fine-tune")
    parser.add_argument("--map", action="store_true", help="validation mAP at the end")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    each = {start: trained(start, options)[1] for start in options.starts} if not options.stages else None
    found = each or stages(options)
    if options.json:
        kept = {key: value for key, value in vars(options).items() if key != "json"}
        options.json.write_text(json.dumps({"settings": kept, "starts": found}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
