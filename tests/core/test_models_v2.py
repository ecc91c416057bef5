"""DeepLab v2: the paper's counts and fields, summed scores, scales fused by max, schedules."""

import warnings

import pytest
import torch
from torch import nn

from deeplab_lite.models import DeepLabV2
from deeplab_lite.models.base import resize
from deeplab_lite.models.v1 import DeepLabV1
from deeplab_lite.models.v2 import ASPP_L, ASPP_S, Mirrored, MultiScale
from deeplab_lite.receptive_field import receptive_fields
from deeplab_lite.schedules import parameter_groups, poly


def on_paper(**options):
    """A model of the right shapes without values."""
    with torch.device("meta"):
        return DeepLabV2(**options).eval()


def small(**options):
    """A sixteenth of VGG-16's width with batch norm, in eval mode."""
    torch.manual_seed(0)
    lite = {"num_classes": 4, "rates": (1, 2, 3), "width": 1 / 16, "batch_norm": True}
    return DeepLabV2(**(lite | options)).eval()


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


# ---- Counts, sizes, fields -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 37_877_652),
        ({"rates": ASPP_S}, 37_877_652),
        ({"rates": (12,)}, 20_505_429),  # one branch is LargeFOV
        ({"backbone": "resnet101"}, 44_048_532),
    ],
)
def test_parameters(options, parameters):
    assert sum(p.numel() for p in on_paper(**options).parameters()) == parameters


@pytest.mark.parametrize("backbone", ["vgg16", "resnet101"])
@pytest.mark.parametrize(("size", "side"), [(321, 41), (513, 65)])
def test_size_of_the_map(backbone, size, side):
    model = on_paper(backbone=backbone)
    assert (
        receptive_fields(model, size, layers=["branches.0"])["branches.0"].map_size == (side,) * 2
    )


@pytest.mark.parametrize(
    ("rates", "fields"), [(ASPP_L, (323, 419, 515, 611)), (ASPP_S, (259, 291, 355, 419))]
)
def test_fields_of_the_branches_on_vgg(rates, fields):
    names = [f"branches.{i}" for i in range(4)]
    fields_of = receptive_fields(on_paper(rates=rates), 321, layers=names)
    assert tuple(fields_of[name].size[0] for name in names) == fields
    assert {fields_of[name].stride for name in names} == {(8, 8)}


def test_fields_of_the_branches_on_resnet_101():
    """With the strides on the 1x1: 11 + 24 + 4 x 16 + 23 x 32 + 3 x 64 = 1027, and 16 a rate."""
    names = ["backbone.layer4", *(f"branches.{i}" for i in range(4))]
    fields_of = receptive_fields(on_paper(backbone="resnet101"), 321, layers=names)
    assert [fields_of[name].size[0] for name in names] == [1027, 1123, 1219, 1315, 1411]


def test_units_of_a_branch_look_where_their_score_is_put():
    """With corners aligned, unit u stands at pixel 8 u: so must the middle of what it sees."""
    for backbone in ("vgg16", "resnet101"):
        field = receptive_fields(on_paper(backbone=backbone), 321, ["branches.0"])["branches.0"]
        assert [field.center(u) for u in (0, 7, 40)] == [(0, 0), (56, 56), (320, 320)]


def test_the_original_pool_of_resnet_rounds_up_which_is_the_same_at_fitting_sizes():
    for size, same in ((321, True), (513, True), (320, False)):
        x = torch.zeros(1, 1, (size + 1) // 2, 1)
        floor, ceil = (nn.MaxPool2d((3, 1), 2, (1, 0), ceil_mode=c)(x).shape for c in (False, True))
        assert (floor == ceil) is same


# ---- What it computes ----------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["vgg16", "resnet18"])
def test_scores_of_the_branches_are_summed(backbone):
    options = {"width": 1 / 16, "batch_norm": True} if backbone == "vgg16" else {}
    torch.manual_seed(0)
    model = DeepLabV2(4, backbone, rates=(1, 2, 3), **options).eval()
    x = noise(2, 3, 65, 81)
    with torch.no_grad():
        together = model(x)
        branches, alone = model.branches, 0
        for branch in branches:
            model.branches = nn.ModuleList([branch])
            alone = alone + model(x)
    assert together.std() > 0.01
    assert (together - alone).abs().max() < 1e-5 * together.abs().max()


def test_one_branch_is_large_fov():
    """v2's fc6 at rate 12 is v1's, which has an average over 3 x 3 positions before it."""
    torch.manual_seed(0)
    v1 = DeepLabV1(4, width=1 / 16, rate=2, pool5a=False).eval()
    v2 = DeepLabV2(4, width=1 / 16, rates=(2,)).eval()
    renamed = {
        k.replace("head.", "branches.0.").replace("fc8.", "branches.0.fc8.", k[:4] == "fc8."): v
        for k, v in v1.state_dict().items()
    }
    v2.load_state_dict(renamed)
    with torch.no_grad():
        assert torch.equal(v1(noise(1, 3, 65, 65)), v2(noise(1, 3, 65, 65)))


def test_every_parameter_learns():
    model = small(dropout=0.0).train()
    model(noise(2, 3, 65, 65)).square().sum().backward()
    still = [name for name, p in model.named_parameters() if not p.grad.abs().max() > 0]
    assert still == []


def test_first_scores_are_small_and_without_bias():
    branches = DeepLabV2(9, width=0.25).branches
    weights = torch.cat([branch.fc8.weight.flatten() for branch in branches])
    assert abs(weights.std() - 0.01) < 0.001
    assert all(not branch.fc8.bias.any() for branch in branches)


def test_width_and_batch_norm_reach_the_branches():
    model = DeepLabV2(9, width=0.25, batch_norm=True, rates=(2, 4))
    names = [name for name, _ in model.branches[1].named_children()]
    assert names == ["fc6", "bn6", "relu6", "drop6", "fc7", "bn7", "relu7", "drop7", "fc8"]
    assert model.branches[1].fc6.weight.shape == (256, 128, 3, 3)


def test_all_branches_begin_with_the_weights_of_imagenet():
    import torchvision

    with torch.device("meta"):
        shapes = {k: v.shape for k, v in torchvision.models.vgg16().state_dict().items()}
    state = {k: noise(1, *shape[1:]).expand(shape) for k, shape in shapes.items()}
    model, v1 = DeepLabV2(rates=(6, 12)), DeepLabV1()
    model.load_torchvision(state)
    v1.load_torchvision(state)
    for branch in model.branches:
        assert torch.equal(branch.fc6.weight, v1.head.fc6.weight)
        assert torch.equal(branch.fc7.bias, v1.head.fc7.bias)
    assert torch.equal(model.backbone.features[0].weight, state["features.0.weight"])


# ---- Output stride, sizes, rates -----------------------------------------------------------------


def test_output_stride_can_be_set_later():
    """Scores of the same pixels stay the same: dilations and rates follow the map."""
    torch.manual_seed(0)
    model = DeepLabV2(4, "resnet18", rates=(2, 4), output_stride=16).eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    scores = []
    model.branches[1].register_forward_hook(lambda layer, args, out: scores.append(out))
    with torch.no_grad():
        model(noise(1, 3, 129, 97))
        model.output_stride = 8
        model(noise(1, 3, 129, 97))
    coarse, fine = scores
    assert (model.output_stride, model.rates) == (8, (4, 8))
    assert (coarse.shape[2:], fine.shape[2:]) == ((9, 7), (17, 13))
    assert (fine[..., ::2, ::2] - coarse).abs().max() < 1e-4 * coarse.abs().max()
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("rates", [(0, 6), (2.0, 4)])
def test_rates_that_are_no_rates_raise(rates):
    with pytest.raises(ValueError, match="expected whole numbers of at least 1"):
        small(rates=rates)


@pytest.mark.parametrize(("rate", "warns"), [(8, False), (9, True)])
def test_a_rate_as_large_as_the_map_warns(rate, warns):
    """65 pixels give 9 positions."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        small(rates=(1, rate))(noise(1, 3, 65, 65))
    assert [str(w.message).partition(":")[0] for w in caught] == (
        ["rates [9] on a map of 9 x 9"] if warns else []
    )


# ---- Several scales ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "size", "sizes"),
    [
        ({}, (513, 321), [(513, 321), (385, 241), (257, 161)]),
        ({}, (65, 81), [(65, 81), (49, 65), (33, 41)]),  # 61 rounds up to 8 k + 1
        (
            {"align_corners": False, "pools": "torchvision"},
            (128, 96),
            [(128, 96), (96, 72), (64, 48)],
        ),
    ],
)
def test_scaled_sizes_fit(options, size, sizes):
    with torch.device("meta"):
        model = small(**options)
        inputs = []
        model.register_forward_pre_hook(lambda layer, args: inputs.append(tuple(args[0].shape[2:])))
        assert MultiScale(model)(torch.zeros(1, 3, *size)).shape == (1, 4, *size)
    assert inputs == sizes


def test_scales_are_fused_by_max():
    model, x = small(), noise(1, 3, 65, 65)
    with torch.no_grad():
        each = [resize(model(resize(x, (n, n), True)), (65, 65), True) for n in (65, 49, 33)]
        fused = MultiScale(model)(x)
        assert torch.equal(MultiScale(model, scales=(1.0,))(x), model(x))
    assert torch.equal(fused, torch.maximum(torch.maximum(*each[:2]), each[2]))
    winners = torch.stack(each).argmax(dim=0)
    assert set(winners.unique().tolist()) == {0, 1, 2}  # each scale is the largest somewhere


def test_scales_are_fused_by_their_mean_probability():
    model, x = small(), noise(1, 3, 65, 65)
    with torch.no_grad():
        each = [resize(model(resize(x, (n, n), True)), (65, 65), True) for n in (65, 49, 33)]
        fused = MultiScale(model, fuse="mean")(x)
        assert torch.equal(MultiScale(model, (1.0,), "mean")(x), model(x))
    mean = torch.stack([y.softmax(1) for y in each]).mean(0)
    torch.testing.assert_close(fused.softmax(1), mean)


@pytest.mark.parametrize(
    "choices, words",
    [
        ({"fuse": "median"}, "fuse 'median': expected max or mean"),
        ({"scales": ()}, "expected numbers above 0"),
        ({"scales": (1.0, 0.0)}, "expected numbers above 0"),
    ],
)
def test_scales_that_are_none(choices, words):
    with pytest.raises(ValueError, match=words):
        MultiScale(nn.Identity(), **choices)


def test_an_image_and_its_mirror_image_get_mirrored_answers():
    model, x = small(), noise(1, 3, 65, 65)
    for wrapped in (Mirrored(model), Mirrored(MultiScale(model, (1.0, 0.5)))):
        with torch.no_grad():
            one, other = wrapped(x).softmax(1), wrapped(x.flip(-1)).softmax(1).flip(-1)
            plain = wrapped.model(x).softmax(1)
        torch.testing.assert_close(one, other)
        assert float((one - plain).abs().max()) > 1e-3


@torch.inference_mode()
def test_scales_and_mirror_images_take_the_sides_of_their_model():
    """v1's first model takes 8 k + 2 pixels."""
    torch.manual_seed(0)
    model = DeepLabV1(4, "base", width=1 / 16).eval()
    both = Mirrored(MultiScale(model, (1.0, 0.5)))
    assert (both.output_stride, both.extra, both.align_corners) == (8, 2, True)
    sides = []
    model.register_forward_pre_hook(lambda layer, args: sides.append(tuple(args[0].shape[2:])))
    assert both(noise(1, 3, 66, 82)).shape == (1, 4, 66, 82)
    assert sides == [(66, 82), (34, 42)] * 2


def test_scales_share_their_weights():
    model = small()
    assert set(MultiScale(model).parameters()) == set(model.parameters())


# ---- Training ------------------------------------------------------------------------------------


def test_scores_learn_ten_times_as_fast_with_the_groups_of_v1():
    model = small()
    lr = {p: g["lr"] for g in parameter_groups(model, lr=1e-3) for p in g["params"]}
    branch = model.branches[2]
    assert lr[branch.fc8.weight] == pytest.approx(1e-2)
    assert lr[branch.fc8.bias] == pytest.approx(2e-2)
    assert lr[branch.fc6.weight] == pytest.approx(1e-3)


def test_it_learns():
    """Two images, whose bright half it tells from the dark one after a few steps."""
    torch.manual_seed(0)
    model = small(num_classes=2, dropout=0.0).train()
    x, labels = 0.1 * noise(2, 3, 65, 65), torch.zeros(2, 65, 65, dtype=torch.long)
    for image, half in ((0, slice(0, 33)), (1, slice(33, 65))):
        x[image, :, :, half] += 1
        labels[image, :, half] = 1
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = poly(optimizer, 30)
    losses = []
    for _ in range(30):
        losses.append(loss := nn.functional.cross_entropy(model(x), labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    assert losses[0] > 0.6 and losses[-1] < 0.2
