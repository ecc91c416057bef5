"""Networks for photographs: their sizes and costs, the classes and crops that they take."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab_lite.models import DeepLabV2, zoo
from deeplab_lite.models.zoo import FULL


def on_meta(name, **changes):
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("error")
        return zoo.build(name, **changes).eval()


@pytest.mark.parametrize(
    "name, side, parameters, millions",  # of multiply-adds
    [
        ("v1-lite0", 257, 6_984_213, 2_151),
        ("v3plus-lite0-street", 257, 3_863_909, 1_836),
        ("v2-resnet101", 321, 44_048_532, 75_295),
        ("v3-resnet101", 513, 58_630_997, 71_703),
        ("v3plus-resnet101", 513, 45_674_853, 60_176),
        ("v3plus-xception65", 513, 41_042_005, 54_035),
    ],
)
def test_the_size_of_a_network_and_its_cost_on_a_training_crop(name, side, parameters, millions):
    network = on_meta(name)
    with FlopCounterMode(display=False) as counter:
        logits = network(torch.empty(1, 3, side, side, device="meta"))
    assert logits.shape == (1, 21, side, side)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() // 2_000_000 == millions


@pytest.mark.parametrize("name", FULL)
def test_networks_take_the_classes_of_the_data_and_crops_of_the_recipes(name):
    network = on_meta(name, num_classes=11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no rate is as large as the map
        for size in ((257, 257), (369, 481)):
            if "lite0" in name or size[0] > 257:
                assert network(torch.empty(2, 3, *size, device="meta")).shape == (2, 11, *size)


@pytest.mark.parametrize("name", ["v1", "v2", "v3", "v3plus"])
def test_a_head_has_the_dropout_that_is_chosen(name):
    layers = on_meta(name, dropout=0.2).modules()
    assert {layer.p for layer in layers if isinstance(layer, nn.Dropout)} == {0.2}


@pytest.mark.parametrize("name", ["v1", "v2", "v3", "v3plus", "v3plus-lite0"])
def test_another_output_stride_leaves_no_layer_in_train_mode(name):
    network = on_meta(name)
    for output_stride in (16, 8):
        network.output_stride = output_stride
        assert not any(layer.training for layer in network.modules())


def test_one_branch_of_fc_layers_is_large_fov_on_any_backbone():
    options = {"rates": (6,), "output_stride": 16, "fc": True, "width": 0.25}
    network = DeepLabV2(4, "resnet18", batch_norm=True, **options).eval()
    head = network.branches[0]
    assert [name for name, _ in head.named_children()][:4] == ["fc6", "bn6", "relu6", "drop6"]
    assert head.fc6.weight.shape == (256, 512, 3, 3) and head.fc6.dilation == (6, 6)
    network.output_stride = 8
    assert head.fc6.dilation == (12, 12)
    plain = DeepLabV2(4, "vgg16", rates=(6,), width=0.125, fc=False)
    assert [name for name, _ in plain.branches[0].named_children()] == ["fc8"]


def test_unknown_networks_raise():
    with pytest.raises(ValueError, match=r"no model is called 'v4': there are v1-small, .*lite0"):
        zoo.build("v4")
