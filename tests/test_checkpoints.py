"""Checkpoints: what is saved comes back whole, and nothing else is taken for one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig
from lart_mini.lart.model import LART
from lart_mini.lart.tokens import Stats
from lart_mini.lart.weights import load_model, save_model

CONFIG = LARTConfig(people=2, frames=4, width=8, depth=1, heads=2, pose_width=6, classes=3)


def saved(tmp_path: Path) -> tuple[Path, LART, Stats]:
    torch.manual_seed(0)
    model = LART(CONFIG)
    rng = np.random.default_rng(0)
    stats = Stats(*rng.random((2, 229)).astype(np.float32))
    path = tmp_path / "lart.safetensors"
    save_model(path, model, stats, {"stage": "pre-train", "epochs": 3})
    return path, model, stats


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def test_round_trip(tmp_path: Path) -> None:
    path, model, stats = saved(tmp_path)
    loaded, loaded_stats, meta = load_model(path)
    assert loaded.config == CONFIG and meta == {"stage": "pre-train", "epochs": 3}
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    np.testing.assert_array_equal(loaded_stats.mean, stats.mean)
    np.testing.assert_array_equal(loaded_stats.std, stats.std)
    assert os.listdir(tmp_path) == [path.name]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    path, model, stats = saved(tmp_path)
    first = path.read_bytes()
    for _ in range(8):  # three notes have six orders
        save_model(path, model, stats, {"stage": "pre-train", "epochs": 3})
        assert path.read_bytes() == first
    save_model(path, model, stats, {"stage": 'vor-tränieren \u2028\x1f"', "epochs": 3})
    assert load_model(path)[2]["stage"] == 'vor-tränieren \u2028\x1f"'


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path, model, stats = saved(tmp_path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_model(path, model, stats, {"model": model})
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_foreign_and_truncated_files_are_refused(tmp_path: Path) -> None:
    path, _, _ = saved(tmp_path)
    whole = path.read_bytes()
    for data in (b"", b"no checkpoint at all", whole[:100], whole[:-1]):
        path.write_bytes(data)
        with pytest.raises(BadInput, match=f"{path}: file: expected a safetensors checkpoint"):
            load_model(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match=r"format: expected lart_mini\.checkpoint\.1, found None"):
        load_model(path)


def test_missing_extra_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    path, _, _ = saved(tmp_path)
    tensors, header = contents(path)
    missing = {name: value for name, value in tensors.items() if name != "model.mask_token"}
    cases = {
        r"model\.mask_token: .*found no such tensor": missing,
        r"model\.extra: .*has no place for": tensors | {"model.extra": torch.zeros(1)},
        r"model\.head\.bias: expected shape \(3,\), found shape \(80,\)": tensors
        | {"model.head.bias": torch.zeros(80)},
        r"stats\.mean: expected shape \(229,\)": tensors | {"stats.mean": torch.zeros(226)},
    }
    for message, changed in cases.items():
        save_file(changed, path, header)
        with pytest.raises(BadInput, match=message):
            load_model(path)


@pytest.mark.parametrize("config", ["{", '{"depht": 3}', '{"width": 7}', "[1]"])
def test_a_config_that_makes_no_model_is_refused(tmp_path: Path, config: str) -> None:
    path, _, _ = saved(tmp_path)
    tensors, header = contents(path)
    assert json.loads(header["config"])["width"] == 8
    save_file(tensors, path, header | {"config": config})
    with pytest.raises(BadInput, match="config: expected a LARTConfig"):
        load_model(path)


def test_a_config_of_another_version_is_refused_by_field(tmp_path: Path) -> None:
    path, _, _ = saved(tmp_path)
    tensors, header = contents(path)
    config = json.loads(header["config"])
    earlier = {name: value for name, value in config.items() if name != "undetected"}
    for changed, field in ((earlier, "without undetected"), (config | {"depht": 3}, "depht")):
        save_file(tensors, path, header | {"config": json.dumps(changed)})
        with pytest.raises(BadInput, match=f"config: expected a LARTConfig, found .*{field}"):
            load_model(path)


def test_a_trained_encoding_and_hidden_widths_come_back(tmp_path: Path) -> None:
    model = LART(replace(CONFIG, encoding_trained=True, pose_hidden=(5, 7), encoding_order="person first"))
    torch.nn.init.normal_(model.encoding)
    stats = Stats(*np.ones((2, 229), np.float32))
    save_model(tmp_path / "lart.safetensors", model, stats)
    loaded, _, _ = load_model(tmp_path / "lart.safetensors")
    assert loaded.config == model.config and torch.equal(loaded.encoding, model.encoding)


def test_the_history_of_a_long_training_is_read_again(tmp_path: Path) -> None:
    """Two values a step, of as many steps as the paper's pre-training and more."""
    path, model, stats = saved(tmp_path)
    steps = 703_125
    save_model(path, model, stats, {"history": {"loss": [0.01] * steps, "lr": [1e-3] * steps}})
    assert {len(values) for values in load_model(path)[2]["history"].values()} == {steps}


def test_a_config_of_names_alone_and_weights_of_eight_bits_are_refused(tmp_path: Path) -> None:
    path, _, _ = saved(tmp_path)
    tensors, header = contents(path)
    names = list(json.loads(header["config"]))
    for odd in (names, " ".join(names)):
        save_file(tensors, path, header | {"config": json.dumps(odd)})
        with pytest.raises(BadInput, match="config: expected a LARTConfig"):
            load_model(path)
    for dtype in (torch.float8_e4m3fn, torch.complex64, torch.int32):
        save_file({name: value.to(dtype) for name, value in tensors.items()}, path, header)
        with pytest.raises(BadInput, match=r"expected finite numbers, found torch\."):
            load_model(path)
    save_file({name: value.bfloat16() for name, value in tensors.items()}, path, header)
    assert load_model(path)[0].config == CONFIG
