"""DeepLab v1 and VGG-16, held to the paper's numbers and to torchvision's weights."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab_lite.losses import map_loss, shrink_labels
from deeplab_lite.models import DeepLabV1
from deeplab_lite.models.base import init_classifier
from deeplab_lite.models.v1 import FORMS, SIDES
from deeplab_lite.models.vgg import POOLS, VGG16, decimate
from deeplab_lite.receptive_field import receptive_fields
from deeplab_lite.schedules import parameter_groups

LITE = {"pools": "torchvision", "width": 0.25, "batch_norm": True}
TINY = {"pools": "torchvision", "width": 1 / 16, "batch_norm": True, "dropout": 0.0}
PLAIN = {"pools": "torchvision", "output_stride": 32, "rate": 1, "pool5a": False}  # undilated
even_kernels_at_odd_rates = pytest.mark.filterwarnings("ignore:Using padding='same' with even")


def on_meta(**options):
    """A model of shapes alone, in eval mode: parameters are counted and maps sized at once."""
    with torch.device("meta"):
        return DeepLabV1(**options).eval()


def seeded(model, seed=0):
    """The model in eval mode, its weights and BN statistics drawn from a seed."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight.data, layer.running_var):
                values.uniform_(0.5, 1.5, generator=generator)
            for values in (layer.bias.data, layer.running_mean):
                values.normal_(0, 0.1, generator=generator)
        elif isinstance(layer, nn.Conv2d):
            fan_in = layer.weight[0].numel()
            layer.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            layer.bias.data.normal_(0, 0.1, generator=generator)
    return model.eval()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Scores(nn.Module):
    """The map before it is resized, as a network of its own."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.scores(x)


# ---- The paper's numbers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pools, output_stride, pixels, sizes",
    [
        ("caffe", 8, 321, [161, 81, 41, 41, 41]),
        ("caffe", 8, 513, [257, 129, 65, 65, 65]),
        ("caffe", 8, 320, [161, 81, 41, 41, 41]),
        ("caffe", 8, 512, [257, 129, 65, 65, 65]),
        ("caffe", 32, 321, [161, 81, 41, 21, 11]),
        ("base", 8, 306, [154, 78, 40, 39, 39]),
        ("base", 8, 514, [258, 130, 66, 65, 65]),
        ("notes", 8, 514, [257, 129, 65, 66, 67]),
        ("torchvision", 8, 320, [160, 80, 40, 40, 40]),
        ("torchvision", 8, 512, [256, 128, 64, 64, 64]),
        ("torchvision", 16, 512, [256, 128, 64, 32, 32]),
        ("torchvision", 32, 224, [112, 56, 28, 14, 7]),
    ],
)
def test_map_sizes(pools, output_stride, pixels, sizes):
    with torch.device("meta"):
        backbone = VGG16(pools=pools, output_stride=output_stride)
        maps = backbone.maps(torch.empty(1, 3, pixels, pixels), *(f"pool{i}" for i in range(1, 6)))
    assert [m.shape[-1] for m in maps.values()] == sizes
    assert all(m.shape[-1] == m.shape[-2] for m in maps.values())


@pytest.mark.parametrize(
    "fc6, pixels, size",
    [("base", 306, 39), ("base", 514, 65), ("largefov", 321, 41), ("largefov", 513, 65)]
    + [(fc6, 321, 41) for fc6 in ("7x7", "4x4", "3x3")],
)
def test_the_head_keeps_the_size(fc6, pixels, size):
    scores = on_meta(fc6=fc6).scores(torch.empty(2, 3, pixels, pixels, device="meta"))
    assert scores.shape == (2, 21, size, size)


@pytest.mark.parametrize(
    "options, parameters",
    [
        ({"fc6": "7x7"}, 134_346_581),
        ({"fc6": "4x4"}, 65_140_565),
        ({"fc6": "base"}, 65_140_565),
        ({"fc6": "largefov"}, 20_505_429),
        ({"fc6": "3x3"}, 20_505_429),
        # side branches of 3, 64, 128, 256, 512 channels, and 5 x 128 channels more for fc8
        (
            {"fc6": "largefov", "msc": True},
            20_505_429 + (9 * 963 * 128 + 5 * 128) + 5 * (128 * 128 + 128) + 21 * 5 * 128,
        ),
    ],
)
def test_parameters(options, parameters):
    assert sum(p.numel() for p in on_meta(**options).parameters()) == parameters


@pytest.mark.parametrize(
    "fc6, size, gmac", [("7x7", 39, 156.3), ("base", 39, 51.0), ("largefov", 41, 7.9)]
)
def test_multiply_adds_of_fc6(fc6, size, gmac):
    fc6 = on_meta(fc6=fc6).head.fc6
    with FlopCounterMode(display=False) as counter:
        assert fc6(torch.empty(1, 512, size, size, device="meta")).shape[-1] == size
    assert counter.get_total_flops() / 2 == pytest.approx(gmac * 1e9, abs=0.05e9)


@even_kernels_at_odd_rates
@pytest.mark.parametrize(
    "options, layer, field",
    [
        (PLAIN, "backbone", 212),
        (PLAIN | {"fc6": "7x7"}, "fc8", 404),
        (PLAIN | {"fc6": "4x4"}, "fc8", 308),
        (PLAIN | {"fc6": "3x3"}, "fc8", 276),
        ({"fc6": "largefov"}, "fc8", 435),
        ({"fc6": "largefov", "pool5a": False}, "fc8", 419),
        *(({"pool5a": False, "rate": r}, "fc8", 227 + 16 * r) for r in (6, 12, 18, 24)),
        ({"fc6": "3x3"}, "fc8", 435 - 16 * 11),
    ],
)
def test_receptive_fields(options, layer, field):
    names = {"backbone": "backbone.features.30"}
    fields = receptive_fields(on_meta(**options), 1024 + on_meta(**options).align_corners)
    assert fields[names.get(layer, layer)].size == (field, field)


@pytest.mark.parametrize(
    "fc6, field", [("7x7", 224), ("base", 128), ("4x4", 224), ("largefov", 224)]
)
def test_the_papers_field_of_view_column(fc6, field):
    conv = on_meta(fc6=fc6).head.fc6
    assert 32 + 8 * conv.dilation[0] * (conv.kernel_size[0] - 1) == field


@pytest.mark.parametrize("fc6, at_32", [("7x7", 1), ("base", 1), ("4x4", 2), ("largefov", 3)])
def test_the_papers_rates_are_those_of_the_plain_network_times_four(fc6, at_32):
    assert FORMS[fc6].rate == 4 * at_32 == 4 * on_meta(fc6=fc6, output_stride=32).rate


# ---- The backbone --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_the_backbone_has_torchvisions_keys_and_maps(name):
    theirs = seeded(getattr(torchvision.models.vgg, name)(num_classes=1).features)
    with torch.device("meta"):
        ours = VGG16(batch_norm=name == "vgg16_bn", pools="torchvision", output_stride=32).eval()
    ours.to_empty(device="cpu")
    state = {f"features.{key}": value for key, value in theirs.state_dict().items()}
    assert [*ours.state_dict()] == [*state]
    ours.load_torchvision(state | {"classifier.0.bias": torch.zeros(4096)})
    x = noise(1, 3, 32, 64)
    with torch.inference_mode():
        maps = ours(x)
        assert torch.equal(maps["out"], theirs(x))
        assert torch.equal(maps["low"], theirs[: ours.index["relu3_3"] + 1](x))
    assert maps["low"].shape == (1, ours.low_channels, 8, 16)
    assert maps["out"].shape == (1, ours.out_channels, 1, 2)


@pytest.mark.parametrize(
    "output_stride, multi_grid, dilations, pool_strides",
    [
        (32, (1, 1, 1), [1, 1, 1], [2, 2, 2, 2, 2]),
        (16, (1, 1, 1), [1, 1, 1], [2, 2, 2, 2, 1]),
        (8, (1, 1, 1), [2, 2, 2], [2, 2, 2, 1, 1]),
        (16, (1, 2, 4), [1, 2, 4], [2, 2, 2, 2, 1]),
        (8, (1, 2, 4), [2, 4, 8], [2, 2, 2, 1, 1]),
    ],
)
@pytest.mark.parametrize("pools", POOLS)
def test_strides_are_traded_for_dilation(pools, output_stride, multi_grid, dilations, pool_strides):
    with torch.device("meta"):
        backbone = VGG16(0.25, True, pools, output_stride, multi_grid)
    layers = {name: backbone.features[i] for name, i in backbone.index.items()}
    convs = [layer for layer in backbone.features if isinstance(layer, nn.Conv2d)]
    assert [conv.dilation for conv in convs] == [(1, 1)] * 10 + [(d, d) for d in dilations]
    assert all(conv.padding == conv.dilation for conv in convs)
    assert [layers[f"pool{i}"].stride for i in range(1, 6)] == pool_strides


@pytest.mark.parametrize("multi_grid", [(1, 2), (1, 2, 4, 8), (0, 1, 1)])
def test_a_multi_grid_of_other_than_three_multipliers_raises(multi_grid):
    with pytest.raises(ValueError, match="expected three multipliers"):
        VGG16(multi_grid=multi_grid)


def test_width_scales_every_channel_count():
    with torch.device("meta"):
        backbone, wide = VGG16(width=0.25, batch_norm=True), VGG16(batch_norm=True)
    assert backbone.channels == (16, 32, 64, 128, 128)
    assert (backbone.low_channels, backbone.out_channels) == (64, 128)
    convs = [[m for m in v.features if isinstance(m, nn.Conv2d)] for v in (backbone, wide)]
    assert [4 * c.out_channels for c in convs[0]] == [c.out_channels for c in convs[1]]
    assert 0.9e6 < sum(p.numel() for p in backbone.parameters()) < 1e6


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_norm": True}, "torchvision's vgg16_bn: pass .* or choose batch_norm=False"),
        ({"width": 0.5}, r"features.0.weight is \(64, 3, 3, 3\) .* \(32, 3, 3, 3\) here.*width=1"),
    ],
)
def test_weights_of_another_network_are_refused(options, message):
    with torch.device("meta"):
        state = torchvision.models.vgg16(num_classes=1).state_dict()
        backbone = VGG16(**options)
    with pytest.raises(ValueError, match=message):
        backbone.load_torchvision(state)


def test_bn_weights_are_refused_without_bn():
    with torch.device("meta"):
        state, backbone = torchvision.models.vgg16_bn(num_classes=1).state_dict(), VGG16()
    with pytest.raises(ValueError, match=r"torchvision's vgg16: pass .* choose batch_norm=True"):
        backbone.load_torchvision(state)


# ---- The classifier becomes convolutions ---------------------------------------------------------


@pytest.fixture(scope="module")
def vgg16():
    model = seeded(torchvision.models.vgg16(init_weights=False))
    generator = torch.Generator().manual_seed(1)
    for layer in model.classifier:
        if isinstance(layer, nn.Linear):
            layer.weight.data.normal_(0, (2 / layer.in_features) ** 0.5, generator=generator)
            layer.bias.data.normal_(0, 0.1, generator=generator)
    return model


@torch.inference_mode()
def test_7x7_is_torchvisions_classifier_at_each_window(vgg16):
    with torch.device("meta"):
        model = DeepLabV1(1000, "7x7", **PLAIN).eval()
    model = model.to_empty(device="cpu")
    model.load_torchvision(vgg16.state_dict())
    model.fc8.weight.copy_(vgg16.classifier[6].weight[:, :, None, None])
    model.fc8.bias.copy_(vgg16.classifier[6].bias)

    pool5 = noise(1, 512, 8, 9).relu()  # 2 x 3 windows of 7 x 7
    scores = model.fc8(model.head(pool5))[0, :, 3:-3, 3:-3].flatten(1).T
    windows = vgg16.classifier(F.unfold(pool5, 7)[0].T)
    assert windows.std(0).max() > 0.1  # they differ
    torch.testing.assert_close(scores, windows, rtol=0, atol=1e-4)

    x = noise(1, 3, 224, 224)
    torch.testing.assert_close(model.scores(x)[:, :, 3, 3], vgg16(x), rtol=0, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("fc6, taps, step", [("largefov", (0, 3, 6), 4), ("4x4", (0, 2, 4, 6), 1)])
def test_fc6_and_fc7_are_decimated(vgg16, fc6, taps, step):
    with torch.device("meta"):
        model = DeepLabV1(fc6=fc6)
    model = model.to_empty(device="cpu")
    model.load_torchvision(vgg16.state_dict())
    dense = vgg16.classifier[0].weight.view(4096, 512, 7, 7)
    for y, row in enumerate(taps):
        for x, column in enumerate(taps):
            assert torch.equal(model.head.fc6.weight[..., y, x], dense[::step, :, row, column])
    fc7 = vgg16.classifier[3]
    assert torch.equal(model.head.fc7.weight[..., 0, 0], fc7.weight[::step, ::step])
    assert torch.equal(model.head.fc6.bias, vgg16.classifier[0].bias[::step])
    assert torch.equal(model.head.fc7.bias, fc7.bias[::step])
    assert torch.equal(model.backbone.features[28].weight, vgg16.features[28].weight)


@pytest.mark.parametrize("kernel, dilation", [(3, 3), (4, 2), (7, 1)])
def test_decimated_taps_stand_where_they_stood(kernel, dilation):
    weight, x = noise(6, 4, 7, 7), noise(1, 4, 15, 17, seed=1)
    comb = torch.zeros(7)
    comb[::dilation] = 1
    small = decimate(weight, (6, 4, kernel, kernel))
    torch.testing.assert_close(
        F.conv2d(x, small, dilation=dilation), F.conv2d(x, weight * comb * comb[:, None])
    )


def test_a_state_dict_without_the_classifier_is_refused(vgg16):
    state = {k: v for k, v in vgg16.state_dict().items() if k.startswith("features.")}
    with pytest.raises(ValueError, match=r"no classifier.0 in .*: pass .* vgg16"):
        on_meta().head.load_torchvision(state)


# ---- Where scores stand --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pools, output_stride, pixels, first",
    [
        *(("caffe", s, 8 * s + 1, 0) for s in (8, 16, 32)),
        *(("torchvision", s, 8 * s, (s - 1) / 2) for s in (8, 16, 32)),
        ("notes", 8, 64, 3.5),
        *(("base", s, 8 * s + 2, 0.5) for s in (8, 16, 32)),
    ],
)
def test_units_look_where_their_scores_are_put(pools, output_stride, pixels, first):
    model = DeepLabV1(2, "largefov", pools, 1 / 64, output_stride=output_stride, rate=1).eval()
    assert model(noise(1, 3, pixels, pixels)).shape == (1, 2, pixels, pixels)
    field = receptive_fields(Scores(model), pixels)[""]
    count = 8 + model.align_corners
    assert field.map_size == (count, count)
    centers = [field.center(u)[0] for u in range(count)]
    assert centers == [first + output_stride * u for u in range(count)]
    columns = torch.arange(pixels).expand(1, 1, pixels)
    labels = shrink_labels(columns, (1, count), model.align_corners)[0, 0]
    assert all(abs(c - p) <= 0.5 for c, p in zip(centers, labels.tolist(), strict=True))
    positions = torch.tensor(centers).expand(1, 1, 1, count)
    resized = F.interpolate(
        positions, (1, pixels), mode="bilinear", align_corners=model.align_corners
    )
    inner = slice(output_stride, -output_stride)
    assert (resized[0, 0, 0] - torch.arange(pixels))[inner].abs().max() <= 0.5


@pytest.mark.parametrize("pools, off", [("caffe", 0), ("torchvision", 3.5)])
def test_side_branches_look_where_the_docstring_says(pools, off):
    model = DeepLabV1(2, "largefov", pools, 1 / 64, rate=1, msc=True).eval()
    count, pixels = 8 + model.align_corners, 64 + model.align_corners
    fields = receptive_fields(model, pixels)
    stood = [fields["fc8"].center(u)[0] for u in range(count)]
    for name in SIDES:
        field = fields[f"msc.{name}"]
        assert field.map_size == (count, count)
        distances = {s - field.center(u)[0] for u, s in enumerate(stood)}
        assert len(distances) == 1 and 0 <= distances.pop() <= off


# ---- Forward -------------------------------------------------------------------------------------


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(
    "pools, extra, msc",
    [
        *(("caffe", 1, msc) for msc in (False, True)),
        *(("torchvision", 0, msc) for msc in (False, True)),
        *(("base", 2, False), ("notes", 0, False)),
    ],
)
def test_logits_have_the_images_size(pools, extra, output_stride, msc):
    with torch.device("meta"):
        model = DeepLabV1(
            9, pools=pools, width=0.25, output_stride=output_stride, rate=1, msc=msc
        ).eval()
        size = [k * output_stride + extra for k in (4, 6)]
        assert model(torch.empty(2, 3, *size)).shape == (2, 9, *size)


@torch.inference_mode()
def test_the_stride_can_be_changed_and_changed_back():
    model = seeded(DeepLabV1(3, rate=2, output_stride=16, msc=True, **TINY))
    x, before = noise(1, 3, 64, 96), dict(model.state_dict())
    at_16 = model(x)
    model.output_stride = 8
    assert (model.rate, model.backbone.output_stride) == (4, 8)
    twin = DeepLabV1(3, rate=4, output_stride=8, msc=True, **TINY).eval()
    twin.load_state_dict(model.state_dict())
    twin.backbone.features[-1] = model.backbone.features[-1]  # pool5, dilated as the map is denser
    assert torch.equal(model(x), twin(x))
    assert model.scores(x).shape[-2:] == (8, 12)
    assert not torch.allclose(model(x), at_16)
    model.output_stride = 16
    assert torch.equal(model(x), at_16)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@torch.inference_mode()
def test_channels_last_changes_the_layout_only():
    model, x = seeded(DeepLabV1(3, rate=4, **TINY)), noise(2, 3, 64, 64)
    logits = model(x)
    model.to(memory_format=torch.channels_last)
    last = model(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, logits)


@torch.inference_mode()
def test_msc_adds_to_the_scores_what_its_branches_say():
    plain = seeded(DeepLabV1(3, rate=1, **TINY))
    msc = DeepLabV1(3, rate=1, msc=True, **TINY).eval()
    assert [*msc.msc] == [*SIDES]
    channels = plain.fc8.in_channels
    state = plain.state_dict()
    state["fc8.weight"] = F.pad(state["fc8.weight"], (0, 0, 0, 0, 0, 5 * 8))
    msc.load_state_dict(state, strict=False)
    x = noise(1, 3, 64, 64)
    torch.testing.assert_close(msc(x), plain(x))
    for i, name in enumerate(SIDES):  # a constant from one branch shifts all scores by as much
        branch = msc.msc[name]
        branch[4].weight.zero_()  # the scale of its last batch norm
        branch[4].bias.fill_(1)
        msc.fc8.weight.zero_()
        msc.fc8.weight[1, channels + 8 * i] = 2
        expected = msc.fc8.bias + torch.tensor([0.0, 2, 0])
        assert torch.allclose(msc(x), expected[None, :, None, None].expand(1, 3, 64, 64))


def test_dropout_and_batch_norm_are_where_they_are_asked_for():
    head = dict(on_meta().head.named_children())
    assert " ".join(head) == "pool5a fc6 relu6 drop6 fc7 relu7 drop7"
    head = dict(on_meta(fc6="4x4", batch_norm=True, dropout=0.0).head.named_children())
    assert " ".join(head) == "fc6 bn6 relu6 fc7 bn7 relu7"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fc6": "5x5"}, "fc6 '5x5': expected one of 7x7, base"),
        ({"pools": "avg"}, "pools 'avg': expected one of caffe"),
        ({"output_stride": 12}, "output_stride 12: expected 8, 16 or 32"),
        ({"msc": True, "pools": "notes"}, "msc with pools 'notes': .* take pools='caffe'"),
        ({"rate": 0}, r"rates \(0,\): expected whole numbers of at least 1"),
    ],
)
def test_unknown_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        on_meta(**options)


@pytest.mark.parametrize(
    "pools, shape, message",
    [
        ("caffe", (1, 3, 320, 321), "height 320 .* output_stride 8 plus 1: resize to 321"),
        ("base", (1, 3, 306, 320), "width 320 .* output_stride 8 plus 2: resize to 322"),
        ("torchvision", (1, 3, 320, 321), "width 321 .* output_stride 8: resize to 328"),
        ("caffe", (3, 321, 321), "expected B x 3 x H x W"),
        ("caffe", (1, 1, 321, 321), "expected B x 3 x H x W"),
    ],
)
def test_images_that_do_not_fit_raise(pools, shape, message):
    with pytest.raises(ValueError, match=message):
        on_meta(pools=pools)(torch.empty(shape, device="meta"))


def test_a_stride_without_a_whole_rate_raises_and_changes_nothing():
    model = on_meta(fc6="3x3")
    with pytest.raises(ValueError, match="no whole numbers at 16"):
        model.output_stride = 16
    with pytest.raises(ValueError, match="expected 8, 16 or 32"):
        model.output_stride = 4
    assert (model.output_stride, model.rate, model.backbone.output_stride) == (8, 1, 8)


def test_a_rate_as_large_as_the_map_warns():
    model = on_meta(**TINY)
    with pytest.warns(UserWarning, match=r"rates \[12\] on a map of 8 x 12"):
        model(torch.empty(1, 3, 64, 96, device="meta"))


# ---- Training ------------------------------------------------------------------------------------


def test_the_first_loss_is_that_of_a_guess():
    torch.manual_seed(0)
    model = DeepLabV1(9, rate=4, **LITE)
    labels = torch.randint(9, (4, 64, 64))
    loss = map_loss(model.scores(noise(4, 3, 64, 64)), labels, model.align_corners)
    assert loss.item() == pytest.approx(math.log(9), abs=0.02)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_initial_weights_carry_the_signal_to_the_head(batch_norm):
    torch.manual_seed(0)
    model = DeepLabV1(9, rate=4, **{**LITE, "batch_norm": batch_norm}, dropout=0.0)
    features = model.head(model.backbone(noise(8, 3, 64, 64))["out"])
    assert 0.2 < features.std().item() < 5


def test_init_classifier():
    torch.manual_seed(0)
    conv = nn.Conv2d(1024, 21, 1)
    init_classifier(conv)
    assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not conv.bias.any()


def test_it_learns_two_pictures():
    torch.manual_seed(0)
    model = DeepLabV1(3, rate=2, **TINY)
    x, labels = noise(2, 3, 32, 32), torch.zeros(2, 32, 32, dtype=torch.long)
    labels[0, :, 16:], labels[1, 16:] = 1, 2
    labels[:, :4] = 255
    optimizer = torch.optim.SGD(parameter_groups(model, lr=0.02), momentum=0.9)
    for _ in range(40):
        loss = map_loss(model.scores(x), labels, model.align_corners)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    known = labels != 255
    assert (model(x).argmax(1) == labels)[known].float().mean() > 0.9
