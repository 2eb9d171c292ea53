"""The devices that are trained on, through Lightning Fabric: one CPU, one GPU, or many processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lart_mini.files import BadInput, whole_number

if TYPE_CHECKING:
    from lightning_fabric import Fabric


MOST_WORKERS = 4  # of usual_workers
ACCELERATORS = ("auto", "cpu", "cuda")
PRECISIONS = ("32-true", "bf16-mixed")  # others turn the weights themselves, or scale the loss


def choose_fabric(
    accelerator: str = "auto", devices: int | str = "auto", nodes: int = 1, precision: str | None = None
) -> Fabric:
    """The devices to train on, with their processes started; bf16 mixed precision on CUDA, else float32.

    `accelerator`: auto (CUDA where there is one), cpu or cuda. Each device gets a process and the whole model
    (DDP); processes that torchrun or SLURM started are recognised, else they are started here. Raises
    BadInput for devices that are not there.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    if precision not in (None, *PRECISIONS):
        raise BadInput("training", "precision", " | ".join(PRECISIONS), precision)
    if accelerator not in ACCELERATORS:
        raise BadInput("training", "accelerator", " | ".join(ACCELERATORS), accelerator)
    whole_number("training", "nodes", nodes, 1)
    if accelerator == "auto":
        accelerator = usual_device().type
    on_gpu = accelerator == "cuda"
    if on_gpu and not torch.cuda.is_available():
        built = "no CUDA device" if torch.version.cuda else "a torch built without CUDA"
        raise BadInput("training", "accelerator", "a CUDA device, or --accelerator cpu", built)
    chosen: Any = precision or ("bf16-mixed" if on_gpu else "32-true")
    if on_gpu and "bf16" in chosen:
        if not torch.cuda.is_bf16_supported():
            wanted = "a GPU and a torch that have bf16, or --precision 32-true"
            raise BadInput("training", "precision", wanted, torch.cuda.get_device_name())
    if devices == "auto" and {"LOCAL_WORLD_SIZE", "WORLD_SIZE"} <= os.environ.keys():  # torchrun sets both
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    refusals = (RuntimeError, TypeError, ValueError, LookupError, ImportError, MisconfigurationException)
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=chosen)
        fabric.launch()
    except refusals as error:
        wanted = f"{accelerator}, devices {devices}, nodes {nodes}, {chosen}"
        raise BadInput("training", "devices", "ones that are there", f"{wanted}: {error}") from None
    return fabric


@contextmanager
def rounded(fabric: Fabric) -> Iterator[None]:
    """Where a GPU trains in bf16, what is left in float32 need not be exact; afterwards it is again."""
    if fabric.device.type != "cuda" or "bf16" not in fabric.strategy.precision.precision:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def share_of(fabric: Fabric | None) -> dict[str, Any]:
    """`rank` and `world` of `Batches`: which of how many processes loads its share here."""
    return {"rank": fabric.global_rank, "world": fabric.world_size} if fabric else {"rank": 0, "world": 1}


def usual_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def usual_workers(device: torch.device) -> int:
    """Processes that load data: none on a CPU, which is busy anyway; a GPU must not wait for them."""
    return 0 if device.type == "cpu" else min(MOST_WORKERS, (os.cpu_count() or 1) - 1)


def summed(fabric: Fabric, tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes."""
    return fabric.strategy.all_reduce(tensor.to(fabric.device, non_blocking=True), reduce_op="sum")
