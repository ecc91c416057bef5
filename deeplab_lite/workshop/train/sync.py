"""Batch norm over the images of all processes, on CPUs too."""

import torch
import torch.distributed as dist
from torch import Tensor, nn


class AllSum(torch.autograd.Function):
    """The sum over processes; so is its gradient, as each process's result depends on all."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


class SyncBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose mean and variance in training are those of the images of all processes.

    nn.SyncBatchNorm is the same and faster, but runs on GPUs only. Shares must be equally large.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        wide, axes = x.float(), (0, 2, 3)
        count = dist.get_world_size() * x.numel() // x.shape[1]
        mean = AllSum.apply(wide.sum(axes)) / count
        centred = wide - mean[:, None, None]
        variance = AllSum.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            for running, now in ((self.running_mean, mean), (self.running_var, unbiased)):
                if running is not None:
                    running.lerp_(now, self.momentum or 0.1)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = (variance + self.eps).rsqrt() * (1 if self.weight is None else self.weight)
        y = centred * scale[:, None, None]
        return (y if self.bias is None else y + self.bias[:, None, None]).to(x.dtype)


def synchronize(model: nn.Module, device: torch.device) -> nn.Module:
    """The same model with batch norm over all processes. Keys and weights stay."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SyncBatchNorm2d
    return model
