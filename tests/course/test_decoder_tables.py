"""What lesson 07 reads of assets/decoder.csv and assets/separable.csv belongs to the layers."""

import csv

import pytest
import torch

from benchmarks import decoder, separable
from deeplab_lite.models.v3plus import Decoder


def rows(table):
    return list(csv.DictReader(table.read_text().splitlines()))


def test_every_design_was_trained_once():
    designs = [
        (row["low"], int(row["stride"]), int(row["convs"]), row["deep"] == "yes")
        for row in rows(decoder.TABLE)
    ]
    assert designs == [
        ("all" if design.low is None else str(design.low), *design[1:])
        for design in decoder.DESIGNS
    ]


@pytest.mark.parametrize(
    "row, design", list(zip(rows(decoder.TABLE), decoder.DESIGNS, strict=True)), ids=str
)
def test_parameters_are_those_of_the_head(row, design):
    head = decoder.Head(design)
    assert isinstance(head.decoder, Decoder)
    assert sum(p.numel() for p in head.parameters()) == int(row["parameters"])


@torch.no_grad()
def test_a_decoder_sees_only_what_its_design_lets_it_see():
    deep, low = torch.randn(1, 64, 3, 3), torch.randn(1, 32, 9, 9)
    between = low.clone()
    between[..., 1::4, :] = 0  # rows that a stride of 16 skips
    for design in decoder.DESIGNS:
        head = decoder.Head(design).eval()
        same = torch.equal(head(deep, low, 33), head(deep, between, 33))
        assert same == (design.low == 0 or design.stride == 16)
        assert torch.equal(head(deep, low, 33), head(-deep, low, 33)) == (not design.deep)


def test_dense_low_level_features_are_what_helps():
    score = {
        design: float(row["miou"])
        for design, row in zip(decoder.DESIGNS, rows(decoder.TABLE), strict=True)
    }
    none, dense = (score[decoder.Design(low)] for low in (0, 16))
    sparse = score[decoder.Design(16, stride=16)]
    assert dense > sparse + 0.02 and dense > none + 0.02


@pytest.mark.parametrize(
    "row", rows(separable.TABLE), ids=lambda row: f"{row['layer']} {row['form']}"
)
def test_multiply_adds_are_those_of_the_layer(row):
    side, entering, leaving, _ = separable.LAYERS[row["layer"]]
    depthwise, pointwise = 9 * entering, entering * leaving
    each = {
        "plain": depthwise * leaving,
        "separable": depthwise + pointwise,
        "depthwise": depthwise,
        "pointwise": pointwise,
    }
    counted = separable.multiply_adds(separable.LAYERS[row["layer"]], row["form"])
    assert counted == int(row["multiply_adds"]) == side**2 * each[row["form"]]


def test_time_falls_by_less_than_work():
    time = {(row["layer"], row["form"]): float(row["seconds"]) for row in rows(separable.TABLE)}
    for layer in separable.LAYERS:
        assert 1 / 9 < time[layer, "separable"] / time[layer, "plain"] < 1
