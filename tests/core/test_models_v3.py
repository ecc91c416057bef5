"""DeepLab v3, its pyramid and its ResNet: torchvision's logits to the bit, the paper's table."""

import re
import warnings

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import segmentation

from deeplab_lite.models import DeepLabV3
from deeplab_lite.models.aspp import ASPP, ASPPConv, AtrousSeparableConv
from deeplab_lite.models.base import freeze_batch_norm, scaled_rates
from deeplab_lite.models.resnet import ResNet
from deeplab_lite.receptive_field import receptive_fields

AS_TORCHVISION = {"output_stride": 8, "multi_grid": (1, 1, 1)}
PEERS = {
    "resnet50": (segmentation.deeplabv3_resnet50, segmentation.DeepLabV3_ResNet50_Weights.DEFAULT),
    "resnet101": (
        segmentation.deeplabv3_resnet101,
        segmentation.DeepLabV3_ResNet101_Weights.DEFAULT,
    ),
}


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def as_if_trained(model):
    """Batch norms with scales, shifts and statistics that are not those of the start."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.0)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return model.eval()


def on_paper(**options):
    """A model of the right shapes without values."""
    with torch.device("meta"):
        return DeepLabV3(**options).eval()


def small(**options):
    """On a sixteenth of VGG-16's width with batch norm."""
    torch.manual_seed(0)
    lite = {"num_classes": 4, "backbone": "vgg16", "width": 1 / 16, "batch_norm": True}
    lite |= {"pools": "torchvision", "rates": (1, 2, 3), "channels": 8}
    return as_if_trained(DeepLabV3(**(lite | options)))


def dilations(blocks):
    return [block.conv2.dilation[0] for block in blocks]


# ---- torchvision's networks ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:rates")
@pytest.mark.parametrize("aux", [True, False])
@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_logits_are_torchvisions_to_the_bit(backbone, aux):
    torch.manual_seed(0)
    peer = PEERS[backbone][0](weights=None, weights_backbone=None, num_classes=5, aux_loss=aux)
    as_if_trained(peer)
    with torch.device("meta"):
        model = DeepLabV3(5, backbone, aux=aux, **AS_TORCHVISION)
    model.load_state_dict(peer.state_dict(), strict=True, assign=True)
    wide_enough = backbone == "resnet50" and not aux  # for the taps of rate 36
    x = noise(1, 3, 104, 304 if wide_enough else 40)
    with torch.no_grad():
        ours, theirs = model.eval()(x), peer(x)
    for name, logits in theirs.items():
        assert logits.std() > 1e-3
        assert torch.equal(ours[name] if aux else ours, logits)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_multiply_adds_are_those_that_torchvision_publishes(backbone):
    """In 10^9, for a picture of 520 x 520."""
    model = on_paper(backbone=backbone, aux=True, **AS_TORCHVISION)
    with FlopCounterMode(display=False) as count:
        model(torch.zeros(1, 3, 520, 520, device="meta"))
    assert count.get_total_flops() / 2e9 == pytest.approx(PEERS[backbone][1].meta["_ops"], abs=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_backbone_has_the_values_of_torchvisions_classifier(name):
    torch.manual_seed(0)
    peer = as_if_trained(getattr(torchvision.models, name)(num_classes=3))
    model = ResNet(name, output_stride=32).eval()
    model.load_torchvision(peer.state_dict())
    x = noise(1, 3, 64, 96)
    with torch.no_grad():
        maps = model(x)
        layers = nn.Sequential(*list(peer.children())[:-2])
        assert torch.equal(maps["low"], layers[:5](x))
        assert torch.equal(maps["aux"], layers[:7](x))
        assert torch.equal(maps["out"], layers(x))
    channels = (model.low_channels, model.aux_channels, model.out_channels)
    assert channels == tuple(maps[key].shape[1] for key in ("low", "aux", "out"))


@pytest.mark.parametrize(
    ("output_stride", "replaced"), [(16, [False, False, True]), (8, [False, True, True])]
)
def test_strides_are_traded_where_torchvision_does(output_stride, replaced):
    with torch.device("meta"):
        peer = torchvision.models.resnet50(replace_stride_with_dilation=replaced)
        model = ResNet("resnet50", output_stride)
    convs = dict(peer.named_modules())
    for name, conv in model.named_modules():
        if isinstance(conv, nn.Conv2d):
            theirs = convs[name]
            assert (conv.stride, conv.dilation) == (theirs.stride, theirs.dilation), name


# ---- Receptive fields ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stride_on", "field"),
    [
        ("resnet18", "3x3", 435),
        ("resnet34", "3x3", 899),
        ("resnet50", "3x3", 427),
        ("resnet50", "1x1", 483),
        ("resnet101", "3x3", 971),
        ("resnet101", "1x1", 1027),
    ],
)
@pytest.mark.parametrize("output_stride", [32, 8])
def test_field_of_the_backbone(name, stride_on, field, output_stride):
    """Trading strides for dilation changes no field."""
    with torch.device("meta"):
        model = ResNet(name, output_stride, stride_on=stride_on).eval()
    field_of = receptive_fields(model, 128, layers=["layer4"])["layer4"]
    assert (field_of.size, field_of.stride) == ((field, field), (output_stride, output_stride))


@pytest.mark.parametrize(
    ("options", "fields", "strides"),
    [  # layer3, layer4, the 1x1 branch and the three atrous ones
        (AS_TORCHVISION, (267, 427, 427, 619, 811, 1003), (8,) * 6),
        # layer4 at dilations 2, 4, 8 on stride 16: 267 + 2 x 16 x 14
        ({}, (267, 715, 715, 907, 1099, 1291), (16,) * 6),
    ],
)
def test_fields_of_the_branches(options, fields, strides):
    names = ["backbone.layer3", "backbone.layer4", *(f"classifier.0.convs.{i}" for i in range(5))]
    fields_of = receptive_fields(on_paper(**options), 512, layers=names)
    *local, pooled = (fields_of[name] for name in names)
    assert tuple(field.size[0] for field in local) == fields
    assert tuple(field.stride[0] for field in local) == strides
    assert pooled.is_global and not any(field.is_global for field in local)


# ---- Output stride and multi-grid ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("output_stride", "multi_grid", "layer3", "layer4"),
    [
        (32, (1, 1, 1), [1] * 6, [1, 1, 1]),
        (16, (1, 1, 1), [1] * 6, [1, 2, 2]),  # the first block keeps the dilation before it
        (8, (1, 1, 1), [1] + [2] * 5, [2, 4, 4]),
        (16, (1, 2, 4), [1] * 6, [2, 4, 8]),
        (8, (1, 2, 4), [1] + [2] * 5, [4, 8, 16]),
        (8, (1, 2, 1), [1] + [2] * 5, [4, 8, 4]),
    ],
)
def test_dilations(output_stride, multi_grid, layer3, layer4):
    with torch.device("meta"):
        built = ResNet("resnet50", output_stride, multi_grid)
        changed = ResNet("resnet50", 8 if output_stride > 8 else 32, multi_grid)
    changed.output_stride = output_stride
    for model in (built, changed):
        assert dilations(model.layer2) == [1] * 4
        assert (dilations(model.layer3), dilations(model.layer4)) == (layer3, layer4)
        strides = [model.get_submodule(f"layer{n}.0.downsample.0").stride[0] for n in (2, 3, 4)]
        assert strides == {32: [2, 2, 2], 16: [2, 2, 1], 8: [2, 1, 1]}[output_stride]


def test_with_strides_on_the_1x1_the_first_3x3_is_dilated_like_the_others():
    with torch.device("meta"):
        model = ResNet("resnet50", 8, stride_on="1x1")
    assert (dilations(model.layer3), dilations(model.layer4)) == ([2] * 6, [4] * 3)


@pytest.mark.parametrize(
    ("options", "options_at_8", "width"),
    [
        ({"rates": (1, 2, 3)}, {"rates": (2, 4, 6)}, 96),
        ({"channels": 8}, {"channels": 8}, 304),  # as wide as rates 12, 24, 36 need
        ({"cascade": 7}, {"cascade": 7}, 96),
    ],
)
def test_setting_output_stride_8_is_building_at_8_with_the_same_weights(
    options, options_at_8, width
):
    """But for the 3x3 after the pyramid, which is dilated: it was trained on a map half as dense.

    On ResNet; VGG-16's pool5 is such a layer as well.
    """
    torch.manual_seed(0)
    resnet = {"num_classes": 4, "backbone": "resnet18", "multi_grid": (1, 1, 1)}
    model = as_if_trained(DeepLabV3(**resnet, **options, output_stride=16))
    other = DeepLabV3(**resnet, **options_at_8, output_stride=8).eval()
    other.load_state_dict(model.state_dict())
    if "cascade" not in options:
        other.classifier.conv.dilation = other.classifier.conv.padding = (2, 2)
    x = noise(1, 3, 64, width)
    with torch.no_grad():
        before = model(x)
        model.output_stride = 8
        assert model.classifier.rates == other.classifier.rates
        after = model(x)
        assert torch.equal(after, other(x)) and not torch.equal(after, before)
        model.output_stride = 16
        assert torch.equal(model(x), before)


def test_atrous_branches_see_the_same_pixels_at_output_stride_8():
    """Rates double with the map, so scores at shared positions stay, at the border too."""
    model = small(output_stride=16)
    branches = [b for b in model.classifier.aspp.convs if isinstance(b, ASPPConv)]
    maps = []
    for branch in branches:
        branch.register_forward_hook(lambda layer, args, out: maps.append(out))
    x = noise(1, 1, 9, 12).repeat(1, model.backbone.out_channels, 1, 1)
    wide = torch.zeros(*x.shape[:2], 18, 24)
    wide[..., ::2, ::2] = x
    with torch.no_grad():
        for branch in branches:
            branch(x)
        model.output_stride = 8
        for branch in branches:
            branch(wide)
    assert model.classifier.rates == (2, 4, 6)
    for coarse, fine in zip(maps[:3], maps[3:], strict=True):
        assert (fine[..., ::2, ::2] - coarse).abs().max() < 1e-5


def test_scaled_rates_reach_the_same_pixels():
    assert scaled_rates((6, 12, 18), 16, 8) == (12, 24, 36)
    assert scaled_rates((4, 8, 12), 8, 32) == (1, 2, 3)


# ---- Rates that do not fit -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "output_stride", "patterns"),
    [
        ((12, 24, 36), 16, [r"rates \(12, 24, 36\) are the paper's for output_stride 8"]),
        ((6, 12, 18), 8, [r"output_stride 16: at 8 .* \(12, 24, 36\)"]),
        ((6, 12, 18), 16, []),
        (None, 8, []),
        ((1, 2, 3), 8, []),
    ],
)
def test_the_papers_rates_for_another_output_stride_warn(rates, output_stride, patterns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        on_paper(rates=rates, output_stride=output_stride)
    assert len(caught) == len(patterns)
    for warning, pattern in zip(caught, patterns, strict=True):
        assert re.search(pattern, str(warning.message))


@pytest.mark.parametrize(("rate", "same"), [(8, False), (9, True), (20, True)])
def test_at_a_rate_as_large_as_the_map_a_3x3_is_its_centre_tap(rate, same):
    """v3, figure 4: on 9 x 9 positions, from rate 9 on."""
    torch.manual_seed(0)
    conv, x = nn.Conv2d(3, 4, 3, padding=rate, dilation=rate).double(), noise(1, 3, 9, 9).double()
    centre = F.conv2d(x, conv.weight[:, :, 1:2, 1:2], conv.bias)
    assert torch.allclose(conv(x), centre, atol=1e-12) is same
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ASPP(3, (1, rate), 4).eval()(x.float())
    assert [f"rates [{rate}] on a map of 9 x 9" in str(w.message) for w in caught] == [True] * same


def test_a_rate_that_reaches_along_one_side_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ASPP(3, (9,), 4).eval()(noise(1, 3, 5, 10))


# ---- The pyramid ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_image_pooling_cannot_train_on_one_image(batch):
    model = small().train()
    x = noise(batch, 3, 64, 64)
    if batch == 1:
        with pytest.raises(
            ValueError, match=r"one value per channel .*drop_last=True.* model.eval"
        ):
            model(x)
        assert model.eval()(x).isfinite().all()
        model.train()
        assert freeze_batch_norm(model)(x).isfinite().all()
    else:
        assert model(x).isfinite().all()


def test_image_pooling_spreads_the_mean_of_the_map():
    pooling = as_if_trained(ASPP(3, (), 4)).convs[1]
    x = noise(2, 3, 5, 7)
    _, conv, norm, relu = pooling
    mean = x.mean((2, 3), keepdim=True)
    assert torch.allclose(pooling(x), relu(norm(conv(mean))).expand(2, 4, 5, 7), atol=1e-6)


def test_without_image_pooling_there_is_one_branch_less():
    for image_pooling, branches in ((True, 4), (False, 3)):
        assert len(ASPP(3, (1, 2), 4, image_pooling=image_pooling).convs) == branches


def test_an_atrous_separable_convolution_is_a_convolution_of_product_weights():
    torch.manual_seed(0)
    conv = AtrousSeparableConv(5, 4, rate=3).double()
    depthwise, pointwise = conv[0].weight, conv[1].weight  # 5 x 1 x 3 x 3, 4 x 5 x 1 x 1
    x = noise(2, 5, 9, 8).double()
    whole = F.conv2d(x, pointwise * depthwise[:, 0], padding=3, dilation=3)
    assert torch.allclose(conv(x), whole, atol=1e-12)
    assert sum(p.numel() for p in conv.parameters()) == 5 * 9 + 5 * 4


@pytest.mark.parametrize("separable", [False, True])
def test_rates_of_a_pyramid_can_be_set(separable):
    torch.manual_seed(0)
    pyramid, other = (as_if_trained(ASPP(3, rates, 4, separable)) for rates in ((1, 2), (3, 5)))
    pyramid.load_state_dict(other.state_dict())
    pyramid.rates = (3, 5)
    x = noise(1, 3, 9, 9)
    assert torch.equal(pyramid(x), other(x))
    assert pyramid.rates == (3, 5)


# ---- Cascade, auxiliary head, other backbones ----------------------------------------------------


def test_rates_of_the_cascade_double_from_block_to_block():
    model = on_paper(cascade=7, multi_grid=(1, 2, 1))
    blocks = dict(model.classifier.named_children())
    assert list(blocks) == ["block5", "block6", "block7", "scores"]
    assert model.classifier.rates == (4, 8, 16)
    assert dilations(model.backbone.layer4) == [2, 4, 2]
    assert dilations(blocks["block5"]) == [4, 8, 4]
    assert dilations(blocks["block7"]) == [16, 32, 16]
    model.output_stride = 8
    assert dilations(blocks["block7"]) == [32, 64, 32]


@pytest.mark.parametrize(("cascade", "blocks"), [(4, 0), (5, 1), (6, 2), (7, 3)])
def test_parameters_of_the_cascade(cascade, blocks):
    """23,508,032 of ResNet-50; three blocks of 2048 x 512, 512 x 512 x 9, 512 x 2048 and BN."""
    model = on_paper(cascade=cascade)
    assert sum(p.numel() for p in model.parameters()) == (
        23_508_032 + blocks * 3 * (2 * 2048 * 512 + 9 * 512**2 + 2 * 3072) + 21 * 2049
    )


@pytest.mark.parametrize("options", [{"cascade": 8}, {"cascade": 3}, {"cascade": 5, "rates": (1,)}])
def test_cascades_that_are_no_cascades_raise(options):
    with pytest.raises(ValueError, match="expected its last block, 4 to 7, and no rates"):
        on_paper(**options)


@pytest.mark.parametrize("training", [True, False])
def test_the_auxiliary_head_scores_layer3(training):
    torch.manual_seed(0)
    model = as_if_trained(DeepLabV3(3, "resnet18", multi_grid=(1, 1, 1), rates=(1, 2), aux=True))
    x = noise(2, 3, 64, 96)
    with torch.no_grad():
        logits = freeze_batch_norm(model).train(training)(x)
        model.aux_classifier.eval()
        alone = model.aux_classifier(model.backbone(x)["aux"])
        expected = F.interpolate(alone, (64, 96), mode="bilinear")
    assert list(logits) == ["out", "aux"]
    assert logits["out"].shape == logits["aux"].shape == (2, 3, 64, 96)
    if not training:  # dropout
        assert torch.equal(logits["aux"], expected)


@pytest.mark.parametrize(
    "block",
    [lambda: ResNet("resnet18").layer4[1], lambda: small(cascade=5, rates=None).classifier[0][1]],
)
def test_residual_blocks_begin_with_kaimings_weights_by_fan_out(block):
    weight = block().conv2.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (9 * weight.shape[0])) ** 0.5, rel=0.1)


@pytest.mark.parametrize("options", [{}, {"cascade": 6, "rates": None}])
def test_every_parameter_learns(options):
    model = small(dropout=0.0, **options).train()
    model(noise(2, 3, 64, 64)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if not p.grad.abs().max() > 0] == []


def test_corners_can_be_aligned():
    """The scores' first and last positions stand on the first and last pixels."""
    model = small(align_corners=True, pools="caffe")
    scores = []
    model.classifier.register_forward_hook(lambda layer, args, out: scores.append(out))
    with torch.no_grad():
        logits = model(noise(1, 3, 97, 65))
    assert scores[0].shape[2:] == (7, 5)
    assert torch.allclose(logits[..., ::16, ::16], scores[0], atol=1e-5)


# ---- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: on_paper(output_stride=4), "output_stride 4: expected 8, 16 or 32"),
        (lambda: on_paper(backbone="vgg16", aux=True), "vgg16 has no layer3 .* aux=False"),
        (lambda: on_paper(backbone="resnet18"), r"multi_grid \(1, 2, 4\): .* 2 blocks in layer4"),
        (lambda: on_paper(rates=(0, 1)), "expected whole numbers of at least 1"),
        (lambda: ResNet("resnet152"), "no ResNet is called 'resnet152': there are resnet18"),
        (lambda: ResNet("resnet18", stride_on="1x1"), "stride_on '1x1': resnet18 knows 3x3"),
        (lambda: small()(noise(1, 3, 65, 64)), "height 65 is not a multiple .* 16: resize to 80"),
        (lambda: small()(noise(64, 64, 3)), r"shape \(64, 64, 3\): expected B x 3 x H x W"),
    ],
)
def test_what_does_not_fit_raises(build, message):
    with pytest.raises(ValueError, match=message):
        build()
