"""What a model is trained on: batches of tensors, cut alike for any number of processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lart_mini.files import BadInput, whole_number
from lart_mini.training.resume import fingerprint_of_data


@dataclass(frozen=True, eq=False)
class Batch(ABC):
    """The base of a model's batches: dataclasses of tensors that share their first axis, or None."""

    @abstractmethod
    def weight(self) -> Tensor:
        """What the loss is a mean over, summed: a number, 0 where nothing is to be learnt; or one a mean."""

    @abstractmethod
    def ignored(self) -> Self:
        """The same batch with weight 0."""

    @abstractmethod
    def tokens(self) -> Tensor:
        """How many tokens count for the speed of training: a number."""

    def kind(self) -> int:
        """What beside its sizes decides which kernels a step runs (graphs.py records each kind)."""
        return 0

    def __len__(self) -> int:
        return len(next(iter(self.tensors().values())))

    def __getitem__(self, rows: slice) -> Self:
        """The samples of a slice."""
        return type(self)(**{name: tensor[rows] for name, tensor in self.tensors().items()})

    def to(self, device: torch.device | str) -> Self:
        """The same batch on `device`."""
        return type(self)(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, without those that are None."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


class Samples(Protocol):
    """A data set that gives whole batches, drawn anew each epoch from its own seed.

    `load` is what processes may do ahead of a step, `place` what is left to do on the device.
    """

    def __len__(self) -> int: ...

    def set_epoch(self, epoch: int) -> None: ...

    def size(self, index: int) -> int:
        """About how much item `index` takes: items of one size are batched together."""
        ...

    def __getitem__(self, index: int) -> Batch: ...

    def load(self, indices: list[int]) -> dict[str, Tensor]: ...

    def place(self, loaded: dict[str, Tensor], device: torch.device) -> Batch: ...


Prepare = Callable[[dict[str, Tensor]], dict[str, Tensor]]  # done to what was loaded, still ahead of the step


class Batches:
    """The batches of each epoch, of which this process gets its share.

    All chance comes from `seed` and the data set's. With `world` processes, process `rank` gets every
    world-th item of each batch: together they see the batches that one process would see. `workers`:
    processes that load data; the batches do not depend on it. Raises BadInput for fewer than none.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        prepare: Prepare | None = None,
    ) -> None:
        whole_number("training", "workers", workers, 0)
        self.samples, self.workers, self.prepare = samples, workers, prepare
        sizes = [samples.size(i) for i in range(len(samples))]
        self.sampler = BucketSampler(sizes, batch_size, seed=seed, rank=rank, world=world)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.sampler)

    def steps(self, first: int, last: int, device: torch.device) -> Iterator[Batch]:
        """The batches of steps `first` to `last` - 1 on a device, epoch after epoch without a pause.

        A batch may be overwritten when the next one is asked for. On a GPU the next one is copied while this
        one is computed.
        """
        loader: DataLoader[Any] = DataLoader(
            _Shares(self.samples, self.prepare),
            batch_sampler=_Steps(self.sampler, first, last),
            collate_fn=whole,
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
        )
        copying = torch.cuda.Stream(device) if device.type == "cuda" else None
        for loaded in loader:
            if isinstance(loaded, BadInput):
                raise loaded
            ignored = loaded.pop(IGNORED, None) is not None
            if copying is None:
                batch = self.samples.place(loaded, device)
            else:
                computing = torch.cuda.current_stream(device)
                with torch.cuda.stream(copying):
                    batch = self.samples.place(loaded, device)
                computing.wait_stream(copying)
                for tensor in batch.tensors().values():
                    tensor.record_stream(computing)
            yield batch.ignored() if ignored else batch

    def fingerprint(self) -> str:
        """Digest of what is trained on."""
        return fingerprint_of_data(self.samples)


IGNORED = "ignored"  # stands in what was loaded for a share of no items


class _Shares(Dataset[Any]):
    """What is loaded for a step, of no items too: all processes have to take part in it."""

    def __init__(self, samples: Samples, prepare: Prepare | None) -> None:
        self.samples, self.prepare, self.epoch = samples, prepare, -1

    def __getitems__(self, step: tuple[int, list[int]]) -> dict[str, Tensor] | BadInput:
        try:
            return self._loaded(*step)
        except BadInput as problem:  # DataLoader makes a RuntimeError of what its workers raise
            return problem

    def _loaded(self, epoch: int, indices: list[int]) -> dict[str, Tensor]:
        if epoch != self.epoch:
            self.samples.set_epoch(epoch)
            self.epoch = epoch
        # The last batch may be too short for all processes.
        loaded = self.samples.load(indices or [0])
        if self.prepare is not None:
            loaded = self.prepare(loaded)
        return loaded if indices else loaded | {IGNORED: torch.ones(())}


def whole(batch: Any) -> Any:
    """`collate_fn` of a DataLoader over a data set that makes whole batches itself (`__getitems__`)."""
    return batch


class _Steps(Sampler[Any]):
    """The items of each step with its epoch: DataLoader's workers have no other way to learn of it."""

    def __init__(self, sampler: BucketSampler, first: int, last: int) -> None:
        self.sampler, self.first, self.last = sampler, first, last

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        step, per_epoch = self.first, len(self.sampler)
        while step < self.last:
            epoch, skip = divmod(step, per_epoch)
            self.sampler.set_epoch(epoch, skip)
            for indices in self.sampler:
                yield epoch, indices
                step += 1
                if step == self.last:
                    return


class BucketSampler(Sampler[list[int]]):
    """Batches of items with like counts (of people, or tokens), for DataLoader's `batch_sampler`.

    Deterministic in (seed, epoch). Every item comes once an epoch; at most one batch is short. With
    `world` processes, process `rank` gets every world-th item of each batch: together they see the batches
    that one process would see, and a share of the short batch may be empty.
    """

    def __init__(
        self, counts: Sequence[int], batch_size: int, *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is outside a world of {world}")
        self.counts, self.batch_size, self.seed = np.asarray(counts), batch_size, seed
        self.rank, self.world, self.epoch, self.skip = rank, world, 0, 0

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch whose order __iter__ gives, and how many of its batches were done before."""
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        """Batches of a whole epoch, those to be skipped too."""
        return -(-len(self.counts) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.counts))
        order = order[np.argsort(self.counts[order], kind="stable")]
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, len(order), self.batch_size)]
        for i in generator.permutation(len(batches))[self.skip :]:
            yield batches[i][self.rank :: self.world]
