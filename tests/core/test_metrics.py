"""Scores equal counting by hand and torchmetrics; bands equal brute force; intervals hold."""

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as peer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deeplab_lite import metrics, tables

NAN = float("nan")
IGNORE = 255
examples = settings(deadline=None, max_examples=50, derandomize=True)


@st.composite
def evaluations(draw, classes=None):
    """(prediction N x H x W, label N x H x W, K): random, with and without 255."""
    count = classes or draw(st.integers(1, 6))
    shape = draw(st.tuples(*(st.integers(1, bound) for bound in (3, 5, 7))))
    pixels = math.prod(shape)
    known = st.integers(0, count - 1)
    label = draw(st.lists(known | st.just(IGNORE), min_size=pixels, max_size=pixels))
    prediction = draw(st.lists(known, min_size=pixels, max_size=pixels))
    return torch.tensor(prediction).view(shape), torch.tensor(label).view(shape), count


def random_maps(images, classes, size, seed=0, right=0.7):
    """Labels of random classes, and predictions that are right for a share of the pixels."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (images, size, size), generator=generator)
    other = torch.randint(classes, label.shape, generator=generator)
    return torch.where(torch.rand(label.shape, generator=generator) < right, label, other), label


def close(found, expected, **options):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.double(), expected, equal_nan=True, **options)


# ---- Confusion matrices --------------------------------------------------------------------------


@examples
@given(evaluations())
def test_matrices_are_counts_of_pairs(evaluation):
    prediction, label, classes = evaluation
    expected = np.zeros((len(label), classes, classes), int)
    for image in range(len(label)):
        for mine, true in zip(prediction[image].flatten(), label[image].flatten(), strict=True):
            if true != IGNORE:
                expected[image, true, mine] += 1
    found = metrics.confusion_matrices(prediction, label, classes)
    assert found.dtype == torch.int64 and found.tolist() == expected.tolist()
    assert metrics.confusion_matrices(prediction[0], label[0], classes).tolist() == [
        expected[0].tolist()
    ]


@examples
@given(evaluations())
def test_scores_are_those_of_torchmetrics(evaluation):
    prediction, label, classes = evaluation
    classes = max(2, classes)  # theirs want two
    matrix = metrics.confusion_matrices(prediction, label, classes).sum(0)
    options = {"num_classes": classes, "ignore_index": IGNORE}
    if matrix.sum():
        theirs = peer.multiclass_jaccard_index(prediction, label, **options)
        close(metrics.miou(matrix), theirs, rtol=1e-5, atol=1e-6)
        theirs = peer.multiclass_accuracy(prediction, label, average="micro", **options)
        close(metrics.pixel_accuracy(matrix), theirs, rtol=1e-5, atol=1e-6)
    for ours, function in (
        (metrics.class_iou, peer.multiclass_jaccard_index),
        (metrics.class_accuracy, peer.multiclass_recall),
    ):
        theirs = function(prediction, label, average=None, **options)  # absent classes are 0
        close(ours(matrix).nan_to_num(0), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64, np.uint8])
def test_arrays_of_any_whole_type_are_labels(kind):
    prediction, label = random_maps(2, 5, 9)
    expected = metrics.confusion_matrices(prediction, label, 5)
    if isinstance(kind, torch.dtype):
        prediction, label = prediction.to(kind), label.to(kind)
    else:  # as from PIL: read-only; and flipped, which torch cannot view
        prediction, label = (m.numpy().astype(kind)[:, ::-1] for m in (prediction, label))
        label.flags.writeable = False
    assert torch.equal(metrics.confusion_matrices(prediction, label, 5), expected)


def test_logits_count_as_their_largest_class():
    prediction, label = random_maps(3, 4, 8)
    logits = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    logits.scatter_(1, prediction[:, None], 9.0)
    expected = metrics.confusion_matrices(prediction, label, 4)
    assert torch.equal(metrics.confusion_matrices(logits, label, 4), expected)
    assert torch.equal(metrics.confusion_matrices(logits[1], label[1], 4), expected[1:2])
    assert torch.equal(metrics.confusion_matrices(logits.half(), label, 4), expected)


LABEL = torch.zeros(2, 300, 300, dtype=torch.int64)


def with_value(value, place):
    changed = LABEL.clone()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    "prediction, label, answer",
    [
        (
            LABEL[0],
            with_value(128, (1, 17, 203))[1],
            r"label value 128 at \(17, 203\): classes are 0..20 and 255 is ignored. A palette PNG "
            r'opened as grey looks like this: open it with mode "P".$',
        ),
        (LABEL, with_value(21, (1, 0, 2)), r"label value 21 at \(0, 2\) of image 1: classes are"),
        (LABEL, with_value(-1, (0, 5, 6)), r"label value -1 at \(5, 6\) of image 0: classes are"),
        (with_value(255, (0, 5, 6)), LABEL, r"prediction value 255 at .* classes are 0..20$"),
        (LABEL, LABEL.float(), r"label is torch.float32: expected whole numbers"),
        (LABEL.float(), LABEL, r"prediction is torch.float32: expected whole numbers"),
        (LABEL[:, None].expand(2, 9, 300, 300), LABEL, r"logits have 9 channels for 21 classes"),
        (torch.full((2, 21, 300, 300), NAN), LABEL, r"logits hold NaN, so they name no class"),
        (
            torch.zeros(2, 21, 38, 38),
            LABEL,
            r"classes are 2 x 38 x 38 and label is 2 x 300 x 300: bring logits to the size of the "
            r"label, never .* F.interpolate\(logits, label.shape\[-2:\]",
        ),
        (LABEL[:1], LABEL, r"classes are 1 x 300 x 300 and label is 2 x 300 x 300"),
        (LABEL[0], LABEL[0, :, :, None].expand(300, 300, 3), r"palette PNG opened as RGB"),
        (LABEL, LABEL[..., None].expand(2, 300, 300, 4), r"label is 2 x 300 x 300 x 4: expected N"),
        (LABEL[:0], LABEL[:0], r"label is 0 x 300 x 300: expected N x H x W"),
    ],
)
def test_what_is_no_evaluation(prediction, label, answer):
    for call in (metrics.confusion_matrices, metrics.trimap_matrices):
        with pytest.raises(ValueError, match=answer):
            call(prediction, label, 21)


def test_what_is_no_array():
    with pytest.raises(TypeError, match=r"prediction is a dict, as torchvision.*: pass its 'out'"):
        metrics.confusion_matrices({"out": LABEL}, LABEL, 21)
    with pytest.raises(TypeError, match=r"prediction is a list: expected a tensor or a NumPy"):
        metrics.confusion_matrices([[0]], LABEL, 21)
    with pytest.raises(TypeError, match=r"label is a list: expected a tensor or a NumPy array"):
        metrics.trimap([[0]], 1)


@pytest.mark.parametrize("classes", [0, 256, 2.0, True, None])
def test_there_are_1_to_255_classes(classes):
    with pytest.raises(ValueError, match=r"num_classes .*: expected a whole number from 1 to 255"):
        metrics.confusion_matrices(LABEL, LABEL, classes)


# ---- Scores --------------------------------------------------------------------------------------


#              disc is half found, the background takes what it loses; ring is only imagined
BY_HAND = torch.tensor([[6, 0, 2, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
NAMES = ["background", "disc", "ring", "star"]


def test_scores_by_hand():
    close(metrics.class_iou(BY_HAND), [6 / 9, 1 / 2, 0, NAN])
    close(metrics.class_accuracy(BY_HAND), [6 / 8, 1 / 2, NAN, NAN])
    close(metrics.miou(BY_HAND), (6 / 9 + 1 / 2 + 0) / 3)
    close(metrics.mean_accuracy(BY_HAND), (6 / 8 + 1 / 2) / 2)
    close(metrics.pixel_accuracy(BY_HAND), 7 / 10)


SCORES = [metrics.miou, metrics.mean_accuracy, metrics.pixel_accuracy]


def test_where_nothing_is_labelled_there_is_no_score():
    label = torch.full((1, 4, 4), IGNORE)
    matrices = metrics.confusion_matrices(torch.zeros_like(label), label, 3)
    assert not matrices.any()
    for score in SCORES:
        assert score(matrices).isnan().all()


@examples
@given(evaluations(), st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_classes_or_pixels(evaluation, random):
    prediction, label, classes = evaluation
    matrix = metrics.confusion_matrices(prediction, label, classes).sum(0)
    order = random.sample(range(classes), classes)
    mixed = random.sample(range(label.numel()), label.numel())
    shuffled = metrics.confusion_matrices(
        prediction.flatten()[mixed][None, None], label.flatten()[mixed][None, None], classes
    )
    for score in SCORES:
        close(score(matrix[order][:, order]), score(matrix))
        close(score(shuffled[0]), score(matrix), rtol=0, atol=0)


@examples
@given(evaluations())
def test_a_perfect_prediction_scores_1_and_no_other_does(evaluation):
    prediction, label, classes = evaluation
    perfect = torch.where(label == IGNORE, prediction, label)
    counted = label != IGNORE
    if counted.any():
        for score in SCORES:
            close(score(metrics.confusion_matrices(perfect, label, classes).sum(0)), 1.0)
            found = score(metrics.confusion_matrices(prediction, label, classes).sum(0))
            assert (found == 1) == bool((prediction == label)[counted].all())


def test_many_matrices_are_scored_at_once():
    matrices = metrics.confusion_matrices(*random_maps(6, 4, 8), 4)
    for score in (*SCORES, metrics.class_iou, metrics.class_accuracy):
        together = score(matrices.view(2, 3, 4, 4))
        assert torch.equal(together.flatten(0, 1), torch.stack([score(m) for m in matrices]))


def test_mean_over_images_is_not_the_score_of_a_data_set():
    """Pascal VOC's mIoU adds counts first: what is rare in one image weighs little there."""
    matrices = torch.tensor([[[99, 1], [0, 0]], [[50, 0], [0, 50]]])
    close(metrics.miou(matrices).mean(), (0.99 / 2 + 1) / 2)
    close(metrics.miou(matrices.sum(0)), (149 / 150 + 50 / 51) / 2)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 4, 3)])
def test_a_matrix_is_square(shape):
    with pytest.raises(ValueError, match=r"matrix of .*: expected ... x K x K"):
        metrics.miou(torch.ones(shape))


# ---- Intervals -----------------------------------------------------------------------------------


def evaluated(images=200, seed=0, spread=0.2):
    """Images of two classes and 1000 pixels, some harder than others."""
    random = np.random.default_rng(seed)
    hits = random.binomial(500, np.clip(random.normal(0.7, spread, (images, 2)), 0.05, 0.95))
    a, b = torch.from_numpy(hits).T
    return torch.stack([torch.stack([a, 500 - a], -1), torch.stack([500 - b, b], -1)], 1)


def test_an_interval_is_the_middle_of_scores_of_resampled_images():
    matrices = evaluated(30)
    found = metrics.confidence_interval(matrices, level=0.8, resamples=200, seed=5)
    draws = torch.randint(30, (200, 30), generator=torch.Generator().manual_seed(5))
    scores = [float(metrics.miou(matrices[draw].sum(0))) for draw in draws]
    assert found.value == float(metrics.miou(matrices.sum(0)))
    np.testing.assert_allclose(found[1:], np.quantile(scores, [0.1, 0.9]), rtol=1e-12)


def test_intervals_are_seeded_and_leave_the_global_generator_alone():
    matrices = evaluated()
    state = torch.get_rng_state()
    first = metrics.confidence_interval(matrices)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == metrics.confidence_interval(matrices, seed=0)
    assert first != metrics.confidence_interval(matrices, seed=1)


def test_an_interval_is_as_wide_as_the_normal_approximation_says():
    """Pixel accuracy is the mean over equally large images: 1.96 standard errors on each side."""
    matrices = evaluated(400)
    value, low, high = metrics.confidence_interval(matrices, metrics.pixel_accuracy, resamples=4000)
    error = float(metrics.pixel_accuracy(matrices).std()) / 400**0.5
    assert value - low == pytest.approx(1.96 * error, rel=0.1)
    assert high - value == pytest.approx(1.96 * error, rel=0.1)


def test_the_truth_lies_in_most_intervals():
    """Of 100 samples of 100 images, some 95 have the score of all images in their interval."""
    everything = evaluated(10_000)
    truth = float(metrics.miou(everything.sum(0)))
    intervals = [metrics.confidence_interval(part, resamples=200) for part in everything.split(100)]
    share = np.mean([low <= truth <= high for _, low, high in intervals])
    assert 0.88 <= share <= 0.99


def test_images_that_are_all_alike_leave_no_doubt():
    same = BY_HAND.expand(50, 4, 4)
    value, low, high = metrics.confidence_interval(same)
    assert low == pytest.approx(value) == high == pytest.approx(float(metrics.miou(BY_HAND)))


def test_more_images_and_lower_levels_narrow_an_interval():
    def width(images, level):
        _, low, high = metrics.confidence_interval(evaluated(images), level=level)
        return high - low

    assert width(1600, 0.95) == pytest.approx(width(100, 0.95) / 4, rel=0.25)
    assert width(400, 0.5) < width(400, 0.9) < width(400, 0.99)


def test_pairs_cancel_what_makes_an_image_hard():
    """Five pixels of a class more in each image: invisible in two intervals, clear in pairs."""
    worse = evaluated(300)
    better = worse.clone()
    better[:, 0] += torch.tensor([5, -5])
    better[:, 1] += torch.tensor([-5, 5])
    first, second = metrics.confidence_interval(better), metrics.confidence_interval(worse)
    assert first.low < second.high  # they overlap
    gain = metrics.paired_difference(better, worse)
    assert gain.value == pytest.approx(first.value - second.value)
    assert 0 < gain.low < gain.value < gain.high
    loss = metrics.paired_difference(worse, better)
    assert loss == pytest.approx((-gain.value, -gain.high, -gain.low))
    assert metrics.paired_difference(worse, worse) == (0, 0, 0)


def test_models_that_are_equally_good_do_not_differ():
    one, other = random_maps(200, 3, 16)[0], random_maps(200, 3, 16)
    label = other[1]
    generator = torch.Generator().manual_seed(9)
    flip = torch.rand(2, *label.shape, generator=generator) < 0.2
    noisy = [torch.where(mask, one, label) for mask in flip]
    first, second = (metrics.confusion_matrices(each, label, 3) for each in noisy)
    _, low, high = metrics.paired_difference(first, second)
    assert low < 0 < high


@pytest.mark.parametrize(
    "change",
    [lambda m: m[1:], lambda m: m.flip(0), lambda m: m[:, :1, :1]],
    ids=["fewer images", "another order", "fewer classes"],
)
def test_pairs_are_of_the_same_images(change):
    matrices = metrics.confusion_matrices(*random_maps(5, 3, 8), 3)
    with pytest.raises(ValueError, match=r"count different pixels: score both models on the same"):
        metrics.paired_difference(matrices, change(matrices))


@pytest.mark.parametrize("shape", [(3, 3), (1, 3, 3), (2, 2, 3, 3)])
def test_an_interval_wants_several_images(shape):
    with pytest.raises(ValueError, match=r"expected N x K x K, of 2 images or more"):
        metrics.confidence_interval(torch.ones(shape))


@pytest.mark.parametrize("level", [0, 1, 95])
def test_levels_are_shares(level):
    with pytest.raises(ValueError, match=rf"level {level}: expected a share between 0 and 1"):
        metrics.confidence_interval(evaluated(3), level=level)


def test_an_interval_is_written_to_three_digits():
    assert str(metrics.Interval(0.85341, 0.84649, 0.86)) == "0.853 [0.846, 0.860]"


# ---- Trimaps -------------------------------------------------------------------------------------


def nearest_other(label: Tensor) -> Tensor:
    """boundary_distance by comparing all pairs of pixels of one H x W label."""
    places = torch.cartesian_prod(*(torch.arange(n) for n in label.shape)).float()
    values = label.flatten()
    far = torch.cdist(places, places)
    far[values[:, None] == values[None]] = torch.inf
    return torch.where(values == IGNORE, 0, far.min(1).values).view(label.shape)


@examples
@given(evaluations(classes=3))
def test_distances_are_those_to_the_nearest_pixel_of_another_class(evaluation):
    _, label, _ = evaluation
    expected = torch.stack([nearest_other(image) for image in label])
    close(metrics.boundary_distance(label), expected)
    close(metrics.boundary_distance(label[0].numpy().astype(np.uint8)), expected[0])


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("across", [False, True])
def test_the_band_of_a_straight_edge_has_width_pixels_on_each_side(width, across):
    label = torch.zeros(40, 40, dtype=torch.uint8)
    label[:, 20:] = 7
    expected = torch.zeros(40, 40, dtype=torch.bool)
    expected[:, 20 - width : 20 + width] = True
    if across:
        label, expected = label.T, expected.T
    assert torch.equal(metrics.trimap(label, width), expected)


def test_a_band_is_as_wide_in_every_direction():
    """Around a disc its area is length times width; a square window's would be 27 % larger."""
    y, x = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    disc = ((y - 100) ** 2 + (x - 100) ** 2 <= 60**2).long()
    area = int(metrics.trimap(disc, 8).sum())
    assert area == pytest.approx(2 * math.pi * 60 * 16, rel=0.03)


def test_one_class_has_no_boundary():
    label = torch.full((2, 9, 9), 3)
    assert metrics.boundary_distance(label).isinf().all()
    assert not metrics.trimap(label, 8).any()
    assert not metrics.trimap_matrices(label, label, 4).any()


def test_ignored_pixels_are_an_edge_and_do_not_count():
    """A band of 255 on an outline: widths are counted from its rim."""
    label = torch.zeros(12, 20, dtype=torch.long)
    label[:, 9:11], label[:, 11:] = IGNORE, 1
    band = metrics.trimap(label, 2)
    assert band[:, 7:13].all() and not band[:, :7].any() and not band[:, 13:].any()
    counted = metrics.trimap_matrices(torch.zeros_like(label), label, 2, widths=(2,))[0, 0]
    assert counted.tolist() == [[24, 0], [24, 0]]


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_shift_by_one_pixel_costs_less_the_wider_the_band(width):
    """One wrong pixel in the 2 w of a row: an error that the whole image would hide."""
    label = torch.zeros(1, 30, 60, dtype=torch.long)
    label[:, :, 30:] = 1
    prediction = label.roll(1, 2)
    prediction[:, :, 0] = 0
    (matrix,) = metrics.trimap_matrices(prediction, label, 2, widths=(width,)).sum(1)
    close(metrics.pixel_accuracy(matrix), 1 - 1 / (2 * width))
    close(metrics.miou(matrix), ((width / (width + 1)) + (width - 1) / width) / 2)


@examples
@given(evaluations())
def test_bands_grow_into_the_whole_image(evaluation):
    prediction, label, classes = evaluation
    narrow, wide, whole = metrics.trimap_matrices(
        prediction, label, classes, widths=(1, 2.5, math.inf)
    )
    assert (narrow <= wide).all() and (wide <= whole).all()
    for image, matrix in enumerate(metrics.confusion_matrices(prediction, label, classes)):
        if len(label[image].unique()) > 1 and metrics.boundary_distance(label[image]).max() < 99:
            assert torch.equal(whole[image], matrix)


def test_trimap_scores_of_the_usual_widths():
    prediction, label = random_maps(3, 4, 16)
    found = metrics.trimap_matrices(prediction, label, 4)
    assert found.shape == (4, 3, 4, 4)
    for width, matrices in zip((1, 2, 4, 8), found, strict=True):
        outside = ~metrics.trimap(label, width)
        assert torch.equal(
            matrices,
            metrics.confusion_matrices(prediction, label.masked_fill(outside, IGNORE), 4),
        )
    assert metrics.miou(found.sum(1)).shape == (4,)


@pytest.mark.parametrize("width", [0, -1, NAN, "2", None])
def test_widths_are_positive(width):
    with pytest.raises(ValueError, match=r"width .*: expected a number of pixels above 0"):
        metrics.trimap(LABEL, width)


# ---- Tables --------------------------------------------------------------------------------------


def test_records_are_the_scores_of_each_class():
    rows = tables.records(BY_HAND, NAMES)
    assert [row["class"] for row in rows] == NAMES
    assert [row["pixels"] for row in rows] == [8, 2, 0, 0]
    columns = {key: [row[key] for row in rows] for key in ("iou", "accuracy", "precision")}
    expected = {
        "iou": [6 / 9, 0.5, 0, NAN],
        "accuracy": [0.75, 0.5, NAN, NAN],
        "precision": [6 / 7, 1, 0, NAN],
    }
    for key, column in columns.items():
        np.testing.assert_allclose(column, expected[key], err_msg=key)


def test_table():
    assert tables.table(BY_HAND, NAMES).splitlines() == [
        "class              IoU   accuracy   precision   pixels",
        "background       0.667      0.750       0.857        8",
        "disc             0.500      0.500       1.000        2",
        "ring             0.000          -       0.000        0",
        "star                 -          -           -        0",
        "mean             0.389      0.625       0.619       10",
        "pixel accuracy              0.700",
    ]


def test_a_report_is_the_scores_of_a_card():
    matrices = torch.stack([BY_HAND, BY_HAND])
    found = tables.report(matrices, NAMES)
    assert list(found["iou"]) == NAMES and math.isnan(found["iou"].pop("star"))
    assert found == {
        "images": 2,
        "miou": 0.3889,
        "interval": [0.3889, 0.3889],
        "accuracy": 0.7,
        "mean_accuracy": 0.625,
        "iou": {"background": 0.6667, "disc": 0.5, "ring": 0.0},
    }


@pytest.mark.parametrize("matrix", [BY_HAND[:3, :3], BY_HAND[None]])
def test_a_table_wants_a_name_for_each_class(matrix):
    with pytest.raises(ValueError, match=r"4 class names for a matrix of .*: expected K x K, sum"):
        tables.table(matrix, NAMES)


def test_a_measured_table_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forms = [row["form"] for row in tables.measured("fc6.csv")]
    assert forms == ["7x7", "base", "4x4", "largefov"]
