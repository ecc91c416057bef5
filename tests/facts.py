"""The ledger: numbers that lessons may quote, each computed here or ascribed to its paper.

The layers are spelled out and the arithmetic is the textbook's, so that these numbers stand on
their own; the tests of receptive_field.py hold the package to the same ones.
"""

import csv
import json
from math import ceil, log
from pathlib import Path

from ledger import Fact, Paper

# VGG-16 as (output channels of its convolutions), a pool after each block
VGG = [(64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)]


CARDS = Path(__file__).parents[1] / "assets" / "checkpoints"
STREETS, V1_CARD = "camvid-v3plus", "v1-scenes"
LARGE_FOV = "v1, 3x3 at 12"


def card(name):
    """What the card of a shipped network says."""
    return json.loads((CARDS / f"{name}.json").read_text("utf-8"))


def rung(name):
    """The row of a rung in the ladder's table."""
    with (CARDS.parent / "ladder.csv").open() as file:
        return next(row for row in csv.DictReader(file) if row["rung"] == name)


def field(layers):
    """Receptive field of a stack of (kernel, stride, dilation): r += (k - 1) d S, S *= s."""
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * dilation * jump
        jump *= stride
    return size


def vgg(*head, pools=((2, 2),) * 5, last_dilation=1):
    """Layers of VGG-16: its convolutions, a (kernel, stride) pool after each block, the head."""
    layers = []
    for block, (channels, pool) in enumerate(zip(VGG, pools, strict=True)):
        layers += [(3, 1, last_dilation if block == 4 else 1)] * len(channels) + [(*pool, 1)]
    return layers + list(head)


def large_fov(*head):
    """Layers of DeepLab-LargeFOV up to pool5, then the head."""
    pools = ((3, 2), (3, 2), (3, 2), (3, 1), (3, 1))
    return vgg(*head, pools=pools, last_dilation=2)


def pooled(size, *pools):
    """Sizes of a map after pools of (kernel, stride, padding) in Caffe's ceil mode."""
    sizes = []
    for kernel, stride, padding in pools:
        size = ceil((size + 2 * padding - kernel) / stride) + 1
        sizes.append(size)
    return sizes


def parameters(kernel, width, classes=21, branches=1):
    """Weights and biases of VGG-16 with fc6 of `kernel` and fc7 of `width` channels."""
    count, channels = 0, 3
    for block in VGG:
        for out in block:
            count, channels = count + (9 * channels + 1) * out, out
    head = (kernel**2 * channels + 1) * width + (width + 1) * width + (width + 1) * classes
    return count + branches * head


def gmac(size, kernel, width):
    """Multiply-adds of fc6 on a map of `size`, in 1e9."""
    return size**2 * kernel**2 * 512 * width / 1e9


NOTES_POOLS = [(2, 2, 0)] * 3 + [(2, 1, 1)] * 2  # as the seed notes describe v1
BASE_POOLS = [(2, 2, 1)] * 3 + [(2, 1, 0), (3, 1, 1)]  # as v1's first model was released
FOV_POOLS = [(3, 2, 1)] * 3 + [(3, 1, 1)] * 2  # LargeFOV
FC6 = "v1's fc6 at 39 x 39, GMAC"
V1 = "arXiv:1412.7062, table 1"
V1_FOV = "arXiv:1412.7062, table 2"
V2_FOV = "arXiv:1606.00915, table 1"
V2_POLY = "arXiv:1606.00915, table 2"
V2_VGG = "arXiv:1606.00915, section 4.1"
V2 = "arXiv:1606.00915, table 4"
V3_ABOUT = "arXiv:1706.05587, table"
V3 = f"{V3_ABOUT} 6"
V3_RESULTS = "arXiv:1706.05587, section 4"
V3P = "arXiv:1802.02611"
FCN = "arXiv:1411.4038, table 2"
CAMVID = "arXiv:1611.09326, section 4.1"
TIRAMISU = "arXiv:1611.09326, table 3"

FACTS: list[Fact | Paper] = [
    Fact("212", "field of VGG-16 at pool5", lambda: field(vgg())),
    Fact("137", "weights up to there, k^2 a layer", lambda: sum(k * k for k, *_ in vgg())),
    Fact("404", "with a 7x7 fc6", lambda: field(vgg((7, 1, 1)))),
    Fact("308", "with a 4x4 fc6", lambda: field(vgg((4, 1, 1)))),
    Fact("276", "with a 3x3 fc6", lambda: field(vgg((3, 1, 1)))),
    Fact("419", "field of LargeFOV without pool5a", lambda: field(large_fov((3, 1, 12)))),
    Fact("435", "field of LargeFOV", lambda: field(large_fov((3, 1, 1), (3, 1, 12)))),
    Fact("323", "field of v2's branch of rate 6", lambda: field(large_fov((3, 1, 6)))),
    Fact("515", "field of v2's branch of rate 18", lambda: field(large_fov((3, 1, 18)))),
    Fact("611", "field of v2's branch of rate 24", lambda: field(large_fov((3, 1, 24)))),
    Fact("224", "v1's field-of-view column, 7x7 rate 4", lambda: 32 + 8 * 4 * (7 - 1)),
    Fact("128", "v1's field-of-view column, 4x4 rate 4", lambda: 32 + 8 * 4 * (4 - 1)),
    Fact("257", "514 pixels after the notes' pool1", lambda: pooled(514, *NOTES_POOLS)[0]),
    Fact("129", "514 pixels after the notes' pool2", lambda: pooled(514, *NOTES_POOLS)[1]),
    Fact("154", "306 pixels after the base model's pool1", lambda: pooled(306, *BASE_POOLS)[0]),
    Fact("161", "321 pixels after LargeFOV's pool1", lambda: pooled(321, *FOV_POOLS)[0]),
    Fact("134,346,581", "parameters, 7x7 fc6", lambda: parameters(7, 4096)),
    Fact("65,140,565", "parameters, 4x4 fc6", lambda: parameters(4, 4096)),
    Fact("20,505,429", "parameters, LargeFOV", lambda: parameters(3, 1024)),
    Fact("37,877,652", "parameters, v2 VGG", lambda: parameters(3, 1024, branches=4)),
    Fact("156.3", f"{FC6}, 7x7", lambda: gmac(39, 7, 4096)),
    Fact("51.0", f"{FC6}, 4x4", lambda: gmac(39, 4, 4096)),
    Fact("3.06", f"{FC6}, 7x7 over 4x4", lambda: gmac(39, 7, 4096) / gmac(39, 4, 4096)),
    Fact("7.9", "LargeFOV's fc6 at 41 x 41, GMAC", lambda: gmac(41, 3, 1024)),
    Paper("59.80", "mIoU of v1 on VOC 2012 val", V1),
    Paper("63.74", "with CRF", V1),
    Paper("62.25", "mIoU of LargeFOV on VOC 2012 val", V1),
    Paper("67.64", "with CRF", V1),
    Paper("64.21", "LargeFOV with multi-scale features, no CRF", V1),
    Paper("59.4", "mean IoU of FCN-32s on a part of VOC 2011 val", FCN),
    Paper("62.4", "FCN-16s: one skip connection", FCN),
    Paper("62.7", "FCN-8s: two skip connections", FCN),
    Fact("3.94", "gain of the CRF on v1's first model, points", lambda: 63.74 - 59.80),
    Fact("5.39", "gain of the CRF on LargeFOV, points", lambda: 67.64 - 62.25),
    Fact("4.6", "unary of a class that is given one per cent, nats", lambda: -log(0.01)),
    Paper("134.3", "million parameters of v1 with a 7x7 fc6", V1_FOV),
    Paper("65.1", "with a 4x4 fc6", V1_FOV),
    Paper("20.5", "of LargeFOV", V1_FOV),
    Paper("67.14", "mIoU with a 4x4 fc6 at rate 8, with CRF", V1_FOV),
    Paper("1.44", "images per second in training, 7x7 fc6", V1_FOV),
    Paper("2.90", "4x4 fc6", V1_FOV),
    Paper("4.84", "LargeFOV", V1_FOV),
    Paper("63.42", "mIoU of LargeFOV, poly in place of step, all else equal", V2_POLY),
    Paper("65.76", "mIoU of v2, VGG-16, LargeFOV with poly, on VOC 2012 val", V2_VGG),
    Paper("69.84", "with CRF", V2_VGG),
    Paper("70.3", "mIoU of LargeFOV with CRF on VOC 2012 test", V1),
    Paper("71.6", "with multi-scale features", V1),
    Paper("76.35", "mIoU of v2, ResNet-101 with ASPP, on VOC 2012 val", V2),
    Paper("77.69", "with CRF", V2),
    Paper("68.39", "mIoU of v3 to block 4, ResNet-101, multi-grid 1, 1, 1", f"{V3_ABOUT} 3"),
    Paper("71.45", "multi-grid 2, 2, 2", f"{V3_ABOUT} 3"),
    Paper("73.45", "multi-grid 1, 2, 4", f"{V3_ABOUT} 3"),
    Paper("73.88", "mIoU of v3 to block 7, ResNet-50, output stride 16", f"{V3_ABOUT} 1"),
    Paper("75.18", "output stride 8", f"{V3_ABOUT} 1"),
    Paper("0.12", "points lost by a fourth rate, 24", f"{V3_ABOUT} 5"),
    Paper("76.58", "mIoU of v3 without image pooling", f"{V3_ABOUT} 5"),
    Paper("77.21", "mIoU of v3, ResNet-101 at output stride 16, on VOC 2012 val", V3),
    Paper("75.95", "batch norm not trained", f"{V3_ABOUT} 8"),
    Paper("67.22", "crops of 321 pixels", f"{V3_ABOUT} 8"),
    Paper("64.43", "batches of 4", f"{V3_ABOUT} 9"),
    Paper("74.45", "trained at output stride 8 with batches of 6", f"{V3_ABOUT} 10"),
    Paper("78.51", "at output stride 8", V3),
    Paper("79.77", "at output stride 8, six scales and flips", V3),
    Paper("85.7", "mIoU of v3 on VOC 2012 test", V3_RESULTS),
    Paper("79.35", "the best cascade, to block 7, several scales and flips", V3_RESULTS),
    Paper("78.85", "mIoU of v3+, ResNet-101 with decoder, on VOC 2012 val", f"{V3P}, table 3"),
    Paper("75.43", "ResNet-101 at output stride 32, no decoder", f"{V3P}, table 3"),
    Paper("77.37", "the same with decoder", f"{V3P}, table 3"),
    Paper("79.93", "with Xception-65", f"{V3P}, table 5"),
    Paper("54.17", "billion multiply-adds of v3+ on Xception-65 at 513 pixels", f"{V3P}, table 5"),
    Paper("87.8", "mIoU of v3+ on VOC 2012 test", f"{V3P}, table 6"),
    Paper("89.0", "the same, pre-trained on JFT", f"{V3P}, table 6"),
    Fact("1.34", "gain of the CRF on v2's ResNet-101, points", lambda: 77.69 - 76.35),
    Fact("4.08", "gain of the CRF on v2's LargeFOV, points", lambda: 69.84 - 65.76),
    Fact("2.61", "on ASPP-L", lambda: 71.57 - 68.96),
    Paper("66.98", "mIoU of v2, VGG-16, ASPP-S, on VOC 2012 val", V2_VGG),
    Paper("69.73", "with CRF", V2_VGG),
    Paper("68.96", "mIoU of v2, VGG-16, ASPP-L, on VOC 2012 val", V2_VGG),
    Paper("71.57", "with CRF", V2_VGG),
    Fact("1.22", "gain of ASPP-S on LargeFOV, points", lambda: 66.98 - 65.76),
    Fact("0.57", "gain of multi-grid 1, 2, 1 in v3's table 5, points", lambda: 75.93 - 75.36),
    Fact("0.11", "lost after the CRF", lambda: 69.84 - 69.73),
    Fact("3.20", "gain of ASPP-L on LargeFOV, points", lambda: 68.96 - 65.76),
    Fact("1.73", "after the CRF", lambda: 71.57 - 69.84),
    Paper("64.90", "mIoU of LargeFOV, poly, 10,000 steps", V2_POLY),
    Paper("64.71", "in batches of 10", V2_POLY),
    Paper("65.88", "20,000 steps in batches of 10", V2_POLY),
    Fact("1.17", "points between poly and step", lambda: 63.42 - 62.25),
    Paper("68.72", "mIoU of v2, ResNet-101, one scale, on VOC 2012 val", V2),
    Paper("71.27", "three scales by max", V2),
    Paper("73.28", "pretrained on MS-COCO", V2),
    Paper("74.87", "images scaled at random", V2),
    Paper("75.54", "LargeFOV", V2),
    Fact("2.55", "points of three scales", lambda: 71.27 - 68.72),
    Fact("1.81", "times the pixels of one scale in three", lambda: 1 + 0.75**2 + 0.5**2),
    Fact("192", "pixels between the taps of rate 24 at stride 8", lambda: 24 * 8),
    Paper("63.41", "mIoU of v1, fc6 4x4 at rate 8, on VOC 2012 val, no CRF", V2_FOV),
    Paper("79.45", "six scales, no flips", V3),
    Paper("78.61", "mIoU of v3+ with a skip at stride 8 as well", f"{V3P}, table 2"),
    Paper("78.02", "with three 3x3 in the decoder", f"{V3P}, table 2"),
    Paper("79.79", "with separable convolutions in the decoder", f"{V3P}, table 5"),
    Paper("77.61", "with 8 low-level channels", f"{V3P}, table 1"),
    Paper("78.21", "with 48", f"{V3P}, table 1"),
    Paper("77.94", "with 64", f"{V3P}, table 1"),
    Fact(
        "200",
        "test scenes that score the ladder",
        lambda: card(V1_CARD)["metrics"]["test"]["images"],
    ),
    Fact("16000", "scenes that each of the family saw", lambda: card(V1_CARD)["data"]["images"]),
    Fact("500", "steps of v3's second stage here", lambda: 500),
    Fact("2400", "scenes that the networks of benchmarks/seeds.py saw", lambda: 300 * 8),
    Fact("513", "pixels of v3's crops", lambda: 32 * 16 + 1),
    Fact("4096", "channels of fc6 and fc7 in VGG-16", lambda: 4096),
    Fact("102.8", "million weights of a 7x7 fc6", lambda: 7 * 7 * 512 * 4096 / 1e6),
    Fact("1521", "positions of a map of 39 x 39", lambda: 39**2),
    Paper("64.38", "mIoU of v1, fc6 7x7, on VOC 2012 val, no CRF", V1),
    Fact("3.6", "points of a larger dilation in fc6", lambda: 63.41 - 59.80),
    Fact("3.4", "with CRF", lambda: 67.14 - 63.74),
    Paper("0.0005", "weight decay of v1", "arXiv:1412.7062, section 5"),
    Paper("0.001", "learning rate of v1", "arXiv:1412.7062, section 5"),
    Paper("6000", "steps of v1's training", "arXiv:1412.7062, section 5"),
    Fact("0.002", "learning rate of lesson 03's training", lambda: 2e-3),
    Fact("0.999", "decay of averaged weights in long runs", lambda: 1 - 1e-3),
    Fact("1920", "crops that each start of benchmarks/starts.py saw", lambda: 240 * 8),
    Fact(
        "1025", "pixels of a side above which photographs are cut into tiles", lambda: 64 * 16 + 1
    ),
    Paper("360", "rows of SegNet's CamVid", CAMVID),
    Paper("480", "columns of SegNet's CamVid", CAMVID),
    Paper("367", "frames to train on", CAMVID),
    Paper("101", "frames of val", CAMVID),
    Paper("61.6", "mIoU of DeepLab-LFOV on CamVid test", TIRAMISU),
    Paper("66.9", "of FC-DenseNet103", TIRAMISU),
    Fact(
        "63.2",
        "mIoU of camvid-v3plus-weighted on CamVid test",
        lambda: float(card(STREETS)["published"][2]["miou"]),
    ),
    Fact(
        "68.6",
        "on val",
        lambda: next(
            100 * float(row["miou"])
            for row in csv.DictReader((CARDS.parent / "camvid.csv").read_text().splitlines())
            if row["model"] == "camvid-v3plus-weighted"  # at one scale comes first
        ),
    ),
    Fact("306", "pixels whose map in v1's first model has 39 positions", lambda: 8 * 38 + 2),
    Fact("2.45", "points of LargeFOV on a 4x4 fc6 at rate 4, no CRF", lambda: 62.25 - 59.80),
    Fact("0.7", "points that it loses here", lambda: -100 * float(rung(LARGE_FOV)["step"])),
    Fact("1.4", "at most, on other scenes", lambda: -100 * float(rung(LARGE_FOV)["low"])),
    Fact("0.0", "at least", lambda: -100 * float(rung(LARGE_FOV)["high"])),
    Fact("0.02", "mIoU that several sizes or a mirror image bring", lambda: 0.839 - 0.819),
]
