"""Atrous convolution three ways, exact tap counts, and what is left of a kernel at the edge."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deeplab_lite.atrous import (
    atrous_by_interleaving,
    atrous_by_zeros,
    batch_to_space,
    coverage,
    dilate_kernel,
    effective_kernel,
    space_to_batch,
    tap_counts,
    valid_taps,
)

WAYS = [atrous_by_zeros, atrous_by_interleaving]


def draw_tensor(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# ---- One convolution, three ways -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "dilation", "width"),
    [(3, 1, 3), (3, 2, 5), (3, 6, 13), (3, 12, 25), (3, 24, 49), (5, 2, 9), (4, 3, 10), (1, 9, 1)],
)
def test_effective_kernel(kernel, dilation, width):
    assert effective_kernel(kernel, dilation) == width


@pytest.mark.parametrize("spatial", [(3,), (3, 2), (2, 3, 4)])
def test_dilated_kernel_holds_the_taps_and_zeros(spatial):
    weight = draw_tensor(2, 3, *spatial)
    rates = tuple(range(2, 2 + len(spatial)))
    dilated = dilate_kernel(weight, rates)
    assert dilated.shape[2:] == tuple(map(effective_kernel, spatial, rates))
    for place in itertools.product(*map(range, dilated.shape[2:])):
        tap = [divmod(p, r) for p, r in zip(place, rates, strict=True)]
        if all(rest == 0 for _, rest in tap):
            source = weight[(..., *(i for i, _ in tap))]
            assert torch.equal(dilated[(..., *place)], source)
        else:
            assert not dilated[(..., *place)].any()


def test_dilating_a_kernel_lets_gradients_through():
    weight = draw_tensor(1, 1, 3, 3).requires_grad_()
    dilate_kernel(weight, 4).sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_three_ways_agree(way, data):
    draw = data.draw
    rates = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = draw(
        st.one_of(
            st.just("same"), st.integers(0, 9), st.tuples(st.integers(0, 9), st.integers(0, 9))
        )
    )
    size = draw(st.tuples(st.integers(1, 15), st.integers(1, 15)))
    groups = draw(st.sampled_from([1, 2, 4]))
    dtype, bound = draw(st.sampled_from([(torch.float64, 1e-12), (torch.float32, 1e-5)]))
    if padding != "same":
        added = padding if isinstance(padding, tuple) else (padding, padding)
        for n, p, k, d in zip(size, added, kernel, rates, strict=True):
            assume(n + 2 * p >= effective_kernel(k, d))
    x = draw_tensor(2, 4, *size, dtype=dtype)
    weight = draw_tensor(8, 4 // groups, *kernel, seed=1, dtype=dtype)
    bias = draw_tensor(8, seed=2, dtype=dtype) if draw(st.booleans()) else None
    expected = F.conv2d(x, weight, bias, padding=padding, dilation=rates, groups=groups)
    actual = way(x, weight, bias, dilation=rates, padding=padding, groups=groups)
    assert actual.shape == expected.shape and actual.dtype == dtype
    assert (actual - expected).abs().max() <= bound * max(1, float(expected.abs().max()))


@pytest.mark.parametrize("way", WAYS)
def test_a_rate_beyond_the_map_leaves_the_centre_tap(way):
    x, weight = draw_tensor(1, 2, 5, 6), draw_tensor(3, 2, 3, 3)
    actual = way(x, weight, dilation=9, padding="same")
    assert torch.allclose(actual, F.conv2d(x, weight[..., 1:2, 1:2]), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    rate=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
)
def test_space_to_batch_there_and_back(rate, size):
    x = draw_tensor(2, 3, *size)
    parts = space_to_batch(x, rate)
    assert parts.shape == (
        rate[0] * rate[1] * 2,
        3,
        -(-size[0] // rate[0]),
        -(-size[1] // rate[1]),
    )
    assert torch.equal(batch_to_space(parts, rate, size), x)


def test_sub_maps_are_the_strided_slices_in_order():
    x = draw_tensor(1, 1, 4, 6)
    parts = space_to_batch(x, (2, 3))
    slices = [x[..., i::2, j::3] for i in range(2) for j in range(3)]
    assert torch.equal(parts, torch.cat(slices))


BAD_NUMBERS = [0, -1, 2.0, "2", True, None, (2, 0), (1, 2, 3), ()]


@pytest.mark.parametrize("rate", BAD_NUMBERS)
def test_bad_rates_are_refused_everywhere(rate):
    x, weight = draw_tensor(1, 1, 9, 9), draw_tensor(1, 1, 3, 3)
    calls = [
        lambda: atrous_by_zeros(x, weight, dilation=rate),
        lambda: atrous_by_interleaving(x, weight, dilation=rate),
        lambda: dilate_kernel(weight, rate),
        lambda: space_to_batch(x, rate),
        lambda: batch_to_space(x, rate, (9, 9)),
        lambda: tap_counts([rate]),
        lambda: valid_taps(9, rate),
        lambda: valid_taps(rate, 1),
        lambda: effective_kernel(3, rate),
        lambda: effective_kernel(rate, 3),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="expected a whole number of at least 1"):
            call()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("padding", [-1, 1.5, (1, 2, 3), "valid", (1, -1), None])
def test_bad_paddings_are_refused(way, padding):
    with pytest.raises(ValueError, match="padding"):
        way(draw_tensor(1, 1, 9, 9), draw_tensor(1, 1, 3, 3), dilation=1, padding=padding)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shapes", [((1, 9, 9), (1, 1, 3, 3)), ((1, 1, 9, 9), (1, 3, 3))])
def test_wrong_ranks_are_named(way, shapes):
    with pytest.raises(ValueError, match=r"expected \(N, C, H, W\) and \(out"):
        way(draw_tensor(*shapes[0]), draw_tensor(*shapes[1]), dilation=2)


@pytest.mark.parametrize("way", WAYS)
def test_a_kernel_wider_than_the_map_says_which_side(way):
    with pytest.raises(ValueError, match=r"width 8 .* effective kernel 9: lower the rate"):
        way(draw_tensor(1, 1, 20, 8), draw_tensor(1, 1, 3, 3), dilation=4)


def test_a_kernel_without_spatial_axes_is_refused():
    with pytest.raises(ValueError, match=r"weight \(3, 3\): expected \(out, in"):
        dilate_kernel(torch.ones(3, 3), 2)


# ---- What a stack of rates reads -----------------------------------------------------------------


def enumerate_paths(rates, kernel):
    """Walk every path, the slow way."""
    half = [sum(r[axis] for r in rates) * (kernel[axis] // 2) for axis in (0, 1)]
    counts = np.zeros((2 * half[0] + 1, 2 * half[1] + 1), np.int64)
    taps = [range(-(k // 2), k // 2 + 1) for k in kernel]
    for path in itertools.product(itertools.product(*taps), repeat=len(rates)):
        y, x = (sum(p[a] * r[a] for p, r in zip(path, rates, strict=True)) for a in (0, 1))
        counts[half[0] + y, half[1] + x] += 1
    return counts


pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=40, deadline=None)
@given(
    rates=st.lists(pairs, max_size=3),
    kernel=st.tuples(st.sampled_from([1, 3]), st.sampled_from([1, 3])),
)
def test_tap_counts_equal_enumeration(rates, kernel):
    counts = tap_counts(rates, kernel)
    assert counts.dtype == np.int64
    assert np.array_equal(counts, enumerate_paths(rates, kernel))


@pytest.mark.parametrize(
    ("rates", "kernel"),
    [([2, 2, 2], 3), ([1, 2, 5], 3), ([1, 2, (4, 1)], 3), ([3, (2, 5)], (5, 3)), ([1] * 12, 3)],
)
def test_tap_counts_equal_the_gradient_of_ones(rates, kernel):
    counts = tap_counts(rates, kernel)
    kernels = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    x = torch.zeros(1, 1, *counts.shape, dtype=torch.float64, requires_grad=True)
    y = x
    for rate in rates:
        y = F.conv2d(y, torch.ones(1, 1, *kernels, dtype=torch.float64), dilation=rate)
    assert y.shape[2:] == (1, 1)
    y.sum().backward()
    assert np.array_equal(x.grad[0, 0].numpy(), counts)


def test_equal_rates_leave_a_grid_and_unequal_rates_close_it():
    gridded = tap_counts([2, 2, 2])
    assert gridded.shape == (13, 13)
    assert not gridded[1::2].any() and not gridded[:, 1::2].any()  # the centre is at (6, 6)
    assert coverage([2, 2, 2]) == 49 / 169
    assert tap_counts([1, 2, 3]).shape == (13, 13)  # the same field ...
    assert coverage([1, 2, 3]) == 1  # ... with no holes
    assert coverage([1, 2, 9]) < 1  # unequal is not enough: the jump must be filled by those before


def test_paths_add_up_to_all_of_them():
    counts = tap_counts([1, 2, 4, 8], 5)
    assert counts.sum() == 25**4
    assert np.array_equal(counts, counts[::-1, ::-1])


def test_no_layers_read_one_pixel():
    assert tap_counts([]).tolist() == [[1]]


def test_deep_stacks_stay_exact_until_int64_ends():
    one_axis = [1]
    for _ in range(21):
        one_axis = [sum(one_axis[max(0, i - 2) : i + 1]) for i in range(len(one_axis) + 2)]
    counts = tap_counts([1] * 21)
    assert counts.max() == max(one_axis) ** 2 > 2**53  # past what a float holds exactly
    with pytest.raises(OverflowError, match=r"22 layers .* 1\.1e\+19 paths: .* use fewer layers"):
        tap_counts([1] * 22)


@pytest.mark.parametrize("kernel", [2, (3, 4)])
def test_even_kernels_have_no_middle(kernel):
    with pytest.raises(ValueError, match="even one has no middle tap"):
        tap_counts([1], kernel)


# ---- What falls off the map ----------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    rate=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.one_of(st.just("same"), st.integers(0, 20)),
)
def test_valid_taps_equal_a_convolution_of_ones(size, rate, kernel, padding):
    if padding != "same":
        for n, r, k in zip(size, rate, kernel, strict=True):
            assume(n + 2 * padding >= effective_kernel(k, r))
    ones = torch.ones(1, 1, *kernel)
    on_map = F.conv2d(torch.ones(1, 1, *size), ones, padding=padding, dilation=rate).long()
    positions, share = valid_taps(size, rate, kernel, padding)
    assert positions.tolist() == on_map.ravel().bincount(minlength=ones.numel() + 1).tolist()
    assert share == pytest.approx(float(on_map.double().mean()) / ones.numel())


@pytest.mark.parametrize("rate", [1, 6, 12, 18, 24, 32, 33, 48, 64, 65, 100])
def test_v3_figure_4_in_closed_form(rate):
    n = 65
    one_tap = max(0, min(n, 2 * rate - n))  # rows where both outer taps are off the map
    three_taps = max(0, n - 2 * rate)  # rows where neither is
    two_taps = n - one_tap - three_taps
    expected = np.zeros(10, np.int64)
    for a, rows in ((1, one_tap), (2, two_taps), (3, three_taps)):
        for b, columns in ((1, one_tap), (2, two_taps), (3, three_taps)):
            expected[a * b] += rows * columns
    positions, share = valid_taps(n, rate)
    assert np.array_equal(positions, expected)
    assert share == pytest.approx(((n + 2 * max(0, n - rate)) / (3 * n)) ** 2)


def test_at_the_rate_of_the_map_only_the_centre_is_left():
    assert valid_taps(65, 64).positions[1] < 65**2
    for rate in (65, 1000):
        positions, share = valid_taps(65, rate)
        assert positions[1] == positions.sum() == 65**2
        assert share == pytest.approx(1 / 9)


@pytest.mark.parametrize("padding", [-1, 1.5, "valid", None])
def test_valid_taps_refuses_bad_paddings(padding):
    with pytest.raises(ValueError, match="padding"):
        valid_taps(9, 1, padding=padding)


def test_valid_taps_refuses_a_kernel_that_does_not_fit():
    with pytest.raises(ValueError, match=r"map of 9 padded by 0 .* effective kernel 11"):
        valid_taps(9, 5, padding=0)
