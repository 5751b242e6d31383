"""The processes of one training: one, or several started by ``torchrun``."""

from __future__ import annotations

import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from gtn_ebm import DataError


class Processes:
    """Where this process stands among those that train together."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        if self.count > 1 and not distributed.is_initialized():
            distributed.init_process_group("gloo")
        self.rank = distributed.get_rank() if self.count > 1 else 0

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, writes files and shows progress."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network, its gradients averaged over the processes."""
        return network if self.count == 1 else DistributedDataParallel(network)

    def share(self, batch: range) -> range:
        """This process's part of a batch.

        Raises:
            DataError: there are more processes than items.
        """
        if len(batch) < self.count:
            raise DataError(f"{self.count} processes cannot share a batch of {len(batch)}; start fewer")
        return batch[self.rank :: self.count]

    def sum(self, *values: float) -> list[float]:
        """Each value summed over the processes."""
        total = torch.tensor(values, dtype=torch.float64)
        if self.count > 1:
            distributed.all_reduce(total)
        return total.tolist()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()
