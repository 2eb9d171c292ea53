"""What watches the clip: I3D to Mixed_4f, in any width, or a frozen image network's maps read over time.

I3D is Inception-v1 with every filter inflated to three axes (Carreira and Zisserman 2017), with the channels
of that. The paper cuts it after Mixed_4f: what comes before is the trunk (3.1), what comes
behind is the I3D head (3.3).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["batch", "group"]
Widths = tuple[int, int, int, int, int, int]  # of a Mixed block: 1x1; 1x1, 3x3x3; 1x1, 3x3x3; pool, 1x1
MIXED: dict[str, Widths] = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
TIME_STRIDE = 4  # of I3D to Mixed_4f
GROUPS = 8


def scaled(channels: int, scale: float) -> int:
    """Channels of a narrower I3D: a multiple of GROUPS, unless it is as wide as the published one."""
    return channels if scale == 1 else max(GROUPS, round(channels * scale / GROUPS) * GROUPS)


def out_channels(block: str, scale: float) -> int:
    """Channels that a Mixed block gives."""
    a, _, b, _, c, d = (scaled(one, scale) for one in MIXED[block])
    return a + b + c + d


class Conv(nn.Sequential):
    """3D convolution without bias, norm, ReLU; as large as its input divided by the stride, rounded up.

    Batch norm is "fixed to the running mean and variance" of the pre-trained network (3.5): it never leaves
    eval mode. Whoever trains from scratch on a handful of clips takes group norm.
    """

    def __init__(
        self,
        given: int,
        made: int,
        kernel: tuple[int, int, int],
        norm: Norm,
        stride: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        padding = kernel[0] // 2, kernel[1] // 2, kernel[2] // 2
        super().__init__(
            nn.Conv3d(given, made, kernel, stride, padding, bias=False),
            nn.BatchNorm3d(made, eps=1e-3) if norm == "batch" else nn.GroupNorm(GROUPS, made),
            nn.ReLU(inplace=True),
        )

    def train(self, mode: bool = True) -> Conv:
        """Batch norm stays fixed."""
        super().train(mode)
        if isinstance(self[1], nn.BatchNorm3d):
            self[1].eval()
        return self


class Mixed(nn.Module):
    """Four branches side by side: a point, two of 3x3x3 behind a narrow point, and a maximum."""

    def __init__(self, given: int, block: str, scale: float, norm: Norm) -> None:
        super().__init__()
        a, b, bb, c, cc, d = (scaled(one, scale) for one in MIXED[block])
        one, three = (1, 1, 1), (3, 3, 3)
        self.branches = nn.ModuleList(
            [
                Conv(given, a, one, norm),
                nn.Sequential(Conv(given, b, one, norm), Conv(b, bb, three, norm)),
                nn.Sequential(Conv(given, c, one, norm), Conv(c, cc, three, norm)),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), Conv(given, d, one, norm)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,T,H,W) -> (B,C',T,H,W)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def pool(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.MaxPool3d:
    """A maximum; sides are the input's divided by the stride, rounded up."""
    return nn.MaxPool3d(kernel, stride, tuple((size - 1) // 2 for size in kernel))


class I3D(nn.Module):
    """I3D up to Mixed_4f: frames (B,T,3,H,W) uint8 -> (B,832,T/4,H/16,W/16), 832 where `scale` is 1 (3.1)."""

    def __init__(self, scale: float, norm: Norm) -> None:
        super().__init__()
        first, third = scaled(64, scale), scaled(192, scale)
        layers: list[nn.Module] = [
            Conv(3, first, (7, 7, 7), norm, (2, 2, 2)),
            pool((1, 3, 3), (1, 2, 2)),
            Conv(first, first, (1, 1, 1), norm),
            Conv(first, third, (3, 3, 3), norm),
            pool((1, 3, 3), (1, 2, 2)),
        ]
        channels = third
        for block in ("3b", "3c", "4b", "4c", "4d", "4e", "4f"):
            if block == "4b":
                layers.append(pool((3, 3, 3), (2, 2, 2)))
            layers.append(Mixed(channels, block, scale, norm))
            channels = out_channels(block, scale)
        self.layers, self.channels = nn.Sequential(*layers), channels

    def forward(self, video: Tensor) -> Tensor:
        """Colours go from −1 to 1, as I3D has them."""
        return self.layers(video.transpose(1, 2).float() / 127.5 - 1)


class FrozenMaps(nn.Module):
    """Maps of a frozen image network, frame by frame (B,T,K,H',W') -> (B,C,T/2,H',W').

    The laptop's stand-in for "I3D pre-trained on Kinetics" (3.5): fixed features with fixed norms, ImageNet's
    instead of Kinetics', and a few trained layers that read each place over time. Ours, not the paper's.
    """

    def __init__(self, given: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        layers: list[nn.Module] = [nn.GroupNorm(1, given, affine=False)]
        for before, over, stride in ((given, 1, 1), (channels, 3, 2)):
            conv = nn.Conv2d(before, channels, (over, 1), (stride, 1), (over // 2, 0), bias=False)
            layers += [conv, nn.GroupNorm(GROUPS, channels), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, video: Tensor) -> Tensor:
        x = video.transpose(1, 2).flatten(3).float()  # (B,K,T,H'·W'): faster than 3D
        return self.layers(x).unflatten(3, video.shape[3:])


class TubeLayers(nn.Module):
    """The layers that the trunk dropped, on a person's tube: (N,C,T',7,7) -> (N,C'), a mean over all cells.

    "Mixed_5a to Mixed_5c" (3.3): 5a is a maximum of 2x2x2. That the mean comes before the linear layers is
    our choice, where the paper is silent.
    """

    def __init__(self, given: int, scale: float, norm: Norm) -> None:
        super().__init__()
        middle = out_channels("5b", scale)
        self.channels = out_channels("5c", scale)
        self.layers = nn.Sequential(Mixed(given, "5b", scale, norm), Mixed(middle, "5c", scale, norm))

    def forward(self, tube: Tensor) -> Tensor:
        return self.layers(F.max_pool3d(tube, 2, 2, ceil_mode=True)).mean((2, 3, 4))
