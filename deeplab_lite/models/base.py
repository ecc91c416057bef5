"""What every DeepLab shares: a backbone, one output stride, logits of the image's size.

Used by v1 to v3+, lessons 03 to 07.
"""

from collections.abc import Iterable
from typing import Any, Literal

from torch import Tensor, nn

from deeplab_lite.sizes import check_size, resize

__all__ = ["Backbone", "DeepLab", "freeze_batch_norm", "resize", "set_dilation"]

OUTPUT_STRIDES = (8, 16, 32)


def check_output_stride(output_stride: int) -> int:
    """`output_stride` if it is one of OUTPUT_STRIDES; raises ValueError otherwise."""
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"output_stride {output_stride!r}: expected 8, 16 or 32")
    return output_stride


class Backbone(nn.Module):
    """B x 3 x H x W to {"low": a map at stride 4, "out": the last map, at output_stride}.

    `output_stride` is 8, 16 or 32, and can be set at any time: weights stay.
    """

    low_channels: int
    out_channels: int

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


def trade_strides(strides: Iterable[int], output_stride: int, stem: int) -> list[tuple[int, int]]:
    """(stride, dilation) of each layer after a stem, so that the strides multiply to output_stride.

    A layer that would go beyond it keeps stride 1, and doubles the dilation of all that follow. Its
    own kernel reads the map that it read before, so its dilation stays. Lesson 02, section 4.
    """
    table, reached, dilation = [], stem, 1
    for stride in strides:
        step = stride if reached * stride <= output_stride else 1
        table.append((step, dilation))
        reached, dilation = reached * step, dilation * stride // step
    return table


class DeepLab(nn.Module):
    """Images B x 3 x H x W to logits B x num_classes x H x W.

    A subclass has a `backbone`, the `rates` of its atrous convolutions (settable), and `scores`.
    `output_stride` can be set later: weights stay, and rates scale so that they reach as far.
    H and W are multiples of output_stride plus `extra`; `sizes.fit` brings others to such sides.
    """

    backbone: Any  # a Backbone
    rates: tuple[int, ...]  # at the present output_stride

    def __init__(self, align_corners: bool):
        super().__init__()
        self.align_corners = align_corners

    @property
    def extra(self) -> int:
        """Pixels beyond a multiple of output_stride: 1 puts positions on the image's corners."""
        return int(self.align_corners)

    @property
    def output_stride(self) -> int:
        """Image pixels from one position of the last map to the next."""
        return self.backbone.output_stride

    @output_stride.setter
    def output_stride(self, output_stride: int) -> None:
        check_output_stride(output_stride)
        rates = scaled_rates(self.rates, self.output_stride, output_stride)
        self.backbone.output_stride = output_stride
        self.rates = rates

    def scores(self, x: Tensor) -> Tensor:
        """Logits on a map, B x num_classes x h x w."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError for what is no batch of images, and for sides that do not fit."""
        self.check_images(x)
        return resize(self.scores(x), x.shape[-2:], self.align_corners)

    def check_images(self, x: Tensor) -> None:
        """Raises ValueError unless x is B x 3 x H x W with sides that fit."""
        check_images(x)
        check_size(x.shape[-2:], self.output_stride, self.extra)


def check_images(x: Tensor) -> None:
    """Raises ValueError unless x is a batch of images B x 3 x H x W."""
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(
            f"images of shape {tuple(x.shape)}: expected B x 3 x H x W; "
            "one image is image[None], an H x W x 3 array is permuted with (2, 0, 1)"
        )


def scaled_rates(rates: Iterable[int], old: int, new: int) -> tuple[int, ...]:
    """The rates that reach as many pixels at output_stride `new` as `rates` do at `old`.

    Raises ValueError where one would be no whole number.
    """
    rates = tuple(rates)
    if any(rate * old % new for rate in rates):
        raise ValueError(
            f"rates {rates} at output_stride {old} are no whole numbers at {new}: "
            f"build a model at output_stride {new} with rates of your choice"
        )
    return tuple(rate * old // new for rate in rates)


def set_dilation(conv: nn.Conv2d, dilation: int) -> None:
    """Dilate a convolution, with the padding that keeps the size at stride 1; weights stay.

    An even kernel at an odd dilation has no centre: it pads one more below and to the right.
    """
    conv.dilation = (dilation, dilation)
    reach = [dilation * (k - 1) for k in conv.kernel_size]
    conv.padding = "same" if any(r % 2 for r in reach) else tuple(r // 2 for r in reach)


def convolutions(module: nn.Module, depthwise: bool = False) -> list[nn.Conv2d]:
    """All of a module, in order; with `depthwise` those that mix no channels."""
    convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    return [conv for conv in convs if conv.groups > 1] if depthwise else convs


def scaled(width: float, channels: int) -> int:
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


def init_weights(module: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Weights of convolutions before a ReLU: He and others, 2015, arXiv 1502.01852; biases 0."""
    for conv in convolutions(module):
        nn.init.kaiming_normal_(conv.weight, mode=mode, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def init_classifier(conv: nn.Conv2d) -> None:
    """Weights from N(0, 0.01) and biases 0: at first all classes are about as probable."""
    nn.init.normal_(conv.weight, std=0.01)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
