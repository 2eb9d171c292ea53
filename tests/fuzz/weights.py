"""Weights: our checkpoints (safetensors), LART's published one and training states (torch's zip files)."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from factories import HEAD_WIDTH, HEADS, IDENTITY, make_weights
from mutation import ODD_NUMBERS, damaged, mutate, odd, plain_odd
from pickles import program
from runner import Case, Wrong

from lart_mini.lart.config import LARTConfig
from lart_mini.lart.model import LART
from lart_mini.lart.weights import load_model, load_released, save_model
from lart_mini.training.resume import FORMAT, TrainingState

SMALL = LARTConfig(people=2, frames=16, width=16, depth=1, heads=2, pose_width=8, pose_hidden=(8,))


def small_model(seed: int = 0) -> LART:
    torch.manual_seed(seed)
    return LART(SMALL).eval()


def same_weights(model: torch.nn.Module, wanted: dict[str, Any]) -> None:
    found = model.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def usable(model: LART) -> None:
    """A model that was read is one: its weights are numbers, its sizes those of its config."""
    assert all(value.isfinite().all() for value in model.state_dict().values()), "weights that are not finite"
    assert model.config.people >= 1 and model.config.frames >= 1 and model.config.heads >= 1
    assert not model.training


# ------------------------------------------------------------------------------------------- our checkpoints


def checkpoint(rng: random.Random, shelf: Path) -> Case:
    """A .safetensors file: header, config, shapes, types, numbers and bytes."""
    path, model = Path("model.safetensors"), small_model()
    save_model(path, model, IDENTITY, {"of": "the fuzz"})
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    wanted = dict(model.state_dict())
    if rng.random() < 0.2:
        header = dict(rng.sample(list(header.items()), len(header)))
        path.write_bytes(rebuilt(header, body, rng.choice((0, 8, 800))))
        return Case(lambda: load_model(path), "read", lambda found: same_weights(found[0], wanted))
    kind = rng.randrange(5)
    about = header["__metadata__"]
    if kind < 2:
        config = json.loads(about["config"])
        for _ in range(rng.choice((1, 1, 3))):
            config = mutate(config, rng, lambda rng: rng.choice((*ODD_NUMBERS, plain_odd(rng))))
        about["config"] = told(config)
    elif kind == 2:
        header = mutate(header, rng, plain_odd)
    elif kind == 3:
        body = numbers_changed(body, rng)
    data = rebuilt(header, body, 0)
    if kind == 4:
        data = rng.choice(
            (damaged(data, rng), damaged(data[: size + 8], rng) + body, struct.pack("<Q", 2**62) + data[8:])
        )
    path.write_bytes(data)
    return Case(lambda: load_model(path), sane=lambda found: usable(found[0]))


def rebuilt(header: Any, body: bytes, padding: int) -> bytes:
    """A safetensors file."""
    text = told(header).encode(errors="surrogatepass") + b" " * padding
    return struct.pack("<Q", len(text)) + text + body


def told(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def numbers_changed(body: bytes, rng: random.Random) -> bytes:
    """A number of the tensors that is none, or out of all measure."""
    at = 4 * rng.randrange(len(body) // 4)
    number = rng.choice((float("nan"), float("inf"), -float("inf"), 3e38))
    return body[:at] + struct.pack("<f", number) + body[at + 4 :]


# ----------------------------------------------------------------------------------------- torch's zip files


def saved(content: Any, old: bool = False) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def with_pickle(data: bytes, content: bytes) -> bytes:
    """A torch file with another pickle in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(stream, "w") as made:
        for name in source.namelist():
            made.writestr(name, content if name.endswith("data.pkl") else source.read(name))
    return stream.getvalue()


def its_pickle(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return source.read(next(name for name in source.namelist() if name.endswith("data.pkl")))


SHAPES = ((), (0,), (3,), (2, 16), (16, 2, 2))
TYPES = (torch.float16, torch.int64, torch.bool, torch.complex64, torch.bfloat16)


def odd_tensor(rng: random.Random) -> Any:
    """A tensor of an odd kind, or no tensor."""
    return rng.choice(
        (
            lambda: torch.zeros(rng.choice(SHAPES), dtype=rng.choice(TYPES)),
            lambda: torch.full((16,), rng.choice((float("nan"), float("inf")))),
            lambda: torch.zeros(1).expand(2**40),
            lambda: torch.zeros(1).expand(16, 16),
            lambda: torch.zeros(4, 4).to_sparse(),
            lambda: torch.nn.Parameter(torch.zeros(16)),
            lambda: torch.zeros(2, device="meta"),
            lambda: odd(rng),
            lambda: plain_odd(rng),
        )
    )()  # fmt: skip


def mutate_tensors(content: Any, rng: random.Random) -> Any:
    """The structure changed; a tensor in it becomes odd."""
    return mutate(content, rng, odd_tensor)


def torch_file(content: dict[str, Any], path: Path, rng: random.Random, key: str) -> None:
    """Write a torch file, damaged in its values, its pickle, its zip or its bytes."""
    kind = rng.randrange(6)
    if kind < 3:
        for _ in range(rng.choice((1, 1, 2))):
            content = mutate_tensors(content, rng)
        try:
            path.write_bytes(saved(content, old=rng.random() < 0.2))
        except Exception:  # torch cannot write everything
            path.write_bytes(saved({key: 1}))
        return
    data = saved(content)
    if kind == 3:
        data = with_pickle(data, program(rng, key))
    elif kind == 4:
        data = with_pickle(data, damaged(its_pickle(data), rng))
    else:
        data = rng.choice(
            (damaged(data, rng), damaged(saved(content, old=True), rng), pickle.dumps({key: 1}), b"")
        )
    path.write_bytes(data)


def published(rng: random.Random, shelf: Path) -> Case:
    """LART's published checkpoint, as PyTorch Lightning writes it."""
    path, weights = Path("lart.ckpt"), make_weights(seed=rng.randrange(99))
    content = {
        "state_dict": OrderedDict(weights),
        "epoch": 3,
        "hyper_parameters": {"lr": 1e-3, "names": ["a"]},
    }

    def run() -> LART:
        return load_released(path, heads=HEADS, dim_head=HEAD_WIDTH)

    if rng.random() < 0.15:
        if rng.random() < 0.3:
            content = dict(rng.sample(list(weights.items()), len(weights)))
        path.write_bytes(saved(content, old=rng.random() < 0.3))
        wanted = weights["encoder.transformer.layers.0.0.fn.to_qkv.weight"]
        return Case(
            run, "read", lambda found: equal(found.state_dict()["blocks.0.attention.qkv.weight"], wanted)
        )
    torch_file(content, path, rng, "state_dict")
    return Case(run, sane=usable)


def equal(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert torch.equal(found, wanted)


def state(rng: random.Random, shelf: Path) -> Case:
    """The state of a training that was stopped."""
    path, identity = Path("pretrain-0123abcd.state"), {"training.seed": "0", "weights": "abc"}
    content, model = trained(identity)
    going_on = new_state()
    before = {name: value.clone() for name, value in going_on.model.state_dict().items()}

    def run() -> TrainingState:
        try:
            going_on.load(path, identity)
        except ValueError:
            now = going_on.model.state_dict()
            if not all(torch.equal(now[name], before[name]) for name in now) or going_on.step:
                raise Wrong("refused, and half of it taken over") from None
            raise
        return going_on

    def sane(found: TrainingState) -> None:
        assert found.step == len(found.loss) == len(found.lr) and found.tokens >= 0 and found.seconds >= 0
        assert all(isinstance(one, float) for one in found.loss + found.lr)
        if valid:
            assert found.step == 2 and found.tokens == 30
            same_weights(found.model, model)
        goes_on(found)

    valid = rng.random() < 0.15
    if valid:
        path.write_bytes(saved(content))
        return Case(run, "read", sane)
    torch_file(content, path, rng, rng.choice(("model", "optimizer", "loss", "identity", "format")))
    return Case(run, sane=sane)


def goes_on(found: TrainingState) -> None:
    """One more step can be taken, and the weights stay numbers."""
    weights = list(found.model.parameters())
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    found.optimizer.step()
    assert all(weight.isfinite().all() for weight in weights), "weights that are not finite"


def new_state() -> TrainingState:
    model = torch.nn.Linear(4, 3)
    average = torch.nn.Linear(4, 3)
    return TrainingState(model, torch.optim.AdamW(model.parameters(), lr=1e-3), average)


def trained(identity: dict[str, str]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The content of a state's file after two steps, and its weights."""
    torch.manual_seed(0)
    went = new_state()
    for step in range(2):
        went.model(torch.ones(2, 4)).sum().backward()
        went.optimizer.step()
        went.record(1.0 / (step + 1), 1e-3, 15, float(step))
    file = Path("made.state")
    went.save(file, identity)
    content = torch.load(file, weights_only=True)
    file.unlink()
    assert content["format"] == FORMAT
    return content, dict(went.model.state_dict())


MAKERS = {"checkpoint": checkpoint, "published": published, "state": state}
