"""What lesson 07 reads of assets/decoder.csv and assets/separable.csv belongs to the layers."""

import csv

import pytest

from benchmarks import decoder, separable
from deeplab_lite.models.v3plus import Decoder


def rows(table):
    return list(csv.DictReader(table.read_text().splitlines()))


def test_every_width_was_trained_once_a_seed():
    found = [(int(row["seed"]), row["low_channels"]) for row in rows(decoder.TABLE)]
    assert found == [(seed, low) for seed in decoder.SEEDS for low in decoder.LOW]


@pytest.mark.parametrize("row", rows(decoder.TABLE), ids=lambda row: row["low_channels"])
def test_parameters_are_those_of_the_head(row):
    head = decoder.Head(row["low_channels"])
    assert isinstance(head.decoder, Decoder)
    assert sum(p.numel() for p in head.parameters()) == int(row["parameters"])


def test_low_level_channels_are_what_helps():
    score = {row["low_channels"]: float(row["miou"]) for row in rows(decoder.TABLE)}
    assert score["0"] + 0.05 < score["2"] < score["64"] < score["2"] + 0.05


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
