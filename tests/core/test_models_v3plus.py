"""DeepLab v3+ and its backbones: the papers' counts, the values of timm's and smp's networks."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import load_smp
from deeplab_lite.atrous import with_output_stride
from deeplab_lite.models import DeepLabV3Plus, base, v3plus
from deeplab_lite.models.efficientnet import EfficientNetLite0
from deeplab_lite.models.xception import Xception65
from deeplab_lite.models.zoo import build_backbone
from deeplab_lite.photos import classifier
from deeplab_lite.receptive_field import receptive_fields

ROUNDING = 1e-5  # of the largest value; wrong borders, rates or taps make differences near 1

LITE = {"backbone": "vgg16", "width": 0.25, "batch_norm": True, "pools": "torchvision"}
LITE |= {"num_classes": 9, "rates": (1, 2, 3), "channels": 64}
BACKBONES = {  # low-level channels, channels, parameters, receptive field
    "xception65": (256, 2048, 37_867_312, 1915),
    "efficientnet_lite0": (24, 320, 2_958_848, 851),
}


def noise(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def as_if_trained(net):
    """Statistics and factors of batch norm that a wrong or missing layer would betray."""
    generator = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (layer.bias.data, layer.running_mean):
                tensor.normal_(0, 0.1, generator=generator)
    return net.eval()


def difference(ours, theirs):
    """Largest difference over the largest value."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def on_meta(build, **options):
    """A network of shapes without values: it counts, and costs nothing."""
    with torch.device("meta"):
        return build(**options).eval()


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def multiply_adds(net, size):
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() // 2


# ---- Backbones ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKBONES)
def test_size_of_a_backbone(name):
    net = on_meta(build_backbone, name=name, output_stride=16)
    low, out, count, field = BACKBONES[name]
    assert (net.low_channels, net.out_channels, parameters(net)) == (low, out, count)
    for output_stride in (8, 16, 32):
        net.output_stride = output_stride
        for size in (257, 256):
            maps = net(torch.empty(2, 3, size, size + 32, device="meta"))
            for key, channels, stride in (("low", low, 4), ("out", out, output_stride)):
                sides = -(-size // stride), -(-(size + 32) // stride)
                assert maps[key].shape == (2, channels, *sides)
    last = receptive_fields(net, input_size=257)["out"]
    assert (last.size, last.stride) == ((field, field), (32, 32))


@pytest.mark.parametrize(
    ("name", "built_at", "options"),
    [
        ("vgg16", 32, {"width": 0.25, "batch_norm": True, "multi_grid": (1, 2, 4)}),
        ("vgg16", 16, {"width": 0.25, "batch_norm": True, "multi_grid": (1, 2, 4)}),  # pool5, too
        ("resnet18", 32, {}),
        ("resnet50", 16, {}),
        ("resnet50", 16, {"stride_on": "1x1"}),
        ("resnet50", 16, {"multi_grid": (1, 2, 4)}),  # at 32 its first block loses its stride
        ("xception65", 32, {}),
        ("efficientnet_lite0", 32, {}),
    ],
)
def test_values_stay_where_stride_is_traded_for_dilation(name, built_at, options):
    torch.manual_seed(0)
    net = as_if_trained(build_backbone(name, built_at, **options))
    height = 65 if name == "vgg16" else 64  # its pools round up
    image = noise(1, 3, height, 97)
    with torch.no_grad():
        strided = net(image)
        for output_stride in (16, 8) if built_at == 32 else (8,):
            net.output_stride = output_stride
            dense, factor = net(image), built_at // output_stride
            assert dense["out"].shape[2:] == (-(-height // output_stride), 96 // output_stride + 1)
            assert difference(dense["out"][..., ::factor, ::factor], strided["out"]) < ROUNDING
            assert torch.equal(dense["low"], strided["low"])
            if output_stride == 8 and "aux" in dense:
                aux = dense["aux"][..., ::2, ::2]
                assert difference(aux, strided["aux"]) < ROUNDING
        net.output_stride = built_at
        assert torch.equal(net(image)["out"], strided["out"])


def depthwise_dilations(net):
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    return [conv.dilation[0] for conv in convs]


@pytest.mark.parametrize(
    ("output_stride", "third_entry", "middle", "first_exit", "last"),
    [(32, 1, 1, 1, [1, 2, 4]), (16, 1, 1, 1, [2, 4, 8]), (8, 1, 2, 2, [4, 8, 16])],
)
def test_dilations_of_xception(output_stride, third_entry, middle, first_exit, last):
    net = on_meta(Xception65, output_stride=output_stride, multi_grid=(1, 2, 4))
    expected = [1] * 6 + [third_entry] * 3 + [middle] * 48 + [first_exit] * 3 + last
    assert depthwise_dilations(net) == expected


@pytest.mark.parametrize(
    ("output_stride", "last"), [(32, [1, 2, 4]), (16, [2, 4, 8]), (8, [4, 8, 16])]
)
def test_multi_grid_of_efficientnet(output_stride, last):
    net = on_meta(EfficientNetLite0, output_stride=output_stride, multi_grid=(1, 2, 4))
    assert depthwise_dilations(net)[-3:] == last
    net = on_meta(EfficientNetLite0, output_stride=output_stride)
    assert len(set(depthwise_dilations(net)[-3:])) == 1


def test_xception_has_65_layers():
    """Two in the stem, 63 separable ones; shortcuts and the classifier's layer not counted."""
    net = on_meta(Xception65)
    names = [name for name, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    assert sum("stem" in name or "conv_dw" in name for name in names) == 65


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_xception_is_timms(output_stride):
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model(
        "xception65", output_stride=output_stride, num_classes=0, global_pool=""
    )
    as_if_trained(theirs)
    ours = Xception65(output_stride).eval()
    ours.load_state_dict(theirs.state_dict())
    image = noise(1, 3, 65, 96)
    with torch.no_grad():
        maps = ours(image)
        out, features = theirs.forward_intermediates(image)
    assert difference(maps["out"], out) < ROUNDING
    assert difference(maps["low"].relu(), features[1]) < ROUNDING  # they tap after the ReLU,
    assert maps["low"].min() < 0  # and ours is before it, as in the paper's code


@pytest.fixture(scope="module")
def lite0():
    network = EfficientNetLite0(32)
    state = classifier().state_dict()
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    return network.eval()


def test_efficientnet_is_timms(lite0):
    """At sides of 32 k + 1, where the 'same' padding that it was trained with is symmetric."""
    theirs = classifier()
    features = nn.Sequential(theirs.conv_stem, theirs.bn1, theirs.blocks).eval()
    image = noise(1, 3, 97, 129)
    with torch.no_grad():
        lite0.output_stride = 32
        assert difference(lite0(image)["low"], features[2][:2](features[:2](image))) < ROUNDING
        assert difference(lite0(image)["out"], features(image)) < ROUNDING
        for output_stride in (16, 8):
            lite0.output_stride = output_stride
            dense = with_output_stride(features, output_stride)
            assert difference(lite0(image)["out"], dense(image)) < ROUNDING


def shift(field):
    """Pixels from the first unit's centre to pixel 0."""
    return (field.size[0] - 1) / 2 - field.padding[0]


TINY_VGG = {"name": "vgg16", "width": 1 / 16}


@pytest.mark.parametrize("size", [256, 257])
@pytest.mark.parametrize(
    ("options", "align_corners"),
    [
        (TINY_VGG | {"pools": "torchvision"}, False),
        (TINY_VGG | {"pools": "caffe"}, True),
        ({"name": "resnet18"}, True),
        ({"name": "xception65"}, True),
        ({"name": "efficientnet_lite0"}, True),
    ],
)
def test_where_the_units_of_a_backbone_lie(options, align_corners, size):
    """On pixels 0, s, 2 s, .. as align_corners=True has it, or amid each s x s, as False does."""
    net = on_meta(build_backbone, output_stride=16, **options)
    fields = receptive_fields(net, input_size=size)
    for key, stride in (("low", 4), ("out", 16)):
        assert shift(fields[key]) == (0 if align_corners else (stride - 1) / 2)


def test_same_padding_moves_the_units_of_timms_efficientnet():
    """Why ours pads both sides alike: maps 28 pixels apart do not belong side by side."""
    import timm

    theirs = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    for size, low, out in ((256, 3, 31), (257, 0, 0)):
        fields = receptive_fields(theirs, input_size=size)
        assert shift(fields["blocks.1"]) == low and shift(fields["blocks.6"]) == out


# ---- Counts of the whole -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"backbone": "resnet50"}, 26_682_725),
        ({"backbone": "xception65", "separable": False}, 54_711_461),
        (LITE, 1_005_417),
    ],
)
def test_parameters(options, expected):
    assert parameters(on_meta(DeepLabV3Plus, **options)) == expected


def test_59_million_by_hand():
    """ResNet-101, the pyramid, 256 channels to 48, two 3x3 of 256 on 304 and 256 channels, 21."""
    resnet101 = 42_500_160
    norm = 2 * 256
    branches = 2 * (2048 * 256 + norm) + 3 * (9 * 2048 * 256 + norm)  # 1x1, image pooling; 3x3
    pyramid = branches + 5 * 256 * 256 + norm
    decoder = 256 * 48 + 2 * 48 + (9 * 304 * 256 + norm) + (9 * 256 * 256 + norm)
    scores = 257 * 21
    net = on_meta(DeepLabV3Plus, backbone="resnet101", separable=False)
    assert parameters(net) == resnet101 + pyramid + decoder + scores == 59_344_309


def test_separable_convolutions_save_what_the_paper_says():
    """Table 5: 54.17 billion multiply-adds on Xception at 513; 33 to 41 per cent less (4.3)."""
    separable, plain = (
        multiply_adds(
            on_meta(DeepLabV3Plus, backbone="xception65", separable=s, align_corners=True), 513
        )
        for s in (True, False)
    )
    assert separable == pytest.approx(54.17e9, rel=0.01)
    assert 0.33 < 1 - separable / plain < 0.41


# ---- segmentation_models_pytorch -----------------------------------------------------------------

SMP = {"rates": (1, 2, 3), "convs": 1, "aspp_convs": 1, "align_corners": True}


def smp(backbone, output_stride, **options):
    from segmentation_models_pytorch import DeepLabV3Plus

    torch.manual_seed(0)
    net = DeepLabV3Plus(
        backbone,
        encoder_weights=None,
        encoder_output_stride=output_stride,
        decoder_atrous_rates=(1, 2, 3),
        classes=5,
        **options,
    )
    return as_if_trained(net)


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_weights_of_smp_give_its_logits(monkeypatch, backbone, output_stride):
    theirs = smp(backbone, output_stride).double()
    ours = DeepLabV3Plus(5, backbone, output_stride, **SMP).double().eval()
    load_smp(ours, theirs.state_dict())
    image = noise(1, 3, 64, 96).double()
    with pytest.raises(ValueError, match=r"height 64 .* plus 1: resize to 65"):
        ours(image)  # corners are aligned at sizes 16 k + 1; it takes 16 k only
    monkeypatch.setattr(base, "check_size", lambda *_: None)
    with torch.no_grad():
        logits = theirs(image)
        assert difference(ours(image), logits) < 1e-13
        ours.output_stride = output_stride  # first blocks as in torchvision again
        assert difference(ours(image), logits) > 0.01


def test_another_form_of_smp_is_refused():
    state = smp("resnet18", 16, decoder_aspp_separable=False).state_dict()
    with pytest.raises(RuntimeError, match=r"aspp\.convs\.1\.0"):
        load_smp(DeepLabV3Plus(5, "resnet18", **SMP), state)


# ---- The model -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        LITE,
        LITE | {"separable": False, "convs": 1, "aspp_convs": 1, "image_pooling": False},
        {"backbone": "resnet18", "rates": (1, 2, 3)},
        {"backbone": "efficientnet_lite0", "rates": (1, 2, 3), "channels": 64},
        {"backbone": "xception65", "rates": (1, 2), "channels": 32},
    ],
)
def test_every_layer_learns_on_every_backbone(options):
    torch.manual_seed(0)
    net = DeepLabV3Plus(**options | {"num_classes": 4})
    logits = net(noise(2, 3, 64, 48))
    assert logits.shape == (2, 4, 64, 48)
    logits.square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_output_stride_after_construction():
    torch.manual_seed(0)
    net = as_if_trained(DeepLabV3Plus(**LITE))
    built = DeepLabV3Plus(**LITE | {"output_stride": 8, "rates": (2, 4, 6)}).eval()
    built.load_state_dict(net.state_dict())
    before = {name: p.data_ptr() for name, p in net.named_parameters()}
    image = noise(1, 3, 64, 64)
    with torch.no_grad():
        at_16 = net(image)
        net.output_stride = 8
        assert (net.output_stride, net.aspp.rates) == (8, (2, 4, 6))
        built.backbone.features[-1] = net.backbone.features[-1]  # pool5, dilated: a denser map
        assert torch.equal(net(image), built(image))
        net.output_stride = 16
        assert net.aspp.rates == (1, 2, 3) and torch.equal(net(image), at_16)
    assert {name: p.data_ptr() for name, p in net.named_parameters()} == before


@pytest.mark.parametrize(
    ("output_stride", "message"),
    [
        (32, r"rates \(1, 2, 3\) at output_stride 16"),
        (12, "output_stride 12: expected 8, 16 or 32"),
    ],
)
def test_an_output_stride_that_does_not_fit_changes_nothing(output_stride, message):
    net = DeepLabV3Plus(**LITE)
    with pytest.raises(ValueError, match=message):
        net.output_stride = output_stride
    assert (net.output_stride, net.aspp.rates) == (16, (1, 2, 3))


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(32, (3, 6, 9)), (16, (6, 12, 18)), (8, (12, 24, 36))]
)
def test_rates_of_the_paper(output_stride, rates):
    net = on_meta(DeepLabV3Plus, backbone="resnet50", output_stride=output_stride)
    assert net.aspp.rates == rates


@pytest.mark.parametrize(
    ("align_corners", "size", "message"),
    [
        (False, (100, 64), "height 100 is not a multiple of output_stride 16: resize to 112"),
        (False, (64, 65), "width 65 is not a multiple of output_stride 16: resize to 80"),
        (True, (65, 64), "width 64 is not a multiple of output_stride 16 plus 1: resize to 65"),
    ],
)
def test_a_size_that_does_not_fit_is_named_with_one_that_does(align_corners, size, message):
    net = DeepLabV3Plus(**LITE, align_corners=align_corners)
    with pytest.raises(ValueError, match=message):
        net(noise(2, 3, *size))


def test_batch_norm_of_one_pooled_value():
    with pytest.raises(ValueError, match="two images or more"):
        DeepLabV3Plus(**LITE).train()(noise(1, 3, 64, 64))
    without = DeepLabV3Plus(**LITE, image_pooling=False).train()
    assert without(noise(1, 3, 64, 64)).isfinite().all()


@pytest.mark.parametrize(("align_corners", "sides"), [(True, (5, 17)), (False, (4, 16))])
def test_decoder_lays_both_maps_over_each_other(align_corners, sides):
    """A ramp of pixel positions, known at stride 16 and at stride 4, comes out twice the same."""
    centre = 0.0 if align_corners else 0.5
    coarse, fine = (
        (stride * (torch.arange(float(side)) + centre)).expand(1, 1, side, side)
        for side, stride in zip(sides, (16, 4), strict=True)
    )
    decoder = v3plus.Decoder(1, 1, low_channels=1, align_corners=align_corners)
    decoder.reduce = decoder.refine = nn.Identity()
    from_coarse, from_fine = decoder(coarse, fine)[0]
    inner = slice(None) if align_corners else slice(2, -2)  # beyond the outer centres it is flat
    assert torch.allclose(from_coarse[:, inner], from_fine[:, inner])


def test_decoder_counts_304_channels():
    """Figure 2: 256 of the pyramid and 48 of the backbone, whose many would outweigh them."""
    net = on_meta(DeepLabV3Plus, backbone="resnet50", separable=False)
    assert net.decoder.reduce[0].weight.shape == (48, 256, 1, 1)
    assert [conv[0].weight.shape for conv in net.decoder.refine] == [
        (256, 304, 3, 3),
        (256, 256, 3, 3),
    ]
