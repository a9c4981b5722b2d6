"""Several processes of one run, as torchrun starts them: each computes a share of a batch, the loss sees all of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started; without torchrun, this process is alone.

    Args:
        device: that the user asked for; of several GPUs each process takes its own.

    Yields:
        the device of this process.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0; that of rank 0 writes files and reports."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_helper() -> bool:
    """Whether torchrun started this process beside one of rank 0, which alone reports; known before they have met."""
    return int(os.environ.get("RANK", "0")) > 0


def own(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """This process's part of some rows."""
    return np.array_split(rows, size())[rank()]


class _Gather(torch.autograd.Function):
    """Rows of all processes, in the order of their ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every process computes the same loss of the same rows, so it knows the whole gradient of its own rows.
        # DistributedDataParallel then takes the mean over the processes, each of which holds one part of the sum.
        start = rank() * ctx.count
        return gradient[start : start + ctx.count] * size()


def gather(rows: Tensor) -> Tensor:
    """Rows (n / processes, d) of every process as (n, d); the gradient comes back to the process that made them.

    All processes must give equally many rows and compute the same loss of what they get.
    """
    gathered: Tensor = _Gather.apply(rows) if size() > 1 else rows  # type: ignore[no-untyped-call]
    return gathered


def gather_objects(values: Sequence[T]) -> list[T]:
    """The values of all processes, in the order of their ranks."""
    if size() == 1:
        return list(values)
    parts: list[Any] = [None] * size()
    dist.all_gather_object(parts, list(values))
    return [value for part in parts for value in part]


def first(make: Callable[[], T]) -> T:
    """What `make` gives in every process; rank 0 calls it before the others do, so that they find what it has kept."""
    if rank():
        barrier()
    made = make()
    if not rank():
        barrier()
    return made


def barrier() -> None:
    """Wait until all processes are here."""
    if size() > 1:
        dist.barrier()
