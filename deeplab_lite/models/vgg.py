"""VGG-16 as a backbone: late strides traded for dilation, at any width. Lesson 03; v1, 3.1.

Simonyan and Zisserman, 2014 (arXiv 1409.1556). `features` has the keys of torchvision's vgg16, or
of its vgg16_bn, so that their weights load as they are.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeplab_lite.models.base import Backbone, convolutions, init_weights, scaled, set_dilation

#          convolutions, channels
STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class Pool(NamedTuple):
    """A max pool: sizes in units of the map that it reads."""

    kernel: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False

    def layer(self) -> nn.MaxPool2d:
        kernel, stride, padding, ceil_mode = self
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)


class Pools(NamedTuple):
    """The pools of a network; of pool4 and pool5 the form with stride 2, and the one with 1."""

    early: Pool  # pool1 to pool3
    pool4: tuple[Pool, Pool]
    pool5: tuple[Pool, Pool]


CELL, CAFFE, DENSE = Pool(2, 2), Pool(3, 2, 1, True), Pool(3, 1, 1)
NOTES = (Pool(2, 2, 0, True), Pool(2, 1, 1))
# "caffe" is the released LargeFOV, "base" v1's first model, "notes" a popular account of it.
POOLS = {
    "caffe": Pools(CAFFE, (CAFFE, DENSE), (CAFFE, DENSE)),
    "base": Pools(Pool(2, 2, 1, True), (CELL, Pool(2, 1)), (CAFFE, DENSE)),
    "notes": Pools(NOTES[0], NOTES, NOTES),
    "torchvision": Pools(CELL, (CELL, DENSE), (CELL, DENSE)),
}


class VGG16(Backbone):
    """The 13 convolutions and 5 pools of VGG-16: B x 3 x H x W -> {"low", "out"}. Lesson 03.

    - "low" is conv3_3 after its ReLU, at stride 4, "out" is pool5, at `output_stride`.
    - `width` multiplies all channel counts; `batch_norm` puts BN after each convolution.
    - `pools` is one of POOLS. At output_stride 16 pool5 loses its stride, at 8 pool4 too, and then
      conv5 gets dilation 2; `multi_grid` multiplies the dilations of conv5_1, conv5_2, conv5_3.

    `output_stride` can be set later, and the weights stay. With the pools "caffe" a smaller one
    then gives the same values at the positions that both have (lesson 02): pool5 is dilated too,
    which a network built at output stride 8 does without.

    Raises ValueError for another output_stride than 8, 16 and 32, for pools that are not among
    POOLS, and for a multi_grid of other than three multipliers.
    """

    def __init__(
        self,
        width: float = 1.0,
        batch_norm: bool = False,
        pools: str = "caffe",
        output_stride: int = 8,
        multi_grid: tuple[int, int, int] = (1, 1, 1),
    ):
        super().__init__()
        if pools not in POOLS:
            raise ValueError(f"pools {pools!r}: expected one of {', '.join(POOLS)}")
        if len(multi_grid) != 3 or min(multi_grid) < 1:
            raise ValueError(f"multi_grid {multi_grid!r}: expected three multipliers, as (1, 2, 4)")
        self.batch_norm, self.pools, self.multi_grid = batch_norm, pools, tuple(multi_grid)
        self.index: dict[str, int] = {}  # of relu1_1, .. pool5 in `features`
        self.channels = tuple(scaled(width, channels) for _, channels in STAGES)
        self.low_channels, self.out_channels = self.channels[2], self.channels[-1]
        layers: list[nn.Module] = []
        entering = 3
        for stage, (count, _) in enumerate(STAGES, 1):
            leaving = self.channels[stage - 1]
            for i in range(1, count + 1):
                layers.append(nn.Conv2d(entering, leaving, 3, padding=1))
                entering = leaving
                if batch_norm:
                    layers.append(nn.BatchNorm2d(leaving))
                self.index[f"relu{stage}_{i}"] = len(layers)
                layers.append(nn.ReLU(inplace=True))
            self.index[f"pool{stage}"] = len(layers)
            layers.append(POOLS[pools].early.layer())
        self.features = nn.Sequential(*layers)
        self.built_at = output_stride
        self.output_stride = output_stride
        init_weights(self)

    def set_strides(self, output_stride: int) -> None:
        pools = POOLS[self.pools]
        pool4, pool5 = pools.pool4[output_stride < 16], pools.pool5[output_stride < 32]
        self.features[self.index["pool4"]] = pool4.layer().train(self.training)
        self.features[self.index["pool5"]] = pool5.layer().train(self.training)
        if output_stride == 8 < self.built_at and pool5 == DENSE:  # its map is twice as dense now
            wide = nn.MaxPool2d(3, stride=1, dilation=2)  # PyTorch pads dilated pools by 1 at most;
            edge = nn.ZeroPad2d(2)  # after a ReLU a 0 takes no maximum
            self.features[self.index["pool5"]] = nn.Sequential(edge, wide).train(self.training)
        conv5 = convolutions(self.features)[-3:]
        for conv, multiplier in zip(conv5, self.multi_grid, strict=True):
            set_dilation(conv, multiplier * (2 if output_stride == 8 else 1))

    def maps(self, x: Tensor, *names: str) -> dict[str, Tensor]:
        """The maps called `names`, of relu1_1, .. relu5_3 and pool1, .. pool5, by name."""
        places = {self.index[name]: name for name in names}
        maps = {}
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in places:
                maps[places[i]] = x
        return maps

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.maps(x, "relu3_3", "pool5")
        return {"low": maps["relu3_3"], "out": maps["pool5"]}

    def load_torchvision(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take the convolutions of a state dict of torchvision's vgg16 or vgg16_bn.

        Raises ValueError if they are not those of this network, or its width is not 1.
        """
        features = {k: v for k, v in state_dict.items() if k.startswith("features.")}
        own = self.state_dict()
        if not own.keys() <= features.keys():
            name = "vgg16_bn" if self.batch_norm else "vgg16"
            raise ValueError(
                f"the state dict has not the convolutions of torchvision's {name}: pass that of "
                f"{name}, or choose batch_norm={not self.batch_norm}"
            )
        if wrong := [key for key, value in own.items() if features[key].shape != value.shape]:
            raise ValueError(
                f"{wrong[0]} is {tuple(features[wrong[0]].shape)} in the state dict and "
                f"{tuple(own[wrong[0]].shape)} here: torchvision's weights need width=1"
            )
        self.load_state_dict({key: features[key] for key in own})


def decimate(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """Every n-th row, column and channel of a convolution's weights, until they have `shape`.

    weight: O x I x k x k. Rows and columns are spread evenly and keep the first and the last: of 7
    remain 0, 2, 4, 6 or 0, 3, 6, which at dilation 2 or 3 stand where they stood. Lesson 03; v1,
    section 3.2.
    """
    outputs, inputs, height, width = shape
    rows = torch.linspace(0, weight.shape[2] - 1, height).round().long()
    columns = torch.linspace(0, weight.shape[3] - 1, width).round().long()
    channels = weight[:: weight.shape[0] // outputs, :: weight.shape[1] // inputs]
    return channels[:, :, rows][..., columns]
