"""Strides traded for dilation: the same values at the shared positions, borders included."""

import copy
import functools
import math

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import nn
from torch.nn.utils import prune

from deeplab_lite.analysis import probe
from deeplab_lite.atrous import with_output_stride


def noise(*size, channels=3, dtype=torch.float32):
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0)).to(dtype)


def shared_difference(net, dense, image, factor):
    """Largest difference at the shared positions of all the map, over the largest value."""
    with torch.no_grad():
        old, new = net(image), dense(image)
    for n, wide in zip(old.shape[-2:], new.shape[-2:], strict=True):
        assert factor * (n - 1) < wide <= factor * n
    assert new.isfinite().all()
    return float((new[..., ::factor, ::factor] - old).abs().max() / old.abs().max())


def without_head(net, layers):
    return nn.Sequential(*list(net.children())[:layers])


@functools.cache
def build_backbone(name):
    """A network with random weights, its batch norms as if trained."""
    torch.manual_seed(0)
    if name == "googlenet":
        net = without_head(zoo.googlenet(init_weights=False, aux_logits=False), -3)
    elif name.startswith(("resnet", "regnet", "shufflenet")):
        net = without_head(getattr(zoo, name)(), -1 if name.startswith("shufflenet") else -2)
    elif name.startswith("timm:"):
        timm = pytest.importorskip("timm", reason="timm is not installed")
        net = timm.create_model(name.removeprefix("timm:"), num_classes=0, global_pool="")
    else:
        net = getattr(zoo, name)().features
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
        if hasattr(layer, "layer_scale"):
            nn.init.ones_(layer.layer_scale)  # 1e-6 would hide what the block computes
    return net.eval()


ROUNDING = 1e-4  # of the largest value, in float32; wrong borders make differences near 1
BACKBONES = {  # own stride
    "vgg11": 32,
    "vgg16_bn": 32,
    "resnet18": 32,
    "resnet50": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,  # squeeze-and-excitation, hard gates
    "efficientnet_b0": 32,
    "densenet121": 32,  # average pools
    "alexnet": 32,  # first stride 4, pools 3x3 without padding
    "squeezenet1_0": 16,  # ceil_mode
    "googlenet": 32,  # ceil_mode in parallel branches
    "shufflenet_v2_x0_5": 32,
    "regnet_y_400mf": 32,
    "convnext_tiny": 32,  # even kernels, channels last inside
    "timm:tf_efficientnet_lite0": 32,  # TensorFlow's 'same' padding
    "timm:resnet26d": 32,  # average pools in ceil_mode beside centred convolutions
    "timm:xception41": 32,
    "timm:mobilenetv3_small_100": 32,  # squeeze-and-excitation by x.mean((2, 3))
    "timm:regnety_002": 32,
    "timm:resnetblur18": 32,  # blur pools: depthwise convolutions in code
    "timm:mobilevit_xxs": 32,  # attention over patches
}


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [(name, traded) for name, own in BACKBONES.items() for traded in (16, 8) if traded < own],
)
def test_the_same_values_at_shared_positions(name, output_stride):
    net = build_backbone(name)
    dense = with_output_stride(net, output_stride)
    assert (
        shared_difference(net, dense, noise(97, 130), BACKBONES[name] // output_stride) < ROUNDING
    )


@pytest.mark.parametrize("output_stride", [4, 2, 1])
def test_any_power_of_two_will_do(output_stride):
    """A stride of 4 at once is traded in part (2) and in full (1)."""
    net = build_backbone("alexnet")
    dense = with_output_stride(net, output_stride)
    assert shared_difference(net, dense, noise(66, 71), 32 // output_stride) < ROUNDING


@pytest.mark.parametrize("name", ["vgg11", "densenet121", "timm:tf_efficientnet_lite0"])
def test_only_rounding_is_different(name):
    net = copy.deepcopy(build_backbone(name)).double()
    dense = with_output_stride(net, 16)
    assert shared_difference(net, dense, noise(64, 67, dtype=torch.float64), 2) < 1e-13


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "timm:tf_efficientnet_lite0"])
@pytest.mark.parametrize(
    ("output_stride", "sizes"), [(8, {224: 28, 129: 17}), (16, {224: 14, 65: 5})]
)
def test_size_of_the_map_is_the_papers(name, output_stride, sizes):
    dense = with_output_stride(build_backbone(name), output_stride)
    for size, expected in sizes.items():
        with torch.no_grad():
            assert dense(noise(size, size)).shape[-2:] == (expected, expected)


def test_vgg_loses_no_rows_to_its_unpadded_pools():
    with torch.no_grad():
        assert with_output_stride(build_backbone("vgg11"), 8)(noise(224, 96)).shape[-2:] == (28, 12)


@pytest.mark.parametrize("name", ["vgg11", "resnet18", "mobilenet_v3_small", "alexnet"])
def test_a_classifier_with_its_head_keeps_its_scores(name):
    torch.manual_seed(0)
    net = getattr(zoo, name)().eval()
    image = noise(224, 224)
    with torch.no_grad():
        old, new = net(image), with_output_stride(net, 8)(image)
    assert (new - old).abs().max() < ROUNDING * old.abs().max()


def test_padding_of_tensorflow_keeps_its_phase():
    """Symmetric padding, right for a stride of 1, would read between the original's positions."""
    net = build_backbone("timm:tf_efficientnet_lite0")
    dense = with_output_stride(net, 16)
    naive = copy.deepcopy(dense)
    for layer in naive.modules():
        if hasattr(layer, "windows"):
            reach = layer.dilation[0] * (layer.kernel_size[0] - 1)
            layer.__class__, layer.padding = nn.Conv2d, (reach // 2, reach // 2)
    assert shared_difference(net, dense, noise(128, 128), 2) < ROUNDING
    assert shared_difference(net, naive, noise(128, 128), 2) > 1e-2


def test_torchvision_trades_the_strides_of_resnet_the_same_way():
    net = copy.deepcopy(zoo.resnet50()).eval()
    theirs = zoo.resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    theirs.load_state_dict(net.state_dict())
    ours = with_output_stride(net, 8)
    settings_ = [
        [(c.stride, c.padding, c.dilation) for c in m.modules() if isinstance(c, nn.Conv2d)]
        for m in (ours, theirs)
    ]
    wide = [c for c in net.modules() if isinstance(c, nn.Conv2d)]
    for ours_, theirs_, conv in zip(*settings_, wide, strict=True):
        assert ours_ == theirs_ or conv.kernel_size == (1, 1)
    assert [b.conv2.dilation[0] for b in ours.layer3] == [1, 2, 2, 2, 2, 2]
    assert [b.conv2.dilation[0] for b in ours.layer4] == [2, 4, 4]


def test_torchvision_dilates_mobilenet_v3_one_layer_too_early():
    net = copy.deepcopy(build_backbone("mobilenet_v3_small"))
    theirs = zoo.mobilenet_v3_small(dilated=True).features.eval()
    theirs.load_state_dict(net.state_dict())
    ours = with_output_stride(net, 16)
    image = noise(129, 129)
    assert shared_difference(net, ours, image, 2) < ROUNDING
    assert shared_difference(net, theirs, image, 2) > 1e-2


# ---- Random networks -----------------------------------------------------------------------------


@st.composite
def layers(draw, channels=2):
    """One layer with odd borders: every kernel, stride, padding, dilation and rounding."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.sampled_from([(1, 1), (2, 2), (2, 1), (1, 2), (4, 2)]))
    kind = draw(st.sampled_from(["conv", "conv", "max", "avg", "same"]))
    if kind == "same":
        dilation = draw(st.integers(1, 2))
        return nn.Conv2d(channels, channels, kernel, dilation=dilation, padding="same")
    if kind == "conv":
        padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
        dilation = draw(st.integers(1, 2))
        return nn.Conv2d(channels, channels, kernel, stride, padding, dilation)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    ceil = draw(st.booleans())
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
    divisor = draw(st.sampled_from([None, None, 5]))
    return nn.AvgPool2d(kernel, stride, padding, ceil, draw(st.booleans()), divisor)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(layers(), min_size=2, max_size=5),
    st.sampled_from([1, 2, 4]),
    st.tuples(st.integers(30, 61), st.integers(30, 61)),
)
def test_random_networks(drawn, output_stride, size):
    """Whatever the borders, they are the original's, and no new position divides by nothing."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 2, 1), *drawn).double().eval()
    strides = [math.prod(pair(layer.stride)[axis] for layer in net) for axis in (0, 1)]
    assume(max(2, output_stride) <= max(strides) <= 64)
    image = noise(*size, channels=2, dtype=torch.float64)
    with torch.no_grad():
        try:
            old = net(image)
        except RuntimeError:
            assume(False)  # a window larger than its map
        new = with_output_stride(net, output_stride)(image)
    factors = [max(1, stride // output_stride) for stride in strides]
    for factor, n, wide in zip(factors, old.shape[2:], new.shape[2:], strict=True):
        assert factor * (n - 1) < wide <= factor * n
    assert new.isfinite().all() or not old.isfinite().all()
    shared = new[..., :: factors[0], :: factors[1]]
    assert torch.allclose(shared, old, rtol=0, atol=1e-12 * max(1.0, float(old.abs().max())))


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


class Branches(nn.Module):
    """A map halved on several ways that must meet again: sizes agree, not only values."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return sum(branch(x) for branch in self.branches)


def conv(kernel, stride=1, padding=0, channels=2, **settings_):
    return nn.Conv2d(channels, channels, kernel, stride, padding, **settings_)


@pytest.mark.parametrize("size", [(64, 64), (61, 47), (50, 63)])
@pytest.mark.parametrize("output_stride", [1, 2, 4])
def test_branches_meet_again(output_stride, size):
    torch.manual_seed(0)
    ways = [
        lambda: conv(3, 2, 1),
        lambda: conv(1, 2),
        lambda: conv(5, 2, 2, groups=2),
        lambda: nn.Sequential(conv(3, 1, 1), conv(3, 2, 2, dilation=2)),
        lambda: nn.MaxPool2d(3, 2, 1),
        lambda: nn.MaxPool2d(2, 2, ceil_mode=True),
        lambda: nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
    ]
    stages = [Branches(*(way() for way in ways)) for _ in range(3)]
    net = nn.Sequential(*stages).double().eval()
    dense = with_output_stride(net, output_stride)
    image = noise(*size, channels=2, dtype=torch.float64)
    assert shared_difference(net, dense, image, 8 // output_stride) < 1e-12


@pytest.mark.parametrize("size", [(64, 61), (50, 47)])
@pytest.mark.parametrize(
    "pool",
    [
        lambda: AvgPool2dSame(3, 2, count_include_pad=True),
        lambda: AvgPool2dSame(3, 2, count_include_pad=False),
        lambda: MaxPool2dSame(3, 2),
    ],
    ids=["average", "average, padding not counted", "largest"],
)
def test_pools_with_same_padding_are_spread(pool, size):
    """timm's pad first, so that zeros of the border count in an average whatever it is told."""
    net = nn.Sequential(conv(3, 2, 1), pool(), pool()).double().eval()
    image = noise(*size, channels=2, dtype=torch.float64)
    assert shared_difference(net, with_output_stride(net, 2), image, 4) < 1e-12


def test_padding_layers_are_spread():
    net = nn.Sequential(conv(3, 2, 1), nn.ZeroPad2d((0, 1, 2, 1)), conv(2, 2))
    net += nn.Sequential(nn.ConstantPad2d(1, 0.5), conv(3, 2), nn.ZeroPad2d(1), conv(3))
    net = net.double().eval()
    for output_stride in (4, 2, 1):
        dense = with_output_stride(net, output_stride)
        image = noise(61, 58, channels=2, dtype=torch.float64)
        assert shared_difference(net, dense, image, 8 // output_stride) < 1e-12


def test_valid_branches_meet_again():
    """As in Inception: a strided convolution and a pool, both without padding."""
    torch.manual_seed(0)
    stages = [
        Branches(conv(3, 2), nn.MaxPool2d(3, 2), nn.Sequential(conv(3, 1, 1), conv(3, 2)))
        for _ in range(3)
    ]
    net = nn.Sequential(*stages).double().eval()
    for output_stride, size in [(4, (75, 98)), (2, (75, 98)), (1, (64, 81))]:
        image = noise(*size, channels=2, dtype=torch.float64)
        dense = with_output_stride(net, output_stride)
        assert shared_difference(net, dense, image, 8 // output_stride) < 1e-12


# ---- What is copied ------------------------------------------------------------------------------


def test_the_original_is_not_touched():
    net = nn.Sequential(conv(3, 2, 1), nn.BatchNorm2d(2), nn.MaxPool2d(2), conv(2, 2), nn.ReLU())
    net.train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    before, described = copy.deepcopy(net.state_dict()), repr(net)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    dense = with_output_stride(net, 2)
    assert torch.equal(torch.rand(3), expected)  # the global seed included
    assert repr(net) == described
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())
    assert [layer.training for layer in net.modules()] == [True, True, False, True, True, True]
    for state in (net.state_dict(), dense.state_dict()):
        assert list(state) == list(before)
        assert all(torch.equal(state[key], before[key]) for key in before)


def test_a_network_in_train_mode_converts():
    """It is looked at in eval mode, where dropout and batch statistics do not blur the promise."""
    net = nn.Sequential(conv(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout(), conv(3, 2, 1)).train()
    dense = with_output_stride(net, 2)
    assert dense.training and net[1].num_batches_tracked == 0
    assert shared_difference(net.eval(), dense.eval(), noise(33, 40, channels=2), 2) < ROUNDING


def test_modes_gradients_and_names_are_copied():
    net = nn.Sequential(conv(3, 2, 1), nn.BatchNorm2d(2), nn.MaxPool2d(2), conv(2, 2), nn.ReLU())
    net.train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    dense = with_output_stride(net, 2)
    assert [m.training for m in dense.modules()] == [m.training for m in net.modules()]
    for (name, old), (same_name, new) in zip(
        net.named_parameters(), dense.named_parameters(), strict=True
    ):
        assert name == same_name and old.requires_grad == new.requires_grad
        assert old.data_ptr() != new.data_ptr()
    resting = nn.Sequential(*net, nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)).eval()
    assert not any(m.training for m in with_output_stride(resting, 1).modules())
    dense.load_state_dict(net.state_dict())
    dense(noise(32, 32, channels=2)).sum().backward()
    assert dense[3].weight.grad.any() and dense[0].weight.grad is None


class Coded(nn.Sequential):
    """Pools in code, and a layer with weights that runs by phases."""

    def __init__(self):
        super().__init__(conv(3, 2, 1, channels=3), conv(3, 2, 1, channels=3), nn.GroupNorm(1, 3))

    def forward(self, x):
        return F.max_pool2d(super().forward(x), 2)


@pytest.mark.parametrize("build", [lambda: build_backbone("vgg11"), Coded])
def test_a_copy_can_be_saved_and_copied(build, tmp_path):
    net = build().eval()
    dense = with_output_stride(net, 4)
    assert list(dense.state_dict()) == list(net.state_dict())
    torch.save(dense, tmp_path / "dense.pt")
    loaded = torch.load(tmp_path / "dense.pt", weights_only=False)
    image = noise(64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(image), dense(image))
        assert torch.equal(copy.deepcopy(dense)(image), dense(image))


def test_its_own_stride_changes_nothing():
    net = build_backbone("resnet18")
    dense = with_output_stride(net, 32)
    assert dense is not net and repr(dense) == repr(net)


def test_half_precision_and_meta_are_converted_too():
    net = nn.Sequential(conv(3, 2, 1), nn.ReLU(), conv(3, 2, 1), conv(3, 1, 1)).eval()
    for twin in (copy.deepcopy(net).bfloat16(), copy.deepcopy(net).to("meta")):
        dense = with_output_stride(twin, 2)
        assert (dense[2].stride, dense[3].dilation) == ((1, 1), (2, 2))
        assert dense[3].weight.dtype == twin[3].weight.dtype
        assert dense[3].weight.device == twin[3].weight.device


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    net = copy.deepcopy(build_backbone("resnet18")).cuda()
    dense = with_output_stride(net, 8)
    assert next(dense.parameters()).is_cuda
    assert shared_difference(net, dense, noise(97, 97).cuda(), 4) < 5e-3  # TF32, if it is on


# ---- What cannot be converted --------------------------------------------------------------------


class Written(nn.Module):
    """Two convolutions and a step that is code, not a module."""

    def __init__(self, step, tail=None):
        super().__init__()
        self.a, self.b = conv(3, 4, 1), conv(3, 2, 1)
        self.step, self.tail = step, tail or conv(1)

    def forward(self, x):
        return self.tail(self.step(self.b(self.a(x))))


STEPS = {
    "pool": lambda x: F.max_pool2d(x, 2),
    "average": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "slice": lambda x: x[..., ::2, ::2],
    "pad": lambda x: F.pad(x, (1, 1, 1, 1)),
    "mean": lambda x: x * x.mean((2, 3), keepdim=True),
    "mean of scores": lambda x: x * x.mean((2, 3))[:, :, None, None],
    "largest": lambda x: x * torch.max(torch.max(x, 3)[0], 2)[0][:, :, None, None],
    "mean of rows": lambda x: x * x.mean(3, keepdim=True),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "convolve": lambda x: F.conv2d(x, x.new_ones(2, 1, 3, 3), padding=1, groups=2),
    "shift": lambda x: x.roll(1, 3),
    "attention": lambda x: x.flatten(2).softmax(-1).view_as(x),
}


def doubled(net):
    """net, and an image for it, in float64."""
    return net.double().eval(), noise(66, 71, channels=2, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:.*upsamples from beyond")
@pytest.mark.parametrize("nest", [lambda net: net, lambda net: nn.Sequential(conv(1), net)])
@pytest.mark.parametrize("step", [step for step in STEPS if step != "attention"])
def test_code_that_mixes_positions_keeps_its_values(step, nest):
    net, image = doubled(nest(Written(STEPS[step])))
    own = {"pool": 16, "slice": 16, "interpolate": 4}.get(step, 8)
    assert shared_difference(net, with_output_stride(net, 4), image, own // 4) < 1e-12


@pytest.mark.parametrize(
    ("step", "plain"),
    [
        (lambda x: torch.stack([x, x.sin()], 1).sum(1), lambda x: x + x.sin()),
        (lambda x: x * x.mean(2)[:, :, None], lambda x: x * x.mean(2, keepdim=True)),
        (lambda x: x * x.mean(3)[..., None], lambda x: x * x.mean(3, keepdim=True)),
    ],
)
def test_results_of_another_rank_keep_every_position(step, plain):
    """Not only those that the original has, too."""
    net, image = doubled(Written(step))
    other = Written(plain).double().eval()
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(
        with_output_stride(net, 2)(image), with_output_stride(other, 2)(image)
    )


def test_maps_that_differ_in_float32_alone_are_compared_in_float64(monkeypatch):
    """As those of EfficientNets with random weights, where rounding grows from gate to gate."""
    same = probe._same
    monkeypatch.setattr(
        probe, "_same", lambda a, b, at: a.dtype != torch.float32 and same(a, b, at)
    )
    net = nn.Sequential(conv(3, 2, 1), conv(3, 2, 1), conv(3)).eval()
    dense = with_output_stride(net, 2)
    assert all(torch.equal(dense.get_parameter(name), p) for name, p in net.named_parameters())


def test_code_that_no_rule_splits_is_named():
    with pytest.raises(
        ValueError, match=r"^Written, before 'softmax_call', mixes .* nn\.MaxPool2d"
    ):
        with_output_stride(Written(STEPS["attention"]), 4)
    inner = nn.Sequential(conv(1), Written(STEPS["attention"]))
    with pytest.raises(ValueError, match=r"^Written '1', before 'softmax_call', mixes"):
        with_output_stride(inner, 4)


def test_code_keeps_to_the_mode_of_its_layer():
    class Dropping(nn.Sequential):
        def forward(self, x):
            return F.max_pool2d(F.dropout(super().forward(x), 0.5, self.training), 2)

    net, image = doubled(Dropping(conv(3, 2, 1), conv(3, 2, 1)))
    dense = with_output_stride(net.train(), 2)
    assert not torch.equal(dense(image), dense(image))
    assert shared_difference(net.eval(), dense.eval(), image, 4) < 1e-12


class Attention(nn.Module):
    """Self-attention over the map, with code that torch.fx cannot trace."""

    def __init__(self):
        super().__init__()
        self.key = conv(1)

    def forward(self, x):
        x = x if x.shape[2] > 1 else x + 1
        key = self.key(x).flatten(2)
        return x + ((key.mT @ key).softmax(-1) @ x.flatten(2).mT).mT.reshape(x.shape)


def test_a_layer_that_cannot_be_traced_runs_by_phases_as_a_whole():
    net, image = doubled(nn.Sequential(conv(3, 4, 1), conv(3, 2, 1), Attention(), conv(3)))
    assert shared_difference(net, with_output_stride(net, 2), image, 4) < 1e-12


def test_sums_in_place_keep_their_values():
    class Residual(Written):
        def forward(self, x):
            y = self.b(self.a(x))
            y += self.tail(self.step(y.clone()))
            return y

    net, image = doubled(Residual(STEPS["average"]))
    assert shared_difference(net, with_output_stride(net, 4), image, 2) < 1e-12


@pytest.mark.parametrize("step", STEPS)
def test_code_before_the_traded_strides_is_welcome(step):
    """Where the map keeps its stride, any code is right."""
    net = nn.Sequential(Written(STEPS[step]), conv(3, 2, 1), conv(3, 2, 1)).double().eval()
    own = {"pool": 64, "slice": 64, "interpolate": 16}.get(step, 32)
    dense = with_output_stride(net, own // 2)
    assert (
        shared_difference(net, dense, noise(160, 131, channels=2, dtype=torch.float64), 2) < 1e-12
    )


def test_code_after_the_last_layer_keeps_its_values():
    class Tail(nn.Sequential):
        def forward(self, x):
            return F.avg_pool2d(super().forward(x), 2)

    net, image = doubled(Tail(conv(3, 2, 1), conv(3, 2, 1)))
    assert shared_difference(net, with_output_stride(net, 2), image, 4) < 1e-12


@pytest.mark.parametrize(
    ("layer", "factor"),
    [
        (nn.PixelShuffle(1), 2),
        (nn.BatchNorm2d(2), 2),
        (nn.Dropout2d(), 2),
        (nn.GroupNorm(1, 2), 2),
        (nn.InstanceNorm2d(2), 2),
        (nn.ReflectionPad2d(1), 2),
        (conv(3, padding=1, padding_mode="reflect"), 2),
        (nn.LPPool2d(2, 2), 4),
        (nn.PixelUnshuffle(2), 4),
        (nn.ConvTranspose2d(2, 2, 2, 2), 1),
    ],
)
@pytest.mark.filterwarnings("ignore:.*upsamples from beyond")
def test_layers_without_a_dilated_form_keep_their_values(layer, factor):
    net = nn.Sequential(conv(3, 4, 1), conv(3, 2, 1), layer).double().eval()
    image = noise(80, 64, channels=2, dtype=torch.float64)
    assert shared_difference(net, with_output_stride(net, 4), image, factor) < 1e-12


def test_upsampling_gains_only_within_the_output_stride():
    net, image = doubled(nn.Sequential(conv(3, 4, 1), conv(3, 2, 1), nn.Upsample(scale_factor=2)))
    with pytest.warns(UserWarning, match=r"'2' \(Upsample\) .* no denser than before"):
        dense = with_output_stride(net, 4)
    torch.testing.assert_close(dense(image), net(image))
    assert shared_difference(net, with_output_stride(net, 2), image, 2) < 1e-12


@pytest.mark.parametrize("output_stride", [0, -8, 3, 12, 8.0, "8", True, None])
def test_output_stride_must_be_a_power_of_two(output_stride):
    with pytest.raises(ValueError, match=r"expected a power of two"):
        with_output_stride(build_backbone("resnet18"), output_stride)


def test_output_stride_beyond_the_networks_own():
    with pytest.raises(ValueError, match=r"output_stride 64: .* stride by 32 .* 32 or less"):
        with_output_stride(build_backbone("resnet18"), 64)


@pytest.mark.parametrize("module", [None, F.relu, nn.ReLU, "resnet"])
def test_only_modules_are_taken(module):
    with pytest.raises(TypeError, match=r"expected an nn.Module"):
        with_output_stride(module, 8)


def test_a_network_without_strides_has_nothing_to_trade():
    for net in (conv(3), nn.Sequential(conv(3, 1, 1), nn.MaxPool2d(3, 1))):
        with pytest.raises(ValueError, match="has no strides: there is nothing to trade"):
            with_output_stride(net, 1)


@pytest.mark.parametrize("net", [nn.Sequential(), nn.ReLU(), nn.Linear(3, 3), nn.MaxPool2d(2)])
def test_a_network_without_convolutions_is_refused(net):
    with pytest.raises(ValueError, match=r"there is no nn.Conv2d in it"):
        with_output_stride(net, 2)


def test_lazy_layers_are_refused_and_stay_lazy():
    net = nn.Sequential(nn.LazyConv2d(8, 3, 2, 1), nn.LazyConv2d(4, 3, 2, 1))
    with pytest.raises(ValueError, match="lazy layers without weights yet: run it once"):
        with_output_stride(net, 2)
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 4, 16, 16)


def test_a_head_may_be_registered_before_the_backbone():
    class HeadFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.backbone = nn.Conv2d(8, 5, 1), nn.Conv2d(3, 8, 3, 2, 1)

        def forward(self, x):
            return self.head(self.backbone(x))

    net, image = HeadFirst(), torch.randn(1, 3, 33, 33)
    dense = with_output_stride(net, 1)
    torch.testing.assert_close(dense(image)[:, :, ::2, ::2], net(image))


@pytest.mark.parametrize("stride", [3, 6, 128])
def test_strides_that_cannot_be_traded_are_named(stride):
    net = nn.Sequential(conv(1, 2), conv(1, stride))
    with pytest.raises(ValueError, match=rf"'1' .Conv2d. has stride \({stride}, {stride}\)"):
        with_output_stride(net, 2)


def test_one_layer_at_two_strides_is_refused():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.pool = conv(1), nn.MaxPool2d(2)

        def forward(self, x):
            return self.pool(self.pool(self.pool(self.first(x))))

    assert with_output_stride(Shared(), 8) is not None  # its own stride
    with pytest.raises(ValueError, match=r"'pool' .MaxPool2d. is used at two strides"):
        with_output_stride(Shared(), 4)


def test_a_fixed_input_size_is_explained():
    net = nn.Sequential(conv(3, 2, 1, channels=3), nn.Flatten(), nn.Linear(3 * 112 * 112, 5))
    with pytest.raises(ValueError, match=r"does not run on a .* pass its convolutional backbone"):
        with_output_stride(net, 1)


def test_a_converted_network_is_not_converted_again():
    once = with_output_stride(build_backbone("vgg11"), 16)
    with pytest.raises(ValueError, match="converted before"):
        with_output_stride(once, 8)
    twice = with_output_stride(
        with_output_stride(build_backbone("resnet18"), 16), 8
    )  # plain layers only
    assert repr(twice) == repr(with_output_stride(build_backbone("resnet18"), 8))


def test_a_segmentation_network_is_converted_by_its_backbone():
    net = zoo.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None).eval()
    with pytest.warns(UserWarning, match="upsamples from beyond output_stride 8"):
        with_output_stride(net, 8)
    net.backbone = with_output_stride(net.backbone, 8)
    with torch.no_grad():
        assert net.backbone(noise(65, 65))["high"].shape[-2:] == (9, 9)
        assert net(noise(65, 65))["out"].shape[-2:] == (65, 65)


@pytest.mark.parametrize("name", ["densenet121", "inception_v3"])
def test_a_classifier_whose_code_pools_keeps_its_scores(name):
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "inception_v3" else {}
    net, image = getattr(zoo, name)(**options).eval(), noise(139, 160)
    with torch.no_grad():
        old, new = net(image), with_output_stride(net, 16)(image)
    assert (new - old).abs().max() < ROUNDING * old.abs().max()


# ---- What networks are wrapped in ----------------------------------------------------------------


def normed(norm):
    net = nn.Sequential(conv(3, 2, 1), conv(3, 2, 1))
    norm(net[0])
    net(noise(9, 9, channels=2))  # leaves a computed weight, which deepcopy refuses
    return net


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        nn.DataParallel,
    ],
)
def test_computed_weights_are_computed_in_the_copy(norm):
    net = normed(norm).eval()
    before = {k: v.clone() for k, v in vars(net[0]).items() if isinstance(v, torch.Tensor)}
    dense = with_output_stride(net, 2)
    assert shared_difference(net, dense, noise(33, 40, channels=2), 2) < ROUNDING
    after = vars(net[0])
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_scripted_network_is_refused():
    net = torch.jit.script(nn.Sequential(conv(3, 2, 1), conv(3, 2, 1)))
    with pytest.raises(ValueError, match="convert it before you script it"):
        with_output_stride(net, 2)


def test_two_inputs_and_asserts_get_a_hint():
    class Two(nn.Sequential):
        def forward(self, x, depth):
            return super().forward(x + depth)

    class Fixed(nn.Sequential):
        def forward(self, x):
            assert x.shape[-1] == 224
            return super().forward(x)

    for kind, message in ((Two, "forward takes more than one input"), (Fixed, "an assert in it")):
        with pytest.raises(ValueError, match=message):
            with_output_stride(kind(conv(3, 2, 1)), 1)
