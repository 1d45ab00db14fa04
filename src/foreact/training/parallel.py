"""Several processes: the group, sharding by FSDP2, and the way between shards and whole tensors.

One process needs no group: everything here then does nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from foreact.contract.errors import ConfigError

__all__ = ["Team", "like", "own", "shard", "team", "use_threads", "whole"]


class Team:
    """This process's place among those that train together."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def largest(self, *values: float) -> tuple[float, ...]:
        """Each value's maximum over the team, so that all take one decision."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=_speaking())
        return tuple(tensor.tolist())

    def mean(self, values: list[float]) -> list[float]:
        """Each value's mean over the team."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, group=_speaking())
        return [v / self.size for v in tensor.tolist()]

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier(group=_speaking())


_GROUPS: list[dist.ProcessGroup] = []


def _speaking() -> dist.ProcessGroup:
    """A gloo group for numbers on the CPU, whatever carries the tensors."""
    if not _GROUPS:
        _GROUPS.append(dist.new_group(backend="gloo"))
    return _GROUPS[0]


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """The processes that torchrun started (`RANK`, `WORLD_SIZE` in the environment), or this one alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(0, 1)
        return
    ours = not dist.is_initialized()
    if ours:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        if ours:
            _GROUPS.clear()
            dist.destroy_process_group()


def use_threads(threads: int | None, processes: int) -> int:
    """Set torch's threads on purpose: several processes that each take all cores wait on each other's spinning."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    count = threads if threads is not None else (1 if processes > 1 else cores)
    if count < 1:
        raise ConfigError("at least one thread is needed", where="training.threads", found=threads)
    torch.set_num_threads(count)
    return count


def shard(model: nn.Module, device: torch.device, trained: set[str]) -> None:
    """FSDP2: every process keeps a part of each trained parameter, its gradient and its optimiser state.

    Parameters outside `trained` stay whole on every process. All are gathered when `losses` is called.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    frozen = {p for n, p in model.named_parameters() if n not in trained}
    # without resharding, what validation gathers would outlive the next step's update
    fully_shard(model, mesh=mesh, ignored_params=frozen, reshard_after_forward=True)
    register_fsdp_forward_method(model, "losses")


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor behind a shard; every process of the team must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own(tensor: Tensor) -> Tensor:
    """What this process itself holds of a tensor, sharing its storage, outside of autograd."""
    held = tensor.detach()
    return held.to_local() if isinstance(held, DTensor) else held


def like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value`, a whole tensor, laid out over devices and processes as `parameter` is."""
    moved = value.to(device=parameter.device, dtype=parameter.dtype, copy=True)
    if isinstance(parameter, DTensor):
        return distribute_tensor(moved, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return moved
