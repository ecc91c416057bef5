"""The times of fc6 that lesson 03 prints were measured on the layers that v1 has."""

import csv

import pytest

from benchmarks import fc6
from deeplab_lite.models.v1 import FORMS, DeepLabV1

ROWS = {row["form"]: row for row in csv.DictReader(fc6.TABLE.read_text().splitlines())}


def test_the_table_has_every_form_once():
    assert list(ROWS) == list(fc6.NAMES)
    assert fc6.TABLE.read_text().count("\n") == 1 + len(fc6.NAMES)


@pytest.mark.parametrize("name", fc6.NAMES)
def test_multiply_adds_are_those_of_the_layer(name):
    kernel, _, channels, _ = FORMS[name]
    expected = 39**2 * kernel**2 * 512 * channels
    assert fc6.multiply_adds(name) == int(ROWS[name]["multiply_adds"]) == expected


@pytest.mark.parametrize("name", fc6.NAMES)
def test_the_layer_that_is_timed_is_the_models(name):
    timed, used = fc6.fc6(name), DeepLabV1(21, name, width=1 / 64).head.fc6
    for attribute in ("kernel_size", "stride", "dilation", "padding"):
        assert getattr(timed, attribute) == getattr(used, attribute)


def test_less_work_takes_less_time():
    times = [float(ROWS[name]["seconds"]) for name in ("7x7", "4x4", "largefov")]
    assert times[0] > 2 * times[1] > 4 * times[2]
