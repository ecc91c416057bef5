"""What every model shares: sizes that fit, logits brought to the image's size, honest errors."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

OUTPUT_STRIDES = (8, 16, 32)


def check_output_stride(output_stride: int, known: tuple[int, ...] = OUTPUT_STRIDES) -> int:
    """`output_stride` if it is one of `known`; raises ValueError otherwise."""
    if output_stride not in known:
        options = ", ".join(map(str, known[:-1])) + f" or {known[-1]}"
        raise ValueError(f"output_stride {output_stride!r}: expected {options}")
    return output_stride


class Backbone(nn.Module):
    """A network whose output_stride is 8, 16 or 32, and can be set when it has its layers."""

    @property
    def output_stride(self) -> int:
        return self._output_stride

    @output_stride.setter
    def output_stride(self, output_stride: int) -> None:
        self._output_stride = check_output_stride(output_stride)
        self.set_strides(output_stride)

    def set_strides(self, output_stride: int) -> None:
        """Trade late strides for dilation, or back; the weights stay."""
        raise NotImplementedError


def check_images(x: Tensor) -> None:
    """Raises ValueError unless x is a batch of images B x 3 x H x W."""
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(
            f"images of shape {tuple(x.shape)}: expected B x 3 x H x W; "
            "one image is image[None], an H x W x 3 array is permuted with (2, 0, 1)"
        )


def check_size(
    size: Sequence[int], output_stride: int, align_corners: bool, extra: int | None = None
) -> None:
    """Raises ValueError unless the sides of an image fit the grid of its logits.

    Units of a map whose corners are aligned with the image's lie on pixels 0, s, 2 s, ...: sides
    k s + 1 fit. Otherwise each unit stands for s x s pixels: multiples of s fit. `extra` overrides
    the 1 or 0.
    """
    extra = int(align_corners) if extra is None else extra
    for side, pixels in zip(("height", "width"), size, strict=True):
        if pixels < output_stride or pixels % output_stride != extra % output_stride:
            fitting = output_stride * max(1, -(-(pixels - extra) // output_stride)) + extra
            plus = f" plus {extra}" if extra else ""
            raise ValueError(
                f"{side} {pixels} is not a multiple of output_stride {output_stride}{plus}: "
                f"pad to {fitting}"
            )


def fitting_size(model: nn.Module, size: Sequence[int]) -> tuple[int, ...]:
    """The smallest sides, no less than those of `size`, that a network of this package takes."""
    stride = getattr(model, "output_stride", 1)
    extra = int(getattr(model, "align_corners", False)) if stride > 1 else 0
    return tuple(stride * max(1, -(-(pixels - extra) // stride)) + extra for pixels in size)


def whole(model: nn.Module, images: Tensor) -> Tensor:
    """Logits B x K x H x W of images of any size: grey beside and below them makes them fit.

    images: B x 3 x H x W in [-1, 1], where 0 is grey. Of a dict, as torchvision's, it is "out".
    """
    height, width = images.shape[-2:]
    fitting = fitting_size(model, (height, width))
    padded = F.pad(images, (0, fitting[1] - width, 0, fitting[0] - height))
    logits = model(padded)
    scores: Tensor = logits["out"] if isinstance(logits, dict) else logits
    return scores[..., :height, :width]


def resize(maps: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """B x K x h x w to B x K x H x W, bilinear."""
    return F.interpolate(maps, list(size), mode="bilinear", align_corners=align_corners)


def check_pooled_batch_norm(x: Tensor, training: bool) -> None:
    """Raises ValueError where batch norm would see one value per channel, as after image pooling.

    The variance of one value is 0: it says nothing about the data.
    """
    if training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
        raise ValueError(
            "batch norm after image pooling sees one value per channel in a batch of 1: train with "
            "two images or more (drop_last=True for the last batch), or call model.eval()"
        )


def set_dilation(conv: nn.Conv2d, dilation: int) -> None:
    """Dilate a convolution of odd kernel, with the padding that keeps the size at stride 1."""
    conv.dilation = (dilation, dilation)
    conv.padding = tuple(dilation * (k - 1) // 2 for k in conv.kernel_size)


def out_channels_of(width: float, channels: int) -> int:
    """A channel count at a width multiplier, at least 1."""
    return max(1, round(width * channels))


def freeze_batch_norm(model: nn.Module) -> nn.Module:
    """Hold the running statistics of all batch norm layers, through later calls of .train() too.

    Changes `model` and returns it. For fine-tuning on small batches. Lesson 06, section 5.
    """

    def stay(layer: nn.Module, mode: bool = True) -> nn.Module:
        return nn.Module.train(layer, False)

    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()
            layer.train = stay.__get__(layer)  # type: ignore[method-assign]
    return model
