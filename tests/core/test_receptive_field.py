"""The exact field against brute force, and against the published figures of known networks."""

import functools
import random
import warnings
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import prune
from torchvision import models, ops

from deeplab_lite.analysis.brute_force import reached
from deeplab_lite.atrous import with_output_stride
from deeplab_lite.receptive_field import (
    Layer,
    brute_force,
    chain,
    effective_receptive_field,
    receptive_fields,
)


class Fn(nn.Module):
    """A network written as a function of x and its layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x):
        return self.function(x, *self.layers)


def assert_every_unit_agrees(model, size):
    """The pixels that region() names are the ones that reach the unit, for every output unit."""
    field = receptive_fields(model, size)[""]
    reach = reached(model, size)
    assert tuple(reach[0].shape[1:]) == field.map_size
    for unit in product(*map(range, field.map_size)):
        hull = [rows[(slice(None), *unit)].nonzero().flatten() for rows in reach]
        seen = tuple((int(p[0]), int(p[-1])) for p in hull) if all(map(len, hull)) else None
        assert field.region(unit) == seen, (unit, field)
    return field


def conv(kernel=3, channels=2, **options):
    return nn.Conv2d(channels, channels, kernel, **options)


def folded(columns, x):
    return F.fold(columns.expand(-1, 9 * C, -1), x.shape[-2:], 3, padding=1)


C = 2
CASES = {
    "conv3": conv(),
    "conv3 p1": conv(padding=1),
    "conv1": conv(1),
    "conv 3x5": conv((3, 5), padding=(1, 2)),
    "even kernel": conv(4, padding=1),
    "same, even": conv(4, padding="same"),
    "same, dilated": conv(3, padding="same", dilation=3),
    "dilated": conv(3, dilation=2, padding=2),
    "dilated per axis": conv(3, dilation=(1, 3), padding=(1, 3)),
    "stride 2": conv(3, stride=2, padding=1),
    "stride over kernel": conv(2, stride=3),
    "stride per axis": conv(3, stride=(2, 1)),
    "depthwise": conv(3, groups=2, padding=1),
    "reflect": conv(3, padding=2, padding_mode="reflect", dilation=2),
    "replicate": conv(5, padding=2, padding_mode="replicate"),
    "circular": conv(3, padding=1, padding_mode="circular"),
    "padding wider than kernel": conv(3, padding=4),
    "transposed 4 s2 p1": nn.ConvTranspose2d(C, C, 4, stride=2, padding=1),
    "transposed 3 s2 with output padding": nn.ConvTranspose2d(C, C, 3, 2, 1, output_padding=1),
    "transposed with holes": nn.ConvTranspose2d(C, C, 1, stride=2),
    "transposed dilated": nn.ConvTranspose2d(C, C, 3, stride=2, dilation=2),
    "transposed then conv": nn.Sequential(nn.ConvTranspose2d(C, C, 4, 2, 1), conv(padding=1)),
    "transposed twice": nn.Sequential(
        nn.ConvTranspose2d(C, C, 4, 2, 1), nn.ConvTranspose2d(C, C, 3, 3), conv(padding=2)
    ),
    "max pool": nn.MaxPool2d(3, 2, 1),
    "max pool ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "max pool dilated": nn.MaxPool2d(3, 1, dilation=2),
    "avg pool ceil": nn.AvgPool2d(3, 2, ceil_mode=True),
    "avg pool ceil then conv": nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), conv(padding=1)),
    "lp pool": nn.LPPool2d(2, 3, 2),
    "adaptive avg": nn.AdaptiveAvgPool2d(3),
    "adaptive avg ragged": nn.AdaptiveAvgPool2d((4, 7)),
    "adaptive max": nn.AdaptiveMaxPool2d(3),
    "adaptive to (1, 3)": nn.AdaptiveAvgPool2d((1, 3)),
    "global avg": nn.AdaptiveAvgPool2d(1),
    "global max": nn.AdaptiveMaxPool2d(1),
    "global mean": Fn(lambda x: x.mean((2, 3), keepdim=True)),
    "row mean": Fn(lambda x: x.mean(3, keepdim=True)),
    "nearest x2": nn.Upsample(scale_factor=2),
    "nearest to 17": nn.Upsample(size=17),
    "nearest down": nn.Upsample(size=6),
    "nearest-exact": nn.Upsample(scale_factor=1.5, mode="nearest-exact"),
    "bilinear x2": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear x3": nn.Upsample(scale_factor=3, mode="bilinear"),
    "bilinear 1.7": nn.Upsample(scale_factor=1.7, mode="bilinear"),
    "bilinear 1.7 recomputed": Fn(
        lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True)
    ),
    "bilinear corners": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "bilinear corners to 23": nn.Upsample(size=23, mode="bilinear", align_corners=True),
    "bilinear down": nn.Upsample(size=5, mode="bilinear"),
    "bilinear down antialiased": Fn(
        lambda x: F.interpolate(x, size=5, mode="bilinear", antialias=True)
    ),
    "bicubic antialiased": Fn(lambda x: F.interpolate(x, size=5, mode="bicubic", antialias=True)),
    "bicubic x2": nn.Upsample(scale_factor=2, mode="bicubic"),
    "bicubic corners": nn.Upsample(scale_factor=2, mode="bicubic", align_corners=True),
    "bilinear then conv": nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear"), conv(padding=1)
    ),
    "corners then conv": nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), conv(padding=2)
    ),
    "crop by negative padding": nn.Sequential(nn.ZeroPad2d((-2, -1, 0, -3)), conv(padding=2)),
    "causal": Fn(lambda x, a: a(F.pad(x, (4, 0, 4, 0))), conv(3, dilation=2)),
    "asymmetric pad": nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), conv(3, stride=2)),
    "reflection pad": nn.Sequential(nn.ReflectionPad2d((1, 3, 2, 0)), conv()),
    "replication pad": nn.Sequential(nn.ReplicationPad2d(3), conv()),
    "constant pad": nn.Sequential(nn.ConstantPad2d(2, 7.0), conv()),
    "channel pad": Fn(
        lambda x, a: F.pad(a(x)[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)), conv(padding=1)
    ),
    "concat": Fn(lambda x, a, b: torch.cat([a(x), b(x)], 1), conv(padding=1), conv(5, padding=2)),
    "concat with constant": Fn(
        lambda x, a: torch.cat([a(x), torch.zeros_like(x)], 1), conv(padding=1)
    ),
    "concat, keep one part": Fn(
        lambda x, a, b: torch.cat([a(x), b(x)], 1)[:, :2], conv(padding=1), conv(5, padding=2)
    ),
    "concat along width": Fn(lambda x, a: torch.cat([a(x), x], 3), conv(padding=1)),
    "concat global and local": Fn(
        lambda x: torch.cat([x, x.mean((2, 3), keepdim=True).expand_as(x)], 1)[:, :2]
    ),
    "stack, max": Fn(lambda x, a: torch.stack([x, a(x)]).amax(0), conv(padding=1)),
    "residual": Fn(lambda x, a, b: x + b(a(x)), conv(padding=1), conv(padding=1)),
    "misaligned branches": Fn(lambda x, a: a(x) + x[:, :, 2:, :-2], conv()),
    "shifted sum": Fn(lambda x: x[:, :, 1:] + x[:, :, :-1]),
    "gate": Fn(lambda x, a: x * torch.sigmoid(a(x)), conv(5, padding=2)),
    "squeeze and excite": Fn(lambda x, a: x * a(x.mean((2, 3), keepdim=True)).sigmoid(), conv(1)),
    "maximum": Fn(lambda x, a: torch.maximum(x, a(x)), conv(padding=1)),
    "where": Fn(lambda x, a: torch.where(x > 0, a(x), x), conv(padding=1)),
    "functional relu6": Fn(lambda x, a: F.relu6(a(x), inplace=True), conv(padding=1)),
    "in-place sum": Fn(lambda x, a: a(x).add_(x), conv(padding=1)),
    "activations": nn.Sequential(
        conv(), nn.PReLU(), nn.Hardswish(), nn.GELU(), nn.Softplus(), nn.ELU(), nn.Mish(), nn.CELU()
    ),
    "glu": Fn(lambda x, a: F.glu(a(x), 1), nn.Conv2d(C, 4, 3, padding=1)),
    "softmax over channels": nn.Sequential(conv(), nn.Softmax(1)),
    "softmax over width": nn.Softmax(3),
    "strided slice": Fn(lambda x, a: a(x[:, :, ::2, 1::3]), conv(padding=1)),
    "narrow": Fn(lambda x: x.narrow(2, 3, 5)),
    "one row": Fn(lambda x: x[:, :, 4:5]),
    "pixel shuffle": nn.Sequential(
        nn.Conv2d(C, 8, 3, padding=1), nn.PixelShuffle(2), conv(padding=1)
    ),
    "pixel unshuffle": nn.Sequential(nn.PixelUnshuffle(2), conv(3, 8, padding=1)),
    "unshuffle, shuffle": nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)),
    "unshuffle, depthwise, shuffle": nn.Sequential(
        nn.PixelUnshuffle(2), conv(3, 8, padding=1, groups=8), nn.PixelShuffle(2)
    ),
    "flip": Fn(lambda x, a: a(x.flip(3)), conv(3, padding=1)),
    "flip and sum": Fn(lambda x: x + x.flip(2)),
    "flip twice": Fn(lambda x, a: a(x.flip((2, 3))).flip((2, 3)), conv(4, padding=1, stride=2)),
    "roll": Fn(lambda x: x.roll(3, 2)),
    "transposed image": Fn(lambda x, a: a(x.transpose(2, 3)), conv((1, 3))),
    "transposed and sum": Fn(lambda x, a: a(x + x.transpose(2, 3)), conv(3, padding=1)),
    "layer norm over channels": Fn(
        lambda x, a, n: n(a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), conv(3), nn.LayerNorm(C)
    ),
    "patch mean by reshape": Fn(lambda x: x.reshape(-1, C, 6, 2, 4, 3).mean((3, 5))),
    "space to batch and back": Fn(
        lambda x, a: (
            a(x.reshape(-1, C, 6, 2, 6, 2).permute(0, 3, 5, 1, 2, 4).reshape(-1, C, 6, 6))
            .reshape(-1, 2, 2, C, 6, 6)
            .permute(0, 3, 4, 1, 5, 2)
            .reshape(-1, C, 12, 12)
        ),
        conv(3, padding=1),
    ),
    "unfold": Fn(lambda x: F.unfold(x, 3, padding=1).reshape(-1, C * 9, 12, 12)),
    "fold of unfold": Fn(lambda x, a: folded(F.unfold(a(x), 3, padding=1), x), conv(padding=1)),
    "fold of mixed columns": Fn(lambda x: folded(F.unfold(x, 3, padding=1).mean(1, True), x)),
    "fold with a stride": Fn(
        lambda x: F.fold(F.unfold(x, 2, stride=2).flip(2), x.shape[-2:], 2, stride=2)
    ),
    "tensor unfold": Fn(lambda x: x.unfold(2, 3, 2).mean(-1)),
    "canvas filled by slices": Fn(
        lambda x, a: (
            y := torch.zeros(x.shape, dtype=x.dtype, device=x.device),
            y[:, :, ::2].copy_(a(x)[:, :, 1::2]),
            y,
        )[-1],
        conv(3, padding=1),
    ),
    "write into a slice": Fn(lambda x, a: (y := a(x), y[:, :, :3].zero_(), y)[-1], conv(padding=1)),
    "part of a copy replaced": Fn(
        lambda x, a: (y := x.clone(), y[:, :, ::3].copy_(a(x)[:, :, ::3]), y)[-1], conv(padding=1)
    ),
    "einsum": Fn(lambda x: torch.einsum("bchw,dc->bdhw", x, torch.ones(3, C, dtype=x.dtype))),
    "blur with a constant kernel": Fn(
        lambda x: F.conv2d(x, torch.ones(C, 1, 3, 3, dtype=x.dtype), padding=1, groups=C, stride=2)
    ),
    "strips": Fn(
        lambda x, a, b: a(x.mean(3, keepdim=True)) + b(x.mean(2, keepdim=True)),
        conv((3, 1), padding=(1, 0)),
        conv((1, 3), padding=(0, 1)),
    ),
    "pyramid pooling": Fn(
        lambda x: torch.cat(
            [
                F.interpolate(F.adaptive_avg_pool2d(x, k), x.shape[2:], mode="bilinear")
                for k in (2, 3)
            ],
            1,
        )
    ),
    "windows by unfold": Fn(lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))),
    "rotated": Fn(lambda x, a: a(torch.rot90(x, 1, (2, 3))), conv((1, 3))),
    "mirrored branch": Fn(lambda x, a: a(x) + a(x.flip(3)).flip(3), conv(padding=1)),
    "non-local block": Fn(lambda x: (x.flatten(2).mT @ x.flatten(2)).softmax(-1) @ x.flatten(2).mT),
    "index select": Fn(lambda x: x.index_select(3, torch.tensor([0, 4, 9]))),
    "cumsum": Fn(lambda x: x.cumsum(2)),
    "batch norm, eval": nn.Sequential(conv(), nn.BatchNorm2d(C)).eval(),
    "batch norm, train": nn.Sequential(conv(), nn.BatchNorm2d(C)).train(),
    "batch norm without statistics": nn.BatchNorm2d(C, track_running_stats=False).eval(),
    "instance norm": nn.InstanceNorm2d(C),
    "group norm": nn.GroupNorm(2, C),
    "layer norm over all": nn.LayerNorm((C, 12, 12)),
    "dropout, train": nn.Sequential(conv(), nn.Dropout(), nn.Dropout2d()).train(),
    "local response": nn.LocalResponseNorm(2),
    "flatten, linear": nn.Sequential(nn.Flatten(), nn.Linear(C * 144, 3)),
    "linear along width": nn.Linear(12, 5),
    "identity": nn.Identity(),
    "matmul with itself": Fn(lambda x: x @ x.transpose(2, 3)),
    "attention": Fn(
        lambda x: F.scaled_dot_product_attention(*[x.flatten(2).mT] * 3).mT.reshape(x.shape)
    ),
    "repeat": Fn(lambda x: x.repeat(1, 1, 2, 1)),
    "repeat interleave": Fn(lambda x: x.repeat_interleave(2, 2)),
    "split": Fn(lambda x, a: a(x.split(6, 2)[1]), conv(padding=1)),
    "chunk and swap": Fn(lambda x: torch.cat(x.chunk(2, 3)[::-1], 3)),
    "channel shuffle": nn.Sequential(
        conv(3, groups=2, padding=1), nn.ChannelShuffle(2), conv(3, groups=2, padding=1)
    ),
    "weight norm": nn.utils.parametrizations.weight_norm(conv(3, padding=1)),
    "shared layer": Fn(lambda x, a: a(a(x)), conv(3, padding=1)),
    "one unit, then padding": nn.Sequential(conv(12), conv(3, padding=1)),
    "one unit, then up": nn.Sequential(
        conv(10, stride=3), nn.Upsample(scale_factor=4), conv(padding=1)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_unit_of_every_layer_kind(name):
    assert_every_unit_agrees(CASES[name], (C, 12, 12))


@pytest.mark.parametrize(
    "name", ["same, even", "max pool ceil", "bilinear x2", "transposed then conv"]
)
@pytest.mark.parametrize("size", [(C, 7, 10), (C, 13, 5)])
def test_sizes_that_fit_badly(name, size):
    assert_every_unit_agrees(CASES[name], size)


def test_one_and_three_dimensions():
    wave = nn.Sequential(*[nn.Conv1d(C, C, 2, dilation=2**i) for i in range(5)])
    field = assert_every_unit_agrees(wave, (C, 64))
    assert field.size == (32,) and field.stride == (1,)
    volume = nn.Sequential(nn.Conv3d(C, C, (1, 3, 3), padding=(0, 1, 1)), nn.MaxPool3d(2))
    assert assert_every_unit_agrees(volume, (C, 4, 6, 8)).size == (2, 4, 4)


def test_channels_last_maps_keep_their_axes():
    model = Fn(lambda x, a: a(x).permute(0, 2, 3, 1), conv((3, 1)))
    field = receptive_fields(model, (C, 12, 9))[""]
    assert (field.map_size, field.size) == ((10, 9), (3, 1))


def test_dicts_and_tuples_give_an_entry_for_each_tensor():
    model = Fn(lambda x, a: {"out": a(x), "aux": (x, [a(a(x))])}, conv(padding=1))
    fields = receptive_fields(model, (C, 9, 9))
    assert list(fields) == ["layers.0", "out", "aux.0", "aux.1.0"]
    assert [f.size[0] for f in fields.values()] == [5, 3, 1, 5]
    assert brute_force(model, (C, 9, 9), (4, 4), "out") == ((3, 5), (3, 5))


# --- random networks -----------------------------------------------------------------------------

sizes_1_to_4 = st.integers(1, 4)


@st.composite
def random_layer(draw):
    kind = draw(
        st.sampled_from(["conv", "depthwise", "max", "avg", "transposed", "up", "pad", "relu6"])
    )
    k, s = draw(sizes_1_to_4), draw(st.integers(1, 3))
    p, d = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    if kind in ("conv", "depthwise"):
        return conv(k, stride=s, padding=p, dilation=d, groups=1 if kind == "conv" else C)
    if kind == "max":
        return nn.MaxPool2d(k, s, min(p, k // 2), d, ceil_mode=draw(st.booleans()))
    if kind == "avg":
        return nn.AvgPool2d(k, s, min(p, k // 2), ceil_mode=draw(st.booleans()))
    if kind == "transposed":
        return nn.ConvTranspose2d(C, C, k, s, min(p, k - 1), dilation=d)
    if kind == "up":
        mode = draw(st.sampled_from(["nearest", "bilinear", "bicubic"]))
        corners = {} if mode == "nearest" else {"align_corners": draw(st.booleans())}
        return nn.Upsample(scale_factor=draw(st.integers(1, 3)), mode=mode, **corners)
    if kind == "pad":
        return nn.ZeroPad2d([draw(st.integers(-1, 2)) for _ in range(4)])
    return nn.ReLU6()


def runs(model, shape):
    """Whether it gives a map, not too large, and none on the way is empty."""
    pixels = []
    hook = register_module_forward_hook(lambda layer, given, out: pixels.append(out.numel()))
    try:
        out = model(torch.zeros(1, *shape))
    except RuntimeError:
        return False
    finally:
        hook.remove()
    return min(pixels) > 0 and max(out.shape[2:]) <= 40


stacks = st.lists(random_layer(), min_size=1, max_size=4).map(lambda layers: nn.Sequential(*layers))


@settings(max_examples=120, deadline=None)
@given(stacks, st.integers(5, 14), st.integers(5, 14))
def test_random_stacks(model, height, width):
    shape = (C, height, width)
    if runs(model, shape):
        assert_every_unit_agrees(model, shape)


@settings(max_examples=80, deadline=None)
@given(
    stacks, stacks, st.sampled_from(["sum", "concat", "gate"]), random_layer(), st.integers(6, 14)
)
def test_random_two_branch_graphs(left, right, join, last, size):
    """Branches of unequal fields and alignments, cropped to a common size."""

    def forward(x, left, right, last):
        a, b = left(x), right(x)
        h, w = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
        a, b = a[:, :, :h, :w], b[:, :, :h, :w]
        mixed = {"sum": a + b, "gate": a * b.sigmoid(), "concat": torch.cat([a, b], 1)[:, 1:3]}[
            join
        ]
        return last(mixed)

    model, shape = Fn(forward, left, right, last), (C, size, size + 1)
    if runs(model, shape):
        assert_every_unit_agrees(model, shape)


@given(
    st.lists(
        st.tuples(sizes_1_to_4, st.integers(1, 3), st.integers(0, 3), st.integers(1, 3)), max_size=4
    )
)
@settings(max_examples=60, deadline=None)
def test_the_textbook_formula_is_the_exact_field_of_a_chain(layers):
    model = nn.Sequential(
        nn.Identity(), *[nn.Conv1d(1, 1, k, s, padding=p, dilation=d) for k, s, p, d in layers]
    )
    fields = receptive_fields(model, (1, 900))
    for number, textbook in enumerate(chain(layers), 1):
        exact = fields[str(number)]
        assert (exact.size[0], exact.stride[0], exact.padding[0]) == textbook
        assert exact.is_uniform and not exact.is_global
        u = exact.map_size[0] // 2
        first = u * textbook.stride - textbook.padding
        assert exact.region(u, clip=False)[0] == (first, first + textbook.size - 1)
        assert exact.center(u)[0] == first + (textbook.size - 1) / 2


# --- known networks ------------------------------------------------------------------------------

# model, input, layer, size, stride, padding
KNOWN = [
    ("alexnet", 224, "features", 195, 32, 66),
    ("vgg16", 224, "features", 212, 32, 90),
    ("resnet18", 224, "layer4", 435, 32, 217),
    ("resnet34", 224, "layer4", 899, 32, 449),
    ("resnet50", 224, "layer4", 427, 32, 213),
    ("resnet101", 224, "layer4", 971, 32, 485),
    ("resnet152", 224, "layer4", 1451, 32, 725),
    ("densenet121", 224, "features", 2071, 32, 1021),
    ("mobilenet_v2", 224, "features", 491, 32, 245),
    ("inception_v3", 299, "Mixed_7c", 1311, 32, 618),
]


def build(name):
    options = {"init_weights": False} if name in ("inception_v3", "vgg16") else {}
    if name.startswith("deeplab"):
        return getattr(models.segmentation, name)(weights=None, weights_backbone=None).eval()
    return getattr(models, name)(weights=None, **options).eval()


@pytest.mark.parametrize("name, size, layer, field, stride, padding", KNOWN)
def test_torchvision_classifiers(name, size, layer, field, stride, padding):
    rf = receptive_fields(build(name), size)[layer]
    assert (rf.size, rf.stride, rf.padding) == ((field,) * 2, (stride,) * 2, (padding,) * 2)
    assert rf.is_uniform and not rf.is_global
    assert rf.region(0, clip=False)[0] == (-padding, field - padding - 1)


@pytest.mark.parametrize("kernel, size", [(7, 404), (4, 308), (3, 276)])
def test_vgg16_with_fc6_as_a_convolution(kernel, size):
    model = nn.Sequential(*build("vgg16").features, nn.Conv2d(512, 8, kernel))
    assert receptive_fields(model, 320)[""].size == (size, size)


def large_fov(*head):
    """DeepLab-LargeFOV as released up to pool5, then the head: the last two pools stride by 1."""
    layers, channels = [], 3
    for block, (out, count) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
        rate = 2 if block == 4 else 1
        for _ in range(count):
            layers += [nn.Conv2d(channels, out, 3, padding=rate, dilation=rate), nn.ReLU()]
            channels = out
        layers.append(nn.MaxPool2d(3, 2 if block < 3 else 1, 1, ceil_mode=True))
    return nn.Sequential(*layers, *head)


def fc6(rate):
    return nn.Conv2d(512, 8, 3, padding=rate, dilation=rate)


@pytest.mark.parametrize("rate, size", [(6, 323), (12, 419), (18, 515), (24, 611)])
def test_branches_of_v2_on_vgg16(rate, size):
    field = receptive_fields(large_fov(fc6(rate)), 513)[""]
    assert (field.size, field.stride, field.map_size) == ((size,) * 2, (8, 8), (65, 65))


def test_large_fov_with_its_average_pool():
    field = receptive_fields(large_fov(nn.AvgPool2d(3, 1, 1), fc6(12)), 321)[""]
    assert (field.size, field.map_size) == ((435, 435), (41, 41))


def test_every_block_of_inception():
    """Each branch by hand: the widest one is a chain, and its blocks follow on each other."""
    fields = receptive_fields(build("inception_v3"), 299)
    measured = {n: f.size[0] for n, f in fields.items() if n.startswith("Mixed") and "." not in n}
    stem = [(3, 2), (3,), (3, 1, 1), (3, 2), (1,), (3,), (3, 2)]
    widest = {
        "Mixed_5b": [(3, 1, 1)] * 2, "Mixed_5c": [(3, 1, 1)] * 2, "Mixed_5d": [(3, 1, 1)] * 2,
        "Mixed_6a": [(3, 1, 1), (3, 2)],
        **{f"Mixed_6{block}": [(7, 1, 3)] * 2 for block in "bcde"},
        "Mixed_7a": [(7, 1, 3), (3, 2)],
        "Mixed_7b": [(3, 1, 1)] * 2, "Mixed_7c": [(3, 1, 1)] * 2,
    }  # fmt: skip
    layers, expected = list(stem), {}
    for block, added in widest.items():
        layers += added
        expected[block] = chain(layers)[-1].size
    assert measured == expected


@pytest.mark.parametrize(
    "name, layer3, layer4", [("deeplabv3_resnet50", 267, 427), ("deeplabv3_resnet101", 811, 971)]
)
def test_every_branch_of_aspp(name, layer3, layer4):
    fields = receptive_fields(build(name), 513)
    assert fields["backbone.layer3"].size[0] == layer3
    assert fields["backbone.layer4"].size[0] == layer4
    branches = [fields[f"classifier.0.convs.{k}"].size[0] for k in range(4)]
    assert branches == [layer4, *(layer4 + 2 * rate * 8 for rate in (12, 24, 36))]
    pooled, whole = fields["classifier.0.convs.4"], fields["out"]
    assert pooled.is_global and whole.is_global and whole.size == (513, 513)
    assert (
        fields["classifier.0.convs.3"].stride == (8, 8) and not fields["backbone.layer4"].is_global
    )


def test_stride_on_the_first_1x1_makes_resnet50_483():
    """The caffe ResNet and its papers; torchvision strides in the 3x3 instead."""
    model = build("resnet50")
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = stage[0].conv2.stride, stage[0].conv1.stride
    assert receptive_fields(model, 224)["layer4"].size == (483, 483)


# --- conventions, warnings, errors ---------------------------------------------------------------


def test_conventions_of_the_edge_cases():
    def field(model, size=(C, 10, 10)):
        return receptive_fields(model, size)[""]

    same = field(conv(4, padding="same"))
    assert (same.size, same.padding) == ((4, 4), (1, 1))
    ceil = field(nn.AvgPool2d(3, 2, ceil_mode=True), (C, 20, 20))
    assert ceil.map_size == (10, 10) and ceil.region(9)[0] == (18, 19)
    assert ceil.region(9, clip=False)[0] == (18, 20)
    up = field(nn.ConvTranspose2d(C, C, 4, 2, 1))
    assert (up.size, up.stride, up.is_uniform) == ((2, 2), (Fraction(1, 2),) * 2, False)
    assert [
        field(nn.Upsample(scale_factor=2, mode=m)).size[0]
        for m in ("nearest", "bilinear", "bicubic")
    ] == [1, 2, 4]
    adaptive = field(nn.AdaptiveAvgPool2d(3))
    assert [adaptive.region(u)[0] for u in range(3)] == [(0, 3), (3, 6), (6, 9)]
    assert adaptive.is_uniform and adaptive.stride == (3, 3)
    assert field(Fn(lambda x, a, b: x + b(a(x)), conv(padding=1), conv(padding=1))).size == (5, 5)
    tall = field(conv((3, 1), stride=(2, 1)))
    assert (tall.size, tall.stride, tall.map_size) == ((3, 1), (2, 1), (4, 10))


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(C).train(), nn.InstanceNorm2d(C), nn.GroupNorm(1, C), nn.AdaptiveAvgPool2d(1)],
)
def test_norms_and_global_pools_see_the_whole_input(norm):
    field = receptive_fields(nn.Sequential(conv(padding=1), norm, conv(padding=1)), (C, 30, 20))[""]
    assert field.is_global and field.size == (30, 20) and field.region(0) == ((0, 29), (0, 19))


def test_a_pool_over_channels_with_unlike_fields_is_global():
    """As in GhostNet, which concatenates a map with a convolution of it."""
    ghost = Fn(lambda x, a: torch.cat([x, a(x)], 1).mean((2, 3)), conv(padding=1))
    assert receptive_fields(ghost, (C, 9, 9))[""].is_global


def by_parity(x, a):
    """Every second row and column is averaged, as MobileViT's attention reads them."""
    tiles = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return a(tiles.mean((2, 4), keepdim=True).expand_as(tiles).flatten(4).flatten(2, 3))


def test_a_mean_over_a_map_whose_units_are_alike_is_global():
    model = Fn(lambda x, a: by_parity(x, a).mean((2, 3)), conv())
    assert assert_every_unit_agrees(model, (C, 8, 8)).is_global


def test_a_gate_pooled_by_a_window_of_the_whole_map_is_global():
    def gated(x, a, b):
        return b(a(x) * F.avg_pool2d(a(x), x.shape[-2:]))

    model = Fn(gated, conv(padding=1), conv(stride=2, padding=1))
    field = assert_every_unit_agrees(model, (C, 7, 9))
    assert field.is_global and field.is_uniform
    corner = Fn(lambda x, a: a(x) * a(x)[..., :1, :1], conv(padding=1))
    assert not assert_every_unit_agrees(corner, (C, 7, 9)).is_global
    assert not receptive_fields(nn.Sequential(conv(), nn.AvgPool2d(5)), (C, 7, 7))[""].is_global


def test_a_map_one_unit_wide_is_not_taken_for_channels_last():
    """Its channels see different pixels, and its last row nothing but padding."""

    def forward(x, a, b):
        wide, narrow = a(x), b(x)
        joined = torch.cat([wide[:, :, :1, :2], narrow], 1)[:, 1:3]
        return F.pad(joined, (0, -1, 0, 1))

    model = Fn(forward, conv(1), conv(4, padding=2, dilation=3))
    assert assert_every_unit_agrees(model, (C, 6, 7)).map_size == (2, 1)


def test_a_sum_where_a_unit_sees_nothing_has_a_field():
    left = nn.MaxPool2d(4, 2, 2, dilation=3)
    right = nn.Sequential(conv(1, stride=2), nn.ConvTranspose2d(C, C, 1, 2))
    model = Fn(lambda x, a, b: a(x) + b(x)[:, :, :1, :2], left, right)
    assert_every_unit_agrees(model, (C, 7, 8))


# --- operations whose reach depends on values ----------------------------------------------------


def assert_what_changes_a_unit_is_its_field(model, size, draws=12):
    """A row of the image changes, and so do units: over a few draws, all units that see it."""
    field = receptive_fields(model, size)[""]
    model, hulls = model.double(), []
    for axis, rows in enumerate(size[1:], 2):
        changed = torch.zeros(rows, *field.map_size, dtype=torch.bool)
        for seed, row in product(range(draws), range(rows)):
            torch.manual_seed(seed)
            image = torch.randn(1, *size, dtype=torch.float64)
            other = image.clone()
            other.select(axis, row).mul_(-20)
            with torch.no_grad():
                results = []
                for x in (image, other):
                    torch.manual_seed(seed)  # of fractional pooling
                    results.append(model(x))
            changed[row] |= ((results[0] - results[1]).abs() > 1e-5).amax((0, 1))
        hulls.append(changed)
    for unit in product(*map(range, field.map_size)):
        seen = [rows[(slice(None), *unit)].nonzero().flatten() for rows in hulls]
        hull = tuple((int(p[0]), int(p[-1])) for p in seen) if all(map(len, seen)) else None
        assert field.region(unit) == hull, unit


class SegNet(nn.Module):
    """One level: pooled, convolved, unpooled to where the largest were, convolved."""

    def __init__(self, rank):
        super().__init__()
        conv, pool, unpool = (getattr(nn, f"{n}{rank}d") for n in ("Conv", "MaxPool", "MaxUnpool"))
        self.first, self.last = (conv(C, C, 3, padding=1) for _ in range(2))
        self.pool, self.unpool = pool(2, 2, return_indices=True), unpool(2, 2)

    def forward(self, x):
        x, indices = self.pool(self.first(x))
        return self.last(self.unpool(x, indices))


class Sampled(nn.Module):
    """A constant grid, an affine map made from a buffer."""

    def __init__(self, **options):
        super().__init__()
        self.options, self.conv = options, conv(padding=1)
        self.register_buffer("theta", torch.tensor([[[0.5, 0.2, 0.1], [-0.1, 0.7, -0.2]]]))

    def forward(self, x):
        grid = F.affine_grid(self.theta.to(x), (1, C, 7, 6), align_corners=False)
        return F.grid_sample(self.conv(x), grid, align_corners=False, **self.options)


def resampled_in_place(x):
    rows, columns = (torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[2:])
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    return F.grid_sample(x, grid[None], align_corners=True)


def filtered(dims):
    """A filter in the frequencies of these dimensions, as a global filter network has."""

    def forward(x, a):
        spectrum = torch.fft.rfftn(a(x), dim=dims)
        size = spectrum.shape[2:]
        weight = torch.arange(size.numel(), dtype=x.dtype, device=x.device).view(size).sqrt()
        return torch.fft.irfftn(spectrum * weight, s=[x.shape[d] for d in dims], dim=dims)

    return Fn(forward, conv(padding=1))


VALUES = {
    "unpooling": (SegNet(2), (C, 6, 8)),
    "unpooling, 1-D": (SegNet(1), (C, 12)),
    "grid": (Sampled(), (C, 9, 10)),
    "grid, nearest": (Sampled(mode="nearest"), (C, 9, 10)),
    "grid, bicubic, reflected": (Sampled(mode="bicubic", padding_mode="reflection"), (C, 9, 10)),
    "grid, edges": (Sampled(padding_mode="border"), (C, 9, 10)),
    "grid of each position": (Fn(resampled_in_place), (C, 9, 10)),
    "fractional pool": (nn.FractionalMaxPool2d(3, output_size=5), (C, 9, 10)),
    "frequencies": (filtered((2, 3)), (C, 6, 7)),
    "frequencies of rows": (filtered((3,)), (C, 6, 7)),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_changes_a_unit_is_its_field(name):
    assert_what_changes_a_unit_is_its_field(*VALUES[name])


@pytest.mark.parametrize(
    "function",
    [lambda x, a: a(x.reshape(1, C, 8, 8)), lambda x, a: a(x).reshape(1, -1, 4, 4)],
    ids=["more images do not run", "more images become channels"],
)
def test_brute_force_takes_a_network_of_one_image(function):
    assert_every_unit_agrees(Fn(function, conv(stride=2, padding=1)), (C, 8, 8))


def test_brute_force_unpools_to_every_place_of_a_window():
    assert_every_unit_agrees(SegNet(2), (C, 6, 8))
    assert_every_unit_agrees(SegNet(1), (C, 12))


def warped(x, flow):
    grid = F.affine_grid(torch.eye(2, 3)[None].to(x), x.shape, align_corners=False)
    return F.grid_sample(x, grid + flow(x).permute(0, 2, 3, 1), align_corners=False)


def sampled_at_its_values(x):
    grid = torch.zeros(1, 9, 9, 2, device=x.device)
    grid[..., 0] = x[:, 0]
    return F.grid_sample(x, grid, align_corners=False)


def unpooled_beside(x):
    largest, indices = F.max_pool2d(x, 3, return_indices=True)
    return F.max_unpool2d(largest, (indices + 1) % 81, 3)


def deformed(x, offsets):
    return ops.deform_conv2d(x, offsets(x), torch.ones(C, C, 3, 3).to(x), padding=1)


@pytest.mark.parametrize(
    "function, layer, message",
    [
        (warped, conv(padding=1), r"grid_sampler_2d \(it reads where the values of its grid say"),
        (sampled_at_its_values, None, r"grid_sampler_2d \(it reads where the values of its grid"),
        (unpooled_beside, None, r"max_unpool2d \(its indices do not come from a max pool as"),
        (deformed, nn.Conv2d(C, 18, 3, padding=1), r"deform_conv2d \(it reads where its offsets"),
    ],
)
def test_positions_made_from_the_image_may_be_anywhere(function, layer, message):
    model = Fn(function, *[layer] if layer else [])
    with pytest.warns(UserWarning, match=message):
        assert receptive_fields(model, (C, 9, 9))[""].is_global


# --- any network ---------------------------------------------------------------------------------


def test_batch_norm_in_training_gets_a_warning():
    model = nn.Sequential(conv(), nn.BatchNorm2d(C))
    with pytest.warns(UserWarning, match=r"batch norm in training .* call model.eval\(\)"):
        assert receptive_fields(model, (C, 9, 9))[""].is_global
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert receptive_fields(model.eval(), (C, 9, 9))[""].size == (3, 3)
        receptive_fields(nn.InstanceNorm2d(C), (C, 9, 9))  # eval() would change nothing


def stack():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)).eval()


def with_first(change):
    model = stack()
    change(model[0])
    model(torch.zeros(1, 3, 9, 9))  # leaves a computed weight
    return model


WRAPPED = {
    "weight norm": lambda: with_first(nn.utils.weight_norm),
    "spectral norm": lambda: with_first(nn.utils.parametrizations.spectral_norm),
    "pruned": lambda: with_first(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
    "DataParallel": lambda: nn.DataParallel(stack()),
    "compiled": lambda: torch.compile(stack()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(stack()),
    "scripted": lambda: torch.jit.script(stack()),
    "traced": lambda: torch.jit.trace(stack(), torch.zeros(1, 3, 9, 9)),
    "scripted inside": lambda: nn.Sequential(torch.jit.script(stack())),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_networks_have_the_field_of_what_they_wrap(name):
    model = WRAPPED[name]()
    first = next(model.children())
    state = {n: t for n, t in vars(first).items() if isinstance(t, torch.Tensor)}
    field = receptive_fields(model, 17)[""]
    assert (field.size, field.stride, field.map_size) == ((7, 7), (2, 2), (7, 7))
    assert brute_force(model, 17, 3) == field.region(3) == ((5, 11), (5, 11))
    assert all(vars(first)[n] is t for n, t in state.items())


def test_a_distributed_network_is_looked_at_without_its_processes():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(stack())
        assert receptive_fields(model, 17, ["module.0"])["module.0"].size == (3, 3)
        assert with_output_stride(model, 1)[0].stride == (1, 1)
    finally:
        torch.distributed.destroy_process_group()


class HeadFirst(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.head, self.backbone = nn.Conv2d(8, 5, 1), nn.Conv2d(channels, 8, 3, 2, 1)

    def forward(self, x):
        return self.head(self.backbone(x))


class ChannelGate(nn.Module):
    """The 1-D convolution of ECA-Net, registered before the 2-D one."""

    def __init__(self):
        super().__init__()
        self.gate, self.body = nn.Conv1d(1, 1, 3, padding=1), nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        y = self.body(x)
        return y * self.gate(y.mean((2, 3))[:, None])[:, 0, :, None, None]


def grey(x, a):
    assert x.shape[1] == 1
    return a(x.expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    "model, channels",
    [
        (HeadFirst(), 3),
        (Fn(grey, nn.Conv2d(3, 8, 3)), 1),
        (Fn(lambda x, a: a(x.repeat(1, 3, 1, 1)), nn.Conv2d(3, 8, 3)), 1),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 8, 3)), 1),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(20, 8, 3)), 5),
        (ChannelGate(), 3),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 8, 3)), 3),
        (HeadFirst(4), 4),
        (conv(5), C),
    ],
)
def test_channels_and_rank_are_those_the_network_runs_on(model, channels):
    """Whatever layer was registered first."""
    (field,) = receptive_fields(model, 16, [""]).values()
    with_channels = receptive_fields(model, (channels, 16, 16), [""])[""]
    batched = receptive_fields(model, (1, channels, 16, 16), [""])[""]
    assert field.region(0) == with_channels.region(0) == batched.region(0)
    assert field.input_size == (16, 16)


def test_a_volume_is_taken_for_one_though_a_2d_layer_comes_first():
    model = Fn(lambda x, late, a: late(a(x).amax(2)), conv(), nn.Conv3d(1, C, 3))
    assert receptive_fields(model, 9, [""])[""].input_size == (9, 9, 9)


def test_a_hundred_layers_reach_two_hundred_pixels():
    """A gradient probe underflows or saturates here; the field does not."""
    model = nn.Sequential(
        *[layer for _ in range(100) for layer in (conv(1 + 2, padding=1), nn.ReLU6())]
    )
    shape = (C, 3, 205)
    assert receptive_fields(model, shape)[""].region((1, 102)) == ((0, 2), (2, 202))
    assert brute_force(model, shape, (1, 102)) == ((0, 2), (2, 202))


def test_an_unknown_operation_is_named_and_sees_everything():
    model = Fn(lambda x, a: torch.linalg.matrix_exp(a(x)), conv())
    for _ in range(2):  # each call tells it, at the caller's line
        with pytest.warns(UserWarning, match="no rule for aten::linalg_matrix_exp:") as told:
            fields = receptive_fields(model, (C, 9, 9))
        assert told[0].filename == __file__
    assert fields["layers.0"].size == (3, 3) and fields[""].is_global


def test_weights_made_from_the_image_count_as_seen():
    def forward(x, a):
        return F.conv2d(x, a(x).mean((0, 2, 3)).reshape(C, 1, 1, 1).expand(C, C, 3, 3))

    assert receptive_fields(Fn(forward, conv()), (C, 9, 9))[""].region(0) == ((0, 8), (0, 8))


def test_a_map_filled_with_a_value_of_the_image_sees_what_the_value_sees():
    filled = Fn(lambda x: torch.empty_like(x).fill_(x[0, 0, 2, 3]))
    assert receptive_fields(filled, (C, 9, 9))[""].region(0) == ((2, 2), (3, 3))
    drawn = Fn(lambda x, a: torch.bernoulli(a(x).sigmoid()), conv())
    assert receptive_fields(drawn, (C, 9, 9))[""].size == (3, 3)


LOOKS = {
    "receptive_fields": lambda model: receptive_fields(model, (C, 16, 16)),
    "brute_force": lambda model: brute_force(model, (C, 9, 9), (0, 0)),
    "effective": lambda model: effective_receptive_field(model, torch.ones(2, C, 16, 16)),
    "with_output_stride": lambda model: with_output_stride(model, 1),
}


@pytest.mark.filterwarnings("ignore:batch norm in training")
@pytest.mark.parametrize("look", LOOKS)
def test_the_model_is_left_as_it_was(look):
    """And so is what its hooks have written, and the global seeds."""
    seen = {}

    def keep(module, inputs, out, name):
        seen[name] = out

    def draw():
        return torch.rand(3).tolist(), np.random.rand(), random.random()  # noqa: NPY002

    stochastic = Fn(lambda x, a: a(x) * (sum(draw()[1:]) < 2), conv(stride=2))
    model = nn.Sequential(stochastic, nn.BatchNorm2d(C)).train()
    model[1].register_forward_hook(functools.partial(keep, name="map"))
    model(torch.rand(2, C, 16, 16))
    kept, before = seen["map"], {n: t.clone() for n, t in model.state_dict().items()}
    with torch.random.fork_rng():
        states = random.getstate(), np.random.get_state()  # noqa: NPY002
        drawn = draw()
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    with torch.random.fork_rng():
        LOOKS[look](model)
        assert draw() == drawn
    after = model.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before) and model.training
    assert seen["map"] is kept and sum(len(m._forward_hooks) for m in model.modules()) == 1


def test_layers_are_chosen_by_name_and_misspellings_get_the_nearest():
    model = build("resnet18")
    assert list(receptive_fields(model, 64, ["layer3", "layer1.0"])) == ["layer3", "layer1.0"]
    with pytest.raises(ValueError, match=r"no layer 'layer5' ran.*'layer4'"):
        receptive_fields(model, 64, ["layer5"])
    with pytest.raises(ValueError, match="nearest names are"):
        effective_receptive_field(model, torch.zeros(1, 3, 64, 64), "layr4")


def fixed(x):
    assert x.shape[-1] == 224
    return x


@pytest.mark.parametrize(
    "model, size, message",
    [
        (nn.Sequential(), 8, "the model has no layers"),
        (conv(), 0, "input_size 0: give one positive whole number"),
        (conv(), (C, 8, -8), "positive whole number"),
        (conv(), (8, 8.5), "positive whole number"),
        (conv(), 8.5, "input_size 8.5: give one positive whole number"),
        (conv(), "8", "positive whole number"),
        (conv(), (1, 1, C, 8, 8), "positive whole number"),
        (conv(), (3, 8, 8), r"does not run on an input of 1 x 3 x 8 x 8"),
        (conv(5), 3, "does not run on an input of 1 x 2 x 3 x 3"),
        (nn.LazyConv2d(3, 3), 9, "lazy layers without weights"),
        (Fn(lambda x: x if x.sum() > 0 else -x), 9, "reads tensor values in forward"),
        (Fn(lambda x: None), 9, "no layer's output depends on the input"),
        (nn.Bilinear(C, C, C), 9, "takes more than one input: wrap it in a module"),
        (Fn(lambda x: x["image"]), 9, "wants something else than one tensor"),
        (Fn(fixed), 9, "an assert in it wants another size"),
        (nn.Sequential(nn.Flatten(), nn.Linear(8, 2)), 9, "a linear layer in it fits one size"),
    ],
)
def test_bad_input_gets_a_sentence(model, size, message):
    with pytest.raises(ValueError, match=message):
        receptive_fields(model, size)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("look", [receptive_fields, reached])
def test_a_quantized_network_gets_a_sentence(look):
    network = torch.ao.quantization.QuantWrapper(nn.Sequential(conv(), nn.ReLU())).eval()
    network.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    torch.ao.quantization.prepare(network, inplace=True)(torch.randn(1, C, 9, 9))
    with pytest.raises(ValueError, match="the model is quantized: pass the network that it was ma"):
        look(torch.ao.quantization.convert(network), (C, 9, 9))


def test_other_bad_arguments():
    with pytest.raises(TypeError, match=r"give a torch\.nn\.Module"):
        receptive_fields(lambda x: x, 8)
    field = receptive_fields(conv(), (C, 9, 9))[""]
    with pytest.raises(IndexError, match=r"unit \(7, 0\) is not on the map of 7 x 7 units"):
        field.region((7, 0))
    for unit in (9, -1, 1.5, (1,), (1, 2, 3)):
        with pytest.raises(IndexError, match="not on the map"):
            brute_force(conv(), (C, 9, 9), unit)
    for layer in [(0,), (3, 0), (3, 1, -1), (3, 1, 0, 0), (3.0,)]:
        with pytest.raises(ValueError, match="in layer 1: give a whole number of at least"):
            chain([layer])
    assert chain([]) == []
    assert chain([Layer(3), Layer(3, dilation=2)])[-1] == (7, 1, 0)


def test_effective_field_lies_inside_the_theoretical_one_and_peaks_at_its_middle():
    torch.manual_seed(0)
    model = nn.Sequential(
        *[layer for _ in range(4) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.Tanh())]
    )
    energy = effective_receptive_field(model, torch.randn(8, 3, 21, 21), unit=(10, 10))
    inside = torch.zeros(21, 21, dtype=torch.bool)
    inside[6:15, 6:15] = True
    assert energy.shape == (21, 21) and energy.sum().item() == pytest.approx(1)
    assert bool((energy[inside] > 0).all()) and energy[~inside].sum() == 0
    middle = energy[8:13, 8:13].sum()
    assert middle > 0.7 > 25 / 81  # 25 of 81 pixels hold most of the energy: Luo et al. 2016
    with pytest.raises(ValueError, match=r"give finite floats \(B, C, H, W\)"):
        effective_receptive_field(model, torch.full((1, 3, 21, 21), float("nan")))
    with pytest.raises(ValueError, match="every gradient of unit"):
        effective_receptive_field(Fn(lambda x, a: a(x) * 0, conv()), torch.zeros(1, C, 9, 9))


class Mean(nn.Module):
    """The mean over rows, written by hand."""

    def forward(self, x):
        return x.mean(2)


def test_a_pool_over_all_strides_by_all():
    """Units of a pooled map of one would lie as far apart as the map is wide."""
    convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    pooled = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1)).eval()
    assert receptive_fields(pooled, 32)[""].stride == (32, 32)
    assert receptive_fields(nn.Sequential(convolution, Mean()).eval(), 32)[""].stride == (32, 2)
