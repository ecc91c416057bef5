"""One way to ask a network: each choice does what it must do, and the network stays as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from deeplab_lite import ask, checkpoints, scenes, sizes
from deeplab_lite.ask import Inference
from deeplab_lite.crf import dense_crf

IMAGE = scenes.scene(7, difficulty=scenes.SMALL)[0]


@pytest.fixture(scope="module")
def network():
    return checkpoints.load("v3plus-scenes")


@torch.inference_mode()
def passed(network, images, stride=None):
    """Probabilities, in the plainest words."""
    network = checkpoints.load("v3plus-scenes")
    if stride:
        network.output_stride = stride
    return network(images).softmax(1)[0].numpy()


BATCH = scenes.normalize(IMAGE)[None]


def test_one_pass(network):
    assert ask.probabilities(network, IMAGE) == pytest.approx(passed(network, BATCH), abs=1e-6)


def test_another_output_stride(network):
    probs = ask.probabilities(network, IMAGE, Inference(output_stride=8))
    assert probs == pytest.approx(passed(network, BATCH, 8), abs=1e-6)
    assert network.output_stride == 16


def test_the_mirror_image(network):
    mirrored = passed(network, BATCH.flip(-1))[..., ::-1]
    mean = (passed(network, BATCH) + mirrored) / 2
    assert ask.probabilities(network, IMAGE, Inference(flip=True)) == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("fuse", ["mean", "max"])
@torch.inference_mode()
def test_scales(network, fuse):
    """Half of 129 is 65, which 16 k + 1 has, too."""
    logits = [
        network(BATCH),
        sizes.resize(network(sizes.resize(BATCH, (65, 65), True)), (129, 129), True),
    ]
    if fuse == "max":
        expected = torch.stack(logits).amax(0).softmax(1)
    else:
        expected = torch.stack([each.softmax(1) for each in logits]).mean(0)
    probs = ask.probabilities(network, IMAGE, Inference(scales=(1.0, 0.5), fuse=fuse))
    assert probs == pytest.approx(expected[0].numpy(), abs=1e-5)


@pytest.mark.parametrize("crf", [True, {"w_appearance": 20, "sigma_rgb": 20}], ids=["v1's", "own"])
def test_the_crf(network, crf):
    own = {} if crf is True else crf
    expected = dense_crf(ask.probabilities(network, IMAGE), IMAGE, **own)
    assert ask.probabilities(network, IMAGE, Inference(crf=crf)) == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.parametrize("size", [(1, 1), (20, 61), (129, 100), (128, 128)])
def test_any_size(network, size):
    probs = ask.probabilities(network, IMAGE[: size[0], : size[1]])
    assert probs.shape == (9, *size)
    assert probs.sum(0) == pytest.approx(np.ones(size), abs=1e-4)


def test_small_images_are_one_pass_and_large_ones_are_tiles(network):
    sides = []
    handle = network.register_forward_pre_hook(lambda module, args: sides.append(args[0].shape[-1]))
    ask.label(network, IMAGE)
    large = np.tile(IMAGE, (1, 2, 1))
    labels = ask.label(network, large, Inference(tile=129))
    handle.remove()
    first, *tiles = sides
    assert first == 129 and len(tiles) > 2
    assert all(side % 16 == 1 and side <= 129 for side in tiles)
    assert labels.shape == large.shape[:2] and labels.dtype == np.uint8


def test_the_network_keeps_its_mode_and_its_stride_when_a_pass_fails():
    class Broken(nn.Module):
        output_stride = 16

        def forward(self, x):
            raise RuntimeError("broken")

    broken = Broken().train()
    with pytest.raises(RuntimeError, match="broken"):
        ask.probabilities(broken, IMAGE, Inference(output_stride=8))
    assert broken.training and broken.output_stride == 16


@pytest.mark.parametrize("training", [False, True])
def test_each_layer_keeps_its_mode(training):
    """As batch norm that is held in eval mode while the rest trains."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()).train(training)
    network[1].train(not training)
    ask.probabilities(network, IMAGE)
    modes = [layer.training for layer in network.modules()]
    assert modes == [training, training, not training, training]


def test_a_dict_of_torchvision_is_its_out():
    class Two(nn.Module):
        def forward(self, x):
            return {"out": torch.zeros(len(x), 4, *x.shape[2:]), "aux": torch.ones(1)}

    assert ask.probabilities(Two(), IMAGE).shape == (4, 129, 129)
    assert ask.logits(Two(), BATCH).shape == (1, 4, 129, 129)


REFUSED = {
    "NaN": (lambda x: torch.full((1, 9, 129, 129), torch.nan), {}, "toy gives NaN: its weights"),
    "channels": (lambda x: x, {}, r"toy gives \(1, 3, 129, 129\): expected logits \(1, 9, 129"),
    "size": (lambda x: x[..., ::2], {}, r"toy gives \(1, 3, 129, 65\): expected"),
    "stride": (lambda x: x, {"output_stride": 8}, "has no output_stride that could be set"),
}


@pytest.mark.parametrize("forward, choices, sentence", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(forward, choices, sentence):
    class Toy(nn.Module):
        def forward(self, x):
            return forward(x)

    with pytest.raises(ValueError, match=sentence):
        ask.probabilities(Toy(), IMAGE, Inference(**choices), 9, "toy")


@pytest.mark.parametrize(
    "choices, sentence",
    [
        ({"scales": ()}, "scales none: expected numbers from 0.1 to 10"),
        ({"scales": (1.0, 20.0)}, "scales 1,20: expected"),
        ({"fuse": "sum"}, "fuse 'sum': expected mean or max"),
        ({"tile": 64}, "tile 64: expected 65 pixels or more"),
        ({"tile": 129, "overlap": 65}, "overlap 65: expected 0 to 64 pixels, half of the tile"),
    ],
)
def test_choices_that_cannot_be(choices, sentence):
    with pytest.raises(ValueError, match=sentence):
        Inference(**choices)
