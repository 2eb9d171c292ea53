"""A step recorded as a CUDA graph: the GPU repeats it without being told every kernel anew by Python.

A step of a small model is thousands of short kernels, and launching them takes longer than running them.
Which kernels run depends on a batch's sizes and kind alone, and batches come in few sizes (BucketSampler, a
plan made ahead): so each size's step is recorded once. Recorded work may not wait for a value from the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from lart_mini.training.batches import Batch

Results = tuple[Tensor, ...]
Recorder = Callable[[Callable[[], Results]], tuple[Callable[[], None], Results]]


def recorder() -> Recorder:
    """Records CUDA graphs that share their memory: record(work) -> (play it once, where its results lie)."""
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        # Other threads pin memory meanwhile.
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            results = work()
        except BaseException:
            with suppress(RuntimeError):  # what is half recorded cannot be ended well
                graph.capture_end()
            raise
        graph.capture_end()
        return graph.replay, results

    return record


class Replayed:
    """`work(batch)`, recorded when a batch's size and kind come for the second time, and then played.

    The first time, which no recording could stand, makes what is made once: an optimizer's moments, compiled
    code. A batch is copied to where the recorded one lay; results are copies, too.
    """

    def __init__(self, work: Callable[[Any], Results], record: Recorder) -> None:
        self.work, self.record = work, record
        self.met: set[Any] = set()
        self.recorded: dict[Any, tuple[Batch, Callable[[], None], Results]] = {}

    def __call__(self, batch: Batch) -> Results:
        tensors = batch.tensors()
        shapes = ((name, tensor.shape, tensor.dtype) for name, tensor in tensors.items())
        size = (batch.kind(), *shapes)
        if size not in self.met:
            self.met.add(size)
            return self.work(batch)
        if size not in self.recorded:
            place = type(batch)(**{name: tensor.clone() for name, tensor in tensors.items()})
            self.recorded[size] = (place, *self.record(lambda: self.work(place)))
        place, play, results = self.recorded[size]
        for name, tensor in place.tensors().items():
            tensor.copy_(tensors[name])
        play()
        return tuple(result.clone() for result in results)


@contextmanager
def recorded(
    work: Callable[[Any], Results], optimizer: torch.optim.Optimizer, device: torch.device
) -> Iterator[Replayed]:
    """The work, to be recorded, and a GPU's stream of its own for all that is done meanwhile.

    The optimizer's rates lie on the device, where they can change between two plays, until this ends.
    """
    stream = torch.cuda.Stream(device)  # the default one cannot be recorded
    stream.wait_stream(torch.cuda.current_stream(device))
    adam = "capturable" in optimizer.param_groups[0]  # SGD has no such switch
    for group in optimizer.param_groups:
        group |= {"lr": torch.tensor(group["lr"], device=device)} | ({"capturable": True} if adam else {})
    replayed = Replayed(work, recorder())
    try:
        with torch.cuda.stream(stream):
            yield replayed
        torch.cuda.current_stream(device).wait_stream(stream)
    finally:  # the graphs and their memory go, even where an error's traceback still holds this
        replayed.recorded.clear()
        optimizer.zero_grad()
        for group in optimizer.param_groups:
            group |= {"lr": float(group["lr"])} | ({"capturable": False} if adam else {})
