"""The cone of a 1-D stack against PyTorch: what a unit reads, and on how many paths."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_lite.receptive_field import trace

PADDING = st.one_of(st.just("same"), st.integers(0, 4))
LAYER = st.tuples(st.integers(1, 7), st.integers(1, 3), PADDING, st.integers(1, 6))


def convolved(x, layers):
    """Every map of the stack with weights of one, so that gradients count paths."""
    maps = [x]
    for kernel, stride, padding, dilation in layers:
        reach = dilation * (kernel - 1)
        pads = (reach // 2, reach - reach // 2) if padding == "same" else (padding, padding)
        padded = F.pad(maps[-1], pads)
        if padded.shape[-1] <= reach:
            return maps
        ones = torch.ones(1, 1, kernel, dtype=x.dtype)
        maps.append(F.conv1d(padded, ones, stride=stride, dilation=dilation))
    return maps


@settings(deadline=None, max_examples=150)
@given(st.lists(LAYER, min_size=1, max_size=4), st.integers(1, 40), st.data())
def test_counts_are_the_gradients_of_a_stack_of_ones(layers, n, data):
    x = torch.ones(1, 1, n, dtype=torch.float64, requires_grad=True)
    maps = convolved(x, layers)
    cone = trace(layers, n, level=0)
    assert cone.sizes == [m.shape[-1] for m in maps] + [0] * (len(layers) + 1 - len(maps))
    level = len(maps) - 1
    unit = data.draw(st.integers(0, maps[level].shape[-1] - 1))
    cone = trace(layers, n, unit, level)
    for depth in range(level):
        (grad,) = torch.autograd.grad(maps[level][0, 0, unit], maps[depth], retain_graph=True)
        assert cone.counts[depth] == grad[0, 0].int().tolist()
    size, stride, padding = cone.fields[level]
    low = unit * stride - padding
    assert cone.spans[0] == (low, low + size - 1)
    assert cone.counts[level].index(1) == unit


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_same_padding_is_pytorchs_even_for_even_kernels():
    ones = torch.ones(1, 1, 4)
    out = F.conv1d(torch.eye(9)[:, None], ones, padding="same", dilation=3)
    for unit in range(9):
        assert trace([(4, 1, "same", 3)], 9, unit).counts[0] == out[:, 0, unit].int().tolist()


def test_notes_and_vgg():
    assert [f.size for f in trace([(3,)] * 3, 25).fields] == [1, 3, 5, 7]  # the notes print 3, 5, 5
    vgg = []
    for convs in (2, 2, 3, 3, 3):
        vgg += [(3, 1, 1)] * convs + [(2, 2)]
    assert trace(vgg, 224, level=0).fields[-1] == (212, 32, 90)


def test_holes_of_gridding_and_how_unequal_rates_mend_them():
    def read(*rates):
        counts = trace([(3, 1, 0, rate) for rate in rates], 31).counts[0]
        return sum(count > 0 for count in counts)

    assert (read(2, 2, 2), read(1, 2, 3), read(1, 2, 5)) == (7, 13, 17)


def test_positions_off_the_map_are_told_apart_from_pixels():
    cone = trace([(3, 1, "same", 2)], 9, unit=1)
    assert cone.padded == [[-1], []] and cone.counts[0] == [0, 1, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([(3,)], 0), "input of 0 pixels"),
        (([(0,)], 9), "kernel 0 in layer 1"),
        (([(3, 0)], 9), "stride 0 in layer 1"),
        (([(3,)], 9, 7), r"unit 7 of level 1: its units are 0\.\.6"),
        (([(3,)], 9, 0, 2), r"level 2: this stack has levels 0 \(input\) to 1"),
    ],
)
def test_bad_input_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        trace(*arguments)


def test_a_kernel_that_does_not_fit_leaves_no_cone():
    cone = trace([(3, 2, "same"), (7, 1, 0, 6), (3,)], 16)
    assert cone.sizes == [16, 8, 0, 0] and cone.spans == cone.counts == []
