"""The published checkpoint: read safely, and its model equal to a literal version of the original."""

from __future__ import annotations

import io
import sys
import types
import zipfile
from collections import defaultdict
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import pytest
import torch
from factories import HEAD_WIDTH, HEADS, make_weights, write_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import released as literal
from torch import Tensor

from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig
from lart_mini.lart.model import LART
from lart_mini.lart.tokens import Stats, TokenBatch, random_mask
from lart_mini.lart.weights import load_model, load_released, save_model


def make_batch(
    people: int, frames: int, seed: int, *, size: int = 2, appearance: int = 5, classes: int = 60
) -> TokenBatch:
    """Gaps, an absent last slot in the first sample, and nobody at all in the last of three."""
    generator = torch.Generator().manual_seed(seed)
    shape = (size, people, frames)
    detected = torch.rand(shape, generator=generator) < 0.7
    if people > 1:
        detected[0, -1] = False
    if size > 2:
        detected[2] = False
    return TokenBatch(
        pose=torch.randn(*shape, 229, generator=generator),
        present=detected.any(dim=-1),
        detected=detected,
        labels=torch.zeros(*shape, classes),
        label_weight=detected.float(),
        joints=torch.randn(*shape, 135, generator=generator),
        appearance=torch.randn(*shape, appearance, generator=generator),
    )


def original(weights: dict[str, Tensor], batch: TokenBatch) -> np.ndarray:
    """Logits (B, P, T, classes) by the literal version."""
    arrays = {name.removeprefix("encoder."): value.double().numpy() for name, value in weights.items()}
    extras = {"joints": "joint_encoder.0.weight", "appearance": "apperance_encoder.0.weight"}
    rows = []
    for b in range(len(batch)):
        sample: dict[str, Any] = {"masked": None}
        for name, tensor in batch.tensors().items():
            if name in ("pose", "detected", "masked") or extras.get(name) in arrays:
                sample[name] = tensor[b].transpose(0, 1).numpy()  # (T, P, …)
        rows.append(literal.scores(arrays, HEADS, **sample).swapaxes(0, 1))
    return np.stack(rows)


def assert_as_original(model: LART, weights: dict[str, Tensor], batch: TokenBatch) -> None:
    with torch.no_grad():
        found = model(batch)
    np.testing.assert_allclose(found.numpy(), original(weights, batch), rtol=0, atol=1e-5)


# --- equality


@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.sampled_from([None, 0.0, 0.4, 1.0]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
@settings(derandomize=True, max_examples=25)
def test_equals_the_original(
    tmp_path_factory: pytest.TempPathFactory,
    people: int,
    frames: int,
    ratio: float | None,
    joints: bool,
    appearance: bool,
    seed: int,
) -> None:
    """Logits of all tokens, those that mean nothing too, at test and for a given training mask."""
    weights = make_weights(joints=4 * joints, appearance=5 * appearance, seed=seed)
    path = write_weights(tmp_path_factory.mktemp("released") / "lart.ckpt", weights)
    model = load_released(path, heads=HEADS, dim_head=HEAD_WIDTH)
    assert not model.training
    batch = make_batch(people, frames, seed, size=3)
    if ratio is not None:
        masked = random_mask(batch.detected, ratio, torch.Generator().manual_seed(seed))
        batch = batch.with_mask(masked)
    assert_as_original(model, weights, batch)


@pytest.mark.parametrize("training", [True, False])
def test_equals_the_original_at_full_length(tmp_path: Path, training: bool) -> None:
    weights = make_weights(table=(250, 10), depth=1)
    model = load_released(write_weights(tmp_path / "lart.ckpt", weights), heads=HEADS, dim_head=HEAD_WIDTH)
    assert (model.config.frames, model.config.people) == (250, 10)
    batch = make_batch(5, 125, 1, size=1)
    if training:
        batch = batch.with_mask(random_mask(batch.detected, 0.4, torch.Generator().manual_seed(0)))
    assert_as_original(model, weights, batch)


def test_what_can_be_read_is_the_same_where_the_rest_is_skipped(tmp_path: Path) -> None:
    weights = make_weights()
    path = write_weights(tmp_path / "lart.ckpt", weights)
    computed = load_released(path, heads=HEADS, dim_head=HEAD_WIDTH)
    skipped = LART(LARTConfig(**{**vars(computed.config), "undetected": "skipped"})).eval()
    skipped.load_state_dict(computed.state_dict())
    batch = make_batch(4, 7, 0)
    for mask in (None, random_mask(batch.detected, 0.4, torch.Generator().manual_seed(0))):
        readable = batch.detected if mask is not None else batch.present[..., None].expand_as(batch.detected)
        with torch.no_grad():
            a, b = (model(batch.with_mask(mask))[readable] for model in (computed, skipped))
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_the_table_is_cut_on_request_and_80_classes_are_kept(tmp_path: Path) -> None:
    weights = make_weights(classes=80)
    path = write_weights(tmp_path / "lart.ckpt", weights)
    model = load_released(path, heads=HEADS, dim_head=HEAD_WIDTH, people=3, frames=7)
    assert (model.config.people, model.config.frames, model.config.classes) == (3, 7, 80)
    assert_as_original(model, weights, make_batch(3, 7, 0))
    with pytest.raises(BadInput, match="at most 3 people in 7 frames, found 4 in 7"):
        model(make_batch(4, 7, 0))


def test_keys_without_prefix_and_half_precision_are_read(tmp_path: Path) -> None:
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in make_weights().items()
    }
    bare = {name.removeprefix("encoder."): value for name, value in weights.items()}
    model = load_released(write_weights(tmp_path / "lart.ckpt", bare), heads=HEADS, dim_head=HEAD_WIDTH)
    assert_as_original(model, weights, make_batch(2, 5, 0))


def test_the_default_configuration_is_the_released_preset() -> None:
    """Sizes that nobody may mistype."""
    with torch.device("meta"):
        model = LART(LARTConfig.released())
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["pose_encoder.0.weight"] == (229, 229) and shapes["pose_encoder.2.weight"] == (128, 229)
    assert shapes["joints_encoder.0.weight"] == (256, 135) and shapes["joints_encoder.4.weight"] == (128, 256)
    assert shapes["appearance_encoder.2.weight"] == (512, 512) and "project.weight" not in shapes
    assert (
        shapes["blocks.15.attention.qkv.weight"] == (3072, 512)
        and "blocks.0.attention.qkv.bias" not in shapes
    )
    assert shapes["blocks.0.mlp.0.weight"] == (512, 512) and shapes["encoding"] == (5, 125, 512)


def test_round_trip_through_our_own_format(tmp_path: Path) -> None:
    weights = make_weights()
    model = load_released(write_weights(tmp_path / "lart.ckpt", weights), heads=HEADS, dim_head=HEAD_WIDTH)
    stats = Stats(np.zeros(229, np.float32), np.ones(229, np.float32))
    save_model(tmp_path / "lart.safetensors", model, stats)
    again, _, _ = load_model(tmp_path / "lart.safetensors")
    assert again.config == model.config and isinstance(again.config.pose_hidden, tuple)
    assert torch.equal(again.encoding, model.encoding) and again.encoding.requires_grad
    assert_as_original(again, weights, make_batch(3, 5, 0))


# --- what stands beside the weights


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Classes with the names that a trainer's settings have, which complain if anything of them runs."""
    made: dict[str, type] = {}

    def complain(self: object, state: object) -> None:
        raise AssertionError("a class of the file ran")

    for full in (
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.base.ContainerMetadata",
        "omegaconf.nodes.AnyNode",
        "lightning.fabric.utilities.data.AttributeDict",
        "somebody.elses.Callback",
    ):
        module, _, name = full.rpartition(".")
        base = dict if name == "AttributeDict" else object
        made[name] = type(name, (base,), {"__module__": module, "__setstate__": complain})
        parents = [module.rsplit(".", cut)[0] for cut in range(module.count(".") + 1)]
        for parent in parents:
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        setattr(sys.modules[module], name, made[name])
    return made


def test_settings_beside_the_weights_are_passed_over(tmp_path: Path, foreign: dict[str, type]) -> None:
    settings_, node, metadata = foreign["DictConfig"](), foreign["AnyNode"](), foreign["ContainerMetadata"]()
    vars(metadata).update(
        ref_type=Any, object_type=dict, key_type=int, resolver_cache=defaultdict(dict, a={1: 2})
    )
    vars(node).update(_val=1.5, _metadata=metadata)
    vars(settings_).update(_content={"lr": node, "x": None}, _metadata=metadata, _parent=None)
    parameters = foreign["AttributeDict"]()
    parameters["cfg"] = settings_
    optimizer = {
        "state": {0: {"step": torch.tensor(3.0)}},
        "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.95)}],
    }
    path = write_weights(
        tmp_path / "lart.ckpt",
        make_weights(),
        hyper_parameters=parameters,
        hparams_type=foreign["DictConfig"],
        optimizer_states=[optimizer],
        callbacks={
            "ModelCheckpoint{'monitor': 'val/mAP'}": {"best": torch.tensor(0.4), "dirpath": PosixPath("/a")}
        },
        score=np.float64(0.3),
    )
    for module in [name for name in sys.modules if name.startswith("omegaconf")]:
        del sys.modules[module]  # who loads the file has no such package
    assert load_released(path, heads=HEADS, dim_head=HEAD_WIDTH).config.depth == 2


class Runs:
    def __reduce__(self) -> Any:
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


@pytest.mark.parametrize("place", ["beside", "among"])
def test_code_in_the_file_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = make_weights() | ({"encoder.extra": Runs()} if place == "among" else {})
    beside = {"callbacks": Runs()} if place == "beside" else {}
    path = write_weights(tmp_path / "lart.ckpt", weights, **beside)
    with pytest.raises(
        BadInput, match=r"pickle: expected weights and plain settings only, found builtins\.eval"
    ) as caught:
        load_released(path, heads=HEADS, dim_head=HEAD_WIDTH)
    assert not (tmp_path / "ran").exists() and "\n" not in str(caught.value)


def test_any_other_class_is_refused_by_name(tmp_path: Path, foreign: dict[str, type]) -> None:
    path = write_weights(tmp_path / "lart.ckpt", make_weights(), callbacks=foreign["Callback"]())
    with pytest.raises(BadInput, match=r"found somebody\.elses\.Callback"):
        load_released(path, heads=HEADS, dim_head=HEAD_WIDTH)


# --- files that are not what they should be


def changed(name: str, value: Any) -> dict[str, Any]:
    weights: dict[str, Any] = make_weights()
    if value is None:
        del weights[f"encoder.{name}"]
    else:
        weights[f"encoder.{name}"] = value
    return weights


NAN = torch.full((16,), torch.nan)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "transformer.layers.1.1.norm.bias",
            None,
            r"transformer\.layers\.1\.1\.norm\.bias: .*found no such tensor",
        ),
        ("pos_embedding", None, r"pos_embedding: expected a weight, found no such tensor"),
        ("mask_token", None, r"mask_token: expected a weight, found no such tensor"),
        ("pose_shape_encoder.0.bias", None, r"pose_shape_encoder\.0\.bias: .*found no such tensor"),
        ("vq.codes", torch.zeros(2), r"vq\.codes: .*has no place for"),
        ("transformer.layers.0.0.fn.to_qkv.bias", torch.zeros(30), r"to_qkv\.bias: .*has no place for"),
        (
            "action_head_ava.1.0.weight",
            torch.zeros(60, 16),
            r"action_head_ava\.1\.0\.weight: .*has no place for",
        ),
        ("pose_shape_encoder.0.weight", torch.zeros(11, 226), r"shape \(11, 229\), found shape \(11, 226\)"),
        ("joint_encoder.0.weight", torch.zeros(7, 132), r"shape \(7, 135\), found shape \(7, 132\)"),
        ("action_head_ava.0.0.weight", torch.zeros(81, 16), r"expected 60 or 80 classes, found 81"),
        ("transformer.layers.1.0.norm.weight", NAN, r"layers\.1\.0\.norm\.weight: expected finite numbers"),
        (
            "mask_token",
            torch.zeros(16, dtype=torch.int64),
            r"mask_token: expected finite numbers, found torch\.int64",
        ),
        ("mask_token", torch.zeros(1, 16), r"mask_token: expected 1 axes, none empty, found shape \(1, 16\)"),
        ("mask_token", torch.zeros(20), r"expected 20 outputs together, found \[6, 4, 6\]"),
        (
            "pos_embedding",
            torch.zeros(12, 20, 6),
            r"pos_embedding: expected shape \(6, 20, 16\), found shape \(6, 20, 12\)",
        ),
        ("mask_token", [1.0], r"state_dict\['encoder\.mask_token'\]: expected a tensor, found list"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, name: str, value: Any, message: str) -> None:
    path = write_weights(tmp_path / "lart.ckpt", changed(name, value))
    with pytest.raises(BadInput, match=message):
        load_released(path, heads=HEADS, dim_head=HEAD_WIDTH)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 4}, r"to_qkv\.weight: expected 60 rows for 4 heads of width 5, found 30"),
        ({"people": 7}, r"pos_embedding: expected shape \(16, 20, 7\) or longer, found \(16, 20, 6\)"),
        ({"frames": 21}, r"pos_embedding: expected shape \(16, 21, 6\) or longer"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, int], message: str) -> None:
    path = write_weights(tmp_path / "lart.ckpt", make_weights())
    with pytest.raises(BadInput, match=message):
        load_released(path, **({"heads": HEADS, "dim_head": HEAD_WIDTH} | options))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "lart.ckpt", make_weights())
    whole = path.read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "text")
    for content in (b"", b"text\n", whole[: len(whole) // 2], whole[:-40], archive.getvalue()):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="file: expected a PyTorch checkpoint") as caught:
            load_released(path)
        assert "\n" not in str(caught.value)
    for content in ([1, 2], {}, {"state_dict": {}}, torch.zeros(3)):
        torch.save(content, path)
        with pytest.raises(BadInput, match="state_dict: expected weights by name"):
            load_released(path)
    with pytest.raises(FileNotFoundError):
        load_released(tmp_path / "none.ckpt")
