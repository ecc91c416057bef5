"""What a run can be asked for: Dice, flags of augmentation, patience, a test split, more steps."""

import dataclasses
import subprocess
import sys
import weakref

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from small_network import network
from torch import nn
from train_child import CLASSES, DATA, Colours, gradient, net, small

from deeplab_lite import ask, checkpoints, metrics, scenes
from deeplab_lite.losses import loss_sum, normalizer
from deeplab_lite.scenes import normalize
from deeplab_lite.workshop.datasets import augment
from deeplab_lite.workshop.train import Config, loop, optim, scoring, train
from deeplab_lite.workshop.train import stream as data
from deeplab_lite.workshop.train.log import read
from deeplab_lite.workshop.train.objective import dice_sum, loss_counts, loss_terms

# ---- Dice ----------------------------------------------------------------------------------------


@pytest.fixture
def batch():
    """Logits and labels of three images: one lacks a class, one is 255 everywhere."""
    random = data.generator(0)
    logits = torch.randn((3, CLASSES, 6, 5), generator=random)
    labels = torch.randint(CLASSES, (3, 6, 5), generator=random)
    labels[0, :3] = 255
    labels[1][labels[1] == 2] = 0
    labels[2] = 255
    return logits.requires_grad_(), labels


def test_dice_is_that_of_segmentation_models_pytorch_image_by_image(batch):
    """Theirs is a mean over all classes, where those that are nowhere have loss 0."""
    logits, labels = batch
    theirs = smp.losses.DiceLoss("multiclass", ignore_index=255)
    expected = [
        theirs(logits[i : i + 1], labels[i : i + 1]) * CLASSES / present
        for i, present in ((0, CLASSES), (1, CLASSES - 1))
    ]
    torch.testing.assert_close(dice_sum(logits, labels), sum(expected))
    weights = torch.tensor([1.0, 0.0, 0.0])
    alone = (labels == 0).float() * (labels != 255)
    p = logits.softmax(1)[:, 0] * (labels != 255)
    each = 1 - 2 * (p * alone).sum((1, 2)) / (p + alone).sum((1, 2)).clamp(min=1)
    torch.testing.assert_close(dice_sum(logits, labels, weights), each[:2].sum())


def test_dice_has_no_gradient_where_the_label_is_255(batch):
    logits, labels = batch
    dice_sum(logits, labels).backward()
    moved = logits.grad.abs().sum(1) > 0
    assert moved[labels != 255].all() and not moved[labels == 255].any()


def test_both_is_the_mean_of_each_added(batch):
    logits, labels = batch
    config = small("", loss="both", ohem=0.5)
    mean = (loss_terms(logits, labels, config, None) / loss_counts(labels, config, None)).sum()
    entropy = loss_sum(logits, labels, ohem=0.5) / normalizer(labels, ohem=0.5)
    torch.testing.assert_close(mean, entropy + dice_sum(logits, labels) / 2)  # images with labels


def test_dice_of_two_heads_and_sizes_that_differ(batch):
    logits, labels = batch
    both = dice_sum({"out": logits, "aux": logits}, labels, aux_weight=0.4)
    torch.testing.assert_close(both, 1.4 * dice_sum(logits, labels))
    with pytest.raises(ValueError, match="labels are 3 x 5 x 5 and logits 3 x 3 x 6 x 5"):
        dice_sum(logits, labels[:, 1:])


@pytest.mark.parametrize("loss", ["dice", "both"])
def test_accumulated_passes_have_one_gradient_and_a_run_learns(tmp_path, loss):
    config = small(tmp_path, loss=loss, steps=60, class_weights=(1.0, 2.0, 1.0))
    whole, parts = (
        gradient(config, lambda rank, rows=rows: rows)
        for rows in ([slice(0, 8)], [slice(0, 3), slice(3, 8)])
    )
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-6, msg=name)
    assert train(config, net(), DATA).metrics["miou"] > 0.9


# ---- Augmentation --------------------------------------------------------------------------------

AS_IT_IS = {"scale": (1.0, 1.0), "colour": False, "mirror": False}


def ramp(side):
    """An image whose channels say where a pixel is, and a label that says in which quarter."""
    at = torch.linspace(-0.9, 0.9, side)
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([y, x, torch.zeros_like(x)]), 2 * (y > 0).long() + (x > 0).long()


def crops(count=24, side=65, size=33, **flags):
    return [
        augment(*ramp(side), data.generator(i), size=size, **AS_IT_IS | flags) for i in range(count)
    ]


def test_without_augmentation_crops_are_parts_of_the_image():
    step = 1.8 / 64
    for image, _ in crops():
        torch.testing.assert_close(image[1].diff(dim=1), torch.full((33, 32), step))
        torch.testing.assert_close(image[0].diff(dim=0), torch.full((32, 33), step))


def test_half_of_the_crops_are_mirrored():
    backwards = [bool(image[1, 0, 0] > image[1, 0, -1]) for image, _ in crops(mirror=True)]
    assert 6 < sum(backwards) < 18


def test_scales_lie_in_the_range():
    spans = [float(image[1].max() - image[1].min()) for image, _ in crops(scale=(1.0, 2.0))]
    scales = [33 / (span / 1.8 * 64 + 1) for span in spans]
    assert 0.9 < min(scales) < 1.2 and 1.7 < max(scales) < 2.2


def test_colours_change_with_the_flag_alone():
    grey = torch.zeros(3, 65, 65)
    label = torch.zeros(65, 65, dtype=torch.int64)
    for colour in (False, True):
        flags = AS_IT_IS | {"colour": colour}
        image = augment(grey, label, data.generator(1), size=33, **flags)[0]
        assert torch.equal(image, grey[:, :33, :33]) != colour


def test_turned_crops_keep_image_and_label_together_and_have_no_empty_corner():
    """The label's quarter is read off the image's channels, away from the quarters' edges."""
    angles = []
    for image, label in crops(rotation=45.0):
        assert image.shape == (3, 33, 33) and label.shape == (33, 33)
        down = image[:2, 17, 16] - image[:2, 15, 16]
        angles.append(float(torch.rad2deg(torch.atan2(down[1], down[0]))))
        inside = (image[:2].abs() > 0.06).all(0) & (label != 255)
        quarter = 2 * (image[0] > 0).long() + (image[1] > 0).long()
        assert torch.equal(label[inside], quarter[inside])
    assert min(angles) < -15 and max(angles) > 15 and max(map(abs, angles)) <= 45.1
    middle = augment(*ramp(129), data.generator(3), size=33, rotation=30.0, **AS_IT_IS)
    assert (middle[1] != 255).all()


@pytest.mark.parametrize("name, value", [("rotation", 9.0), ("scale", (1.0, 1.0))])
def test_drawn_scenes_are_not_augmented(name, value):
    with pytest.raises(ValueError, match=f"{name} is for photographs, and small-scenes is drawn"):
        data.open_data(Config(data="small-scenes", **{name: value}))


@pytest.mark.parametrize(
    "choice, sentence",
    [
        ({"scale": (2.0, 0.5)}, r"scale \(2.0, 0.5\): expected two sizes, the smaller first"),
        ({"rotation": 200.0}, "rotation 200.0: expected 0 to 180"),
        ({"loss": "focal"}, "loss 'focal': expected cross-entropy, dice or both"),
        ({"loss": "dice", "ohem": 0.5}, "ohem 0.5: expected 1 with loss dice"),
        ({"patience": -1}, "patience -1: expected 0 or more"),
    ],
)
def test_choices_that_make_no_sense(choice, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**choice)


# ---- Patience, and a test split ------------------------------------------------------------------


@pytest.fixture
def scripted(monkeypatch):
    """Validations score as a list says; a network's `0.weight` tells which one was scored."""
    scores, seen = [0.3, 0.5, 0.4, 0.45, 0.5, 0.9], []

    def miou(matrix):
        return torch.tensor(scores[min(len(seen), 6) - 1])

    def validate(fabric, model, dataset, config):
        seen.append(model[0].weight.clone())
        return torch.ones(2, CLASSES, CLASSES, dtype=torch.long)

    monkeypatch.setattr("deeplab_lite.workshop.train.loop.validate", validate)
    monkeypatch.setattr("deeplab_lite.workshop.train.loop.miou", miou)
    return seen


def test_patience_stops_the_run_and_keeps_the_best_weights(tmp_path, scripted, capsys):
    config = small(tmp_path, steps=20, val_every=2, patience=2, log_every=1)
    trained = train(config, net(), DATA)
    assert [int(row["step"]) for row in read(tmp_path / "log.csv")] == list(range(1, 9))
    assert torch.equal(trained.model[0].weight, scripted[1])
    assert "ended after step 8: the best validation was after step 4\n" in capsys.readouterr().out
    again = train(dataclasses.replace(config, resume=True), net(), DATA)
    assert torch.equal(again.model[0].weight, scripted[1])
    with pytest.raises(ValueError, match="another config: val_every was 2 and is 3"):
        train(dataclasses.replace(config, resume=True, val_every=3), net(), DATA)
    more = train(dataclasses.replace(config, resume=True, steps=30), net(), DATA)
    assert not torch.equal(more.model[0].weight, scripted[1])  # a score of 0.9 came


def test_the_command_of_a_run_with_patience_says_how_often_it_validates():
    assert "--val-every" not in Config(val_every=7).command()
    assert "--val-every 7 --patience 3" in Config(val_every=7, patience=3).command()


def test_the_test_split_is_seen_once_when_training_has_ended(tmp_path):
    class Watched(Colours):
        seen = 0

        def __getitem__(self, index):
            self.seen += 1
            return super().__getitem__(index)

    test = Watched(9, first=7)
    plain = train(small(tmp_path / "plain", steps=20), net(), DATA)
    trained = train(small(tmp_path / "test", steps=20, test=True), net(), (*DATA, test))
    assert test.seen == len(test) + 1  # one more to see how large images are
    assert plain.test is None and trained.test["images"] == 9
    assert trained.metrics == plain.metrics
    with pytest.raises(ValueError, match="test: expected a third data set"):
        train(small(tmp_path / "none", test=True), net(), DATA)
    with pytest.raises(ValueError, match="VOC's server keeps the labels"):
        data.open_test(Config(data="voc"), ())
    assert data.open_test(Config(), ())[0][1].shape == (321, 321)


# ---- A run that has ended goes on ----------------------------------------------------------------


def test_a_run_that_has_ended_goes_on_to_more_steps_on_their_schedule(tmp_path, capsys):
    config = small(tmp_path, steps=20, log_every=1)
    train(config, net(), DATA)
    more = dataclasses.replace(config, steps=50, resume=True)
    capsys.readouterr()
    train(more, net(), DATA)
    said = capsys.readouterr().out
    assert (
        "going on after step 20 to 50 in place of 20: the learning rate is that of a run of" in said
    )
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.lr)
    schedule = optim.make_schedule(sgd, more)
    rates = []
    for _ in range(50):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    rows = read(tmp_path / "log.csv")
    assert [float(row["lr"]) for row in rows[20:]] == pytest.approx(rates[20:], rel=1e-5)
    assert [int(row["step"]) for row in rows] == list(range(1, 51))
    assert f"{rates[20]:.2g}\n" in said
    with pytest.raises(ValueError, match="steps was 50 and is 20"):
        train(dataclasses.replace(more, steps=20), net(), DATA)


def test_a_run_that_was_stopped_keeps_its_number_of_steps(tmp_path, monkeypatch):
    config = small(tmp_path, steps=20)

    def interrupted(self, step, lr, score):
        if step == 15:
            raise KeyboardInterrupt

    monkeypatch.setattr("deeplab_lite.workshop.train.log.Log.row", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, net(), DATA)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="steps was 20 and is 50"):
        train(dataclasses.replace(config, steps=50, resume=True), net(), DATA)


def test_the_card_tells_how_a_run_went_on(tmp_path):
    config = small(tmp_path, model="v1-small", steps=1, batch=2, size=65, val_images=2)
    train(config)
    trained = train(dataclasses.replace(config, steps=2, resume=True))
    card = checkpoints.card(trained.weights)
    assert card["command"] == f"{config.command()}; then with --resume --steps 2"
    assert card["data"]["images"] == 4


# ---- Large images, and scripts -------------------------------------------------------------------


class Photographs(torch.utils.data.Dataset):
    """Two images of which one is larger than a tile."""

    def __init__(self):
        large = np.hstack([scenes.scene(i)[0] for i in range(9)])
        self.images = [large[:, :1100], scenes.scene(9)[0]]

    def __len__(self):
        return 2

    def __getitem__(self, index):
        image = normalize(np.ascontiguousarray(self.images[index]))
        return image, (image[0] > 0).long() + (image[1] > 0).long()


@pytest.mark.parametrize("own", [False, True])
def test_large_images_are_validated_by_tiles_as_segment_has_them(own, monkeypatch):
    from lightning_fabric import Fabric

    class Squares(nn.Sequential):
        """A network that no receptive field is known of."""

        def forward(self, x):
            assert max(x.shape[-2:]) <= scoring.TILE
            return super().forward(x) * torch.from_numpy(np.ones(1, np.float32))

    model = Squares(*net()).eval() if own else network(output_stride=8)
    fabric, items = Fabric(accelerator="cpu", devices=1), Photographs()
    found = scoring.validate(fabric, model, items, small("", batch=4, size=129))
    if own:
        monkeypatch.setattr(ask, "overlap_of", lambda *_: (256, 64))
    for index, matrix in enumerate(found):
        label = ask.label(model, np.ascontiguousarray(items.images[index]))
        expected = metrics.confusion_matrices(label, items[index][1].numpy(), CLASSES)[0]
        assert (matrix - expected).abs().sum() <= 2e-4 * expected.sum()


def test_a_photograph_is_in_memory_once_and_only_until_it_is_scored():
    from lightning_fabric import Fabric

    photographs = []

    class Large(Colours):
        def __getitem__(self, index):
            assert not any(earlier() is not None for earlier in photographs)
            image, label = super().__getitem__(index)
            photographs.append(weakref.ref(array := image.numpy().copy()))
            return torch.from_numpy(array), label

    fabric, items = Fabric(accelerator="cpu", devices=1), Large(3)
    assert len(scoring.validate(fabric, net(), items, small("", batch=1))) == 3
    [(images, _)] = data.of_one_size([item := items[0]])
    assert images.data_ptr() == item[0].data_ptr()


def test_validation_has_no_more_pixels_at_once_than_training():
    loader, _, _ = data.validation(Colours(6, size=48), small("", batch=20, size=24), 0, 1)
    assert [len(images) for batches in loader for images, _ in batches] == [5, 1]
    loader, _, _ = data.validation(Colours(3, size=48), small("", batch=2, size=8), 0, 1)
    assert [len(images) for batches in loader for images, _ in batches] == [1, 1, 1]


SCRIPT = """
import multiprocessing, sys
multiprocessing.set_start_method("spawn", force=True)
sys.path[:0] = {paths!r}
from train_child import DATA, net, small
from deeplab_lite.workshop.train import train
{guard}
    trained = train(small({out!r}, steps=2, workers=1), net(), DATA)
    print("trained", trained.metrics["images"])
"""


@pytest.mark.parametrize("guard", ["if True:", 'if __name__ == "__main__":'])
def test_a_script_without_a_main_guard_trains_without_workers_and_is_told(tmp_path, guard):
    path = tmp_path / "mine.py"
    path.write_text(SCRIPT.format(paths=sys.path, guard=guard, out=str(tmp_path / "run")))
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.endswith("trained 8\n"), done.stderr
    sentence = f'{path} has no `if __name__ == "__main__":`, so each worker process would run it'
    assert (sentence in done.stdout) == (guard == "if True:")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "choice, words",
    [
        ({"options": "[1]"}, r"options '\[1\]': expected as \{.output_stride.: 8\}"),
        ({"options": '{"num_classes": 7}'}, "options .*the data says num_classes"),
        ({"options": '{"nope": 1}'}, "options .* do not fit v1-small: .*'nope'"),
        ({"power": -1.0}, "power -1.0: expected 0 or more"),
        ({"seed": 2**32}, r"seed 4294967296: expected 0 to 2\^32 - 1"),
        ({"class_weights": (1.0, float("inf"))}, "class_weights .*: expected 0 or more"),
    ],
)
def test_what_no_run_can_follow_is_one_sentence(choice, words):
    with pytest.raises(ValueError, match=words):
        loop.build(Config(model="v1-small", **choice))
