"""Training: the loss, the order of the data, resumption, processes, and the command line."""

import dataclasses
import inspect
import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from ports import free_port
from torch import nn
from train_child import (
    CHOICES,
    CLASSES,
    DATA,
    Colours,
    environment,
    everything,
    gradient,
    net,
    small,
)
from typer.testing import CliRunner

from deeplab_lite import checkpoints, metrics, tables
from deeplab_lite.losses import loss_sum, normalizer
from deeplab_lite.models import zoo
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.train import Config, loop, optim, train
from deeplab_lite.workshop.train import stream as data
from deeplab_lite.workshop.train.log import read
from deeplab_lite.workshop.train.run_folder import RunFolder
from deeplab_lite.workshop.train.start_from import start_from

TESTS = Path(__file__).parents[1]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# ---- the loss ----


def scores(seed=0, shape=(4, CLASSES, 6, 5)):
    random = data.generator(seed)
    logits = torch.randn(shape, generator=random, dtype=torch.float64).float()
    labels = torch.randint(CLASSES, (shape[0], *shape[2:]), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.3] = 255
    labels[1, :4] = 255  # images differ in how many pixels count
    return logits.requires_grad_(), labels


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1, 4])])
def test_the_loss_is_torch_s_mean_cross_entropy(weights):
    logits, labels = scores()
    mean = loss_sum(logits, labels, weights) / normalizer(labels, weights)
    expected = F.cross_entropy(logits, labels, weights, ignore_index=255)
    torch.testing.assert_close(mean, expected)


@pytest.mark.parametrize("ohem", [1.0, 0.4])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1, 4])])
def test_the_loss_of_a_batch_is_that_of_its_parts_together(weights, ohem):
    logits, labels = scores()
    whole = loss_sum(logits, labels, weights, ohem) / normalizer(labels, weights, ohem)
    parts = [slice(0, 1), slice(1, 4)]
    total = sum(loss_sum(logits[p], labels[p], weights, ohem) for p in parts)
    count = sum(normalizer(labels[p], weights, ohem) for p in parts)
    torch.testing.assert_close(total / count, whole)
    means = [F.cross_entropy(logits[p], labels[p], ignore_index=255) for p in parts]
    assert not torch.isclose(sum(means) / 2, F.cross_entropy(logits, labels, ignore_index=255))


def test_class_weights_of_one_change_no_count():
    labels = scores()[1]
    weighted = normalizer(labels, torch.ones(CLASSES), 0.5)
    assert weighted == normalizer(labels, None, 0.5) < normalizer(labels, torch.ones(CLASSES))


def test_hard_examples_are_each_image_s_own_and_no_others_have_a_gradient():
    logits, labels = scores()
    loss_sum(logits, labels, ohem=0.25).backward()
    losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    for image in range(len(labels)):
        counted = labels[image] != 255
        kept = logits.grad[image].abs().sum(0) > 0
        assert int(kept.sum()) == math.ceil(0.25 * int(counted.sum()))
        assert losses[image][kept].min() >= losses[image][counted & ~kept].max()


def test_labels_that_are_all_255_have_loss_0_and_gradient_0():
    logits, labels = scores()
    labels[:] = 255
    for ohem in (1.0, 0.5):
        logits.grad = None
        loss = loss_sum(logits, labels, ohem=ohem)
        loss.backward()
        assert loss == 0 and normalizer(labels, ohem=ohem) == 0
        assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("ohem", [1.0, 0.4])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1, 4])])
def test_the_auxiliary_head_has_the_same_loss_and_counts_by_its_weight(weights, ohem):
    logits, labels = scores()
    aux = scores(1)[0]
    both = loss_sum({"out": logits, "aux": aux}, labels, weights, ohem, aux_weight=0.4)
    out, other = (loss_sum(each, labels, weights, ohem) for each in (logits, aux))
    torch.testing.assert_close(both, out + 0.4 * other)


def test_labels_that_do_not_fit_are_told():
    logits, labels = scores()
    with pytest.raises(ValueError, match="labels are 4 x 5 x 5 and logits 4 x 3 x 6 x 5: expected"):
        loss_sum(logits, labels[:, 1:])
    labels[2, 3, 4] = 7
    with pytest.raises(ValueError, match=r"value 7 at \(3, 4\) of image 2: classes are 0\.\.2"):
        loss_sum(logits, labels)
    with pytest.raises(ValueError, match=r"value 7 at \(3, 4\) of image 2: classes are 0\.\.2"):
        normalizer(labels, torch.ones(logits.shape[1]))


# ---- which image comes when ----


@pytest.mark.parametrize("world, accumulate", [(1, 1), (2, 1), (1, 4), (2, 2), (4, 2)])
def test_a_step_has_the_same_images_whoever_takes_them(world, accumulate):
    config = small("", steps=5, batch=16, accumulate=accumulate)
    ranks = [list(data.order(config, rank, world, 0)) for rank in range(world)]
    for step in range(config.steps):
        passes = slice(step * accumulate, (step + 1) * accumulate)
        seen = sorted(i for batches in ranks for batch in batches[passes] for i in batch)
        assert seen == list(range(16 * step, 16 * step + 16))
    assert list(data.order(config, 0, world, 3)) == ranks[0][3 * accumulate :]


def test_a_batch_that_cannot_be_shared_is_told():
    with pytest.raises(ValueError, match=r"batch 8 is not a multiple .* 3 x 2: take 12"):
        next(data.order(small("", accumulate=2), 0, 3, 0))


def test_each_pass_through_the_data_is_shuffled_anew():
    stream = data.Stream(Colours(40), seed=3)
    passes = [[stream.place(i) for i in range(first, first + 40)] for first in (0, 40, 80)]
    assert all(sorted(each) == list(range(40)) for each in passes)
    assert len({tuple(each) for each in [*passes, range(40)]}) == 4
    other = data.Stream(Colours(40), seed=4)
    assert [other.place(i) for i in range(40)] != passes[0]
    assert [stream.place(i) for i in reversed(range(40))] == passes[0][::-1]


def test_endless_data_is_taken_in_order_and_seeds_share_none_of_it():
    streams = [data.Stream(range(10**9), seed=seed) for seed in (0, 1)]
    first, second = ([s.place(i) for i in range(5)] for s in streams)
    assert first == [0, 1, 2, 3, 4] and second == [2**24 + i for i in first]


def test_augmentation_draws_from_the_image_s_own_numbers():
    def jitter(image, label, generator):
        return image + torch.rand((), generator=generator), label

    stream = data.Stream(Colours(4), seed=0, augment=jitter)
    once = [stream[i][0] for i in (5, 2, 9)]
    assert all(torch.equal(stream[i][0], image) for i, image in zip((5, 2, 9), once, strict=True))
    offsets = {
        round(float((stream[i][0] - Colours(4)[stream.place(i)][0]).mean()), 4) for i in range(12)
    }
    assert len(offsets) == 12


def test_mixed_seeds_differ():
    grid = [data.mix(*numbers) for numbers in [(a, b) for a in range(50) for b in range(50)]]
    assert len(set(grid)) == 2500 and data.mix(0) != data.mix(0, 0) and max(grid) < 2**63


def test_a_worker_gives_the_same_batches():
    found = []
    for workers in (0, 1):
        config = small("", steps=4, workers=workers, accelerator="cpu")
        found.append(list(data.batches(data.Stream(DATA[0], 0), config, 0, 1, 1)))
    assert len(found[0]) == len(found[1]) == 3
    for (image, label), (other_image, other_label) in zip(*found, strict=True):
        assert torch.equal(image, other_image) and torch.equal(label, other_label)


# ---- how weights move ----


def rates(config):
    """The learning rate of each step, for lr 1."""
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = optim.make_schedule(sgd, config)
    values = []
    for _ in range(config.steps):
        values.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    return values


def test_schedules_are_those_of_the_papers():
    poly = rates(small("", steps=60, schedule="poly", power=0.9, warmup=0))
    assert poly == pytest.approx([(1 - s / 60) ** 0.9 for s in range(60)])
    drops = rates(small("", steps=60, schedule="step", drop_every=20, warmup=0))
    assert drops == pytest.approx([0.1 ** (s // 20) for s in range(60)])


def test_warmup_rises_in_equal_steps():
    values = rates(small("", steps=6, schedule="step", warmup=4, drop_every=99))
    assert values == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    poly = rates(small("", steps=8, schedule="poly", power=1.0, warmup=1))
    assert poly == pytest.approx([0.5, *(1 - s / 8 for s in range(1, 8))])


def test_groups_of_the_optimizer():
    network = zoo.build("v3plus")
    made = optim.make_optimizer(network, small("", lr=0.1, head_lr=10, weight_decay=0.5))
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in made.param_groups for p in g["params"]}
    assert len(rates) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        lr = 0.1 if name.startswith("backbone.") else 1.0
        assert rates[id(parameter)] == (lr, 0.5 if parameter.ndim == 4 else 0.0), name


def test_the_average_follows_the_weights():
    network = net()
    average = optim.make_average(network, decay=0.9)
    expected = network.state_dict()
    for step in range(30):
        for p in network.parameters():
            p.data += 1 + step
        network[1].running_var *= 1 + step / 9
        network[1].num_batches_tracked += 1
        average.update_parameters(network)
        now = network.state_dict()
        d = min(0.9, (1 + step) / (10 + step)) if step else 0  # the first weights are copied
        expected = {k: d * expected[k] + (1 - d) * now[k] for k in now}
    state = average.module.state_dict()
    assert state.pop("1.num_batches_tracked") == 30 and not average.module.training
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name])
    alone = optim.make_average(network, decay=0)
    for _ in range(2):
        network[0].weight.data += 1
        alone.update_parameters(network)
    assert same(alone.module.state_dict(), network.state_dict())


# ---- a run ----


def test_a_run_learns_and_its_parts_are_in_its_folder(tmp_path):
    state = torch.random.get_rng_state()
    trained = train(small(tmp_path, steps=60, tensorboard=True), net(), DATA)
    assert torch.equal(torch.random.get_rng_state(), state)
    rows = read(tmp_path / "log.csv")
    assert [int(r["step"]) for r in rows] == sorted({*range(5, 61, 5), *range(8, 61, 8)})
    assert float(rows[-1]["loss"]) < 0.3 * float(rows[0]["loss"])
    assert trained.metrics["miou"] > 0.9
    assert float(rows[-1]["val_miou"]) == pytest.approx(trained.metrics["miou"], abs=1e-4)
    assert all(bool(r["val_miou"]) == (int(r["step"]) % 8 == 0 or r is rows[-1]) for r in rows)
    assert not trained.model.training and trained.weights is None

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [e.step for e in curves.Scalars("loss")] == [int(r["step"]) for r in rows]
    last = curves.Scalars("val_miou")[-1]
    assert last.step == 60 and last.value == pytest.approx(trained.metrics["miou"], abs=1e-4)


def test_the_score_is_that_of_all_validation_images(tmp_path):
    trained = train(small(tmp_path, steps=3, batch=6), net(), DATA)
    images, labels = (torch.stack(each) for each in zip(*list_of(DATA[1]), strict=True))
    with torch.no_grad():
        matrices = metrics.confusion_matrices(trained.model(images), labels, CLASSES)
    assert trained.metrics == tables.report(matrices, ["0", "1", "2"])


def test_classes_have_the_names_that_the_data_gives_them(tmp_path):
    class Named(Colours):
        classes = ("red", "green", "blue")

    trained = train(small(tmp_path, steps=1), net(), (DATA[0], Named(4)))
    assert list(trained.metrics["iou"]) == ["red", "green", "blue"]


def list_of(dataset):
    return [dataset[i] for i in range(len(dataset))]


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    """(folder, what was said) of train_child.py: the runs of several processes, in one that forks.

    They share its imports, which take longer than they do.
    """
    folder = tmp_path_factory.mktemp("child")
    command = [sys.executable, str(TESTS / "train_child.py"), str(folder), str(free_port())]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_passes_have_the_gradient_of_one(accumulate):
    share = 8 // accumulate
    passes = [slice(i * share, i * share + share) for i in range(accumulate)]
    config = small("", **CHOICES)
    whole = gradient(config, lambda rank: [slice(0, 8)])
    parts = gradient(config, lambda rank: passes)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-6, msg=name)


def test_two_processes_have_the_gradient_and_the_weights_of_one(child, tmp_path):
    folder, text = child
    two, other = (torch.load(folder / f"two-{r}.pt", weights_only=True) for r in (0, 1))
    one = gradient(small("", **CHOICES), lambda rank: [slice(0, 8)])
    trained = train(small(tmp_path / "one", steps=5, freeze_bn="all"), net(), DATA)
    one |= trained.model.state_dict()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5, msg=name)
        if name != "loss":
            assert torch.equal(two[name], other[name]), name
    assert two["miou"] == pytest.approx(trained.metrics["miou"], abs=0.01)
    # Batch norm that isn't frozen: each process sees its own images, and says so; their statistics
    # are averaged, so that both have the same network.
    assert "batch norm sees the images of one process: only GPUs synchronize it" in text
    apart = [torch.load(folder / f"apart-{r}.pt", weights_only=True) for r in (0, 1)]
    seeds = [each.pop("seeds").tolist() for each in apart]
    assert same(*apart) and not torch.equal(apart[0]["1.running_mean"], torch.zeros(8))
    assert len({*seeds[0], *seeds[1]}) == 10  # each process drops other units in each step


def test_a_run_killed_twice_and_resumed_has_the_weights_of_an_unbroken_one(child, tmp_path):
    folder, deaths = child
    broken, whole = folder / "broken", tmp_path / "whole"
    assert deaths.count(f"signal {signal.SIGKILL.value} after step 10\n") == 2, deaths
    resumed = train(everything(broken, resume=True), net(dropout=0.5), DATA)
    unbroken = train(everything(whole), net(dropout=0.5), DATA)
    assert same(resumed.model.state_dict(), unbroken.model.state_dict())
    states = [torch.load(p / "checkpoint.pt", weights_only=True) for p in (broken, whole)]
    assert same(states[0]["model"], states[1]["model"])
    moments = [state["optimizer"]["state"] for state in states]
    assert all(same(moments[0][i], moments[1][i]) for i in moments[1])
    logs = [
        [[row[c] for c in ("step", "images", "lr", "loss", "val_miou")] for row in read(p)]
        for p in (broken / "log.csv", whole / "log.csv")
    ]
    assert logs[0] == logs[1] and len(logs[1]) == 5
    assert sorted(path.name for path in broken.iterdir()) == ["checkpoint.pt", "log.csv"]


def test_the_averaged_weights_are_validated(tmp_path):
    trained = train(small(tmp_path, steps=2, ema=0.9, lr=0.3, warmup=0), net(), DATA)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    raw = net()
    raw.load_state_dict(state["model"])
    images, labels = (torch.stack(each) for each in zip(*list_of(DATA[1]), strict=True))
    with torch.no_grad():
        of_average, of_raw = (
            float(metrics.miou(metrics.confusion_matrices(m(images), labels, CLASSES).sum(0)))
            for m in (trained.model, raw.eval())
        )
    assert abs(of_average - of_raw) > 0.01
    assert float(read(tmp_path / "log.csv")[-1]["val_miou"]) == pytest.approx(of_average, abs=1e-4)


def test_clipping_bounds_the_step(tmp_path):
    """The weights move by the learning rate times the gradient's norm, if that is all of it."""
    options = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.5, "warmup": 0}
    options |= {"steps": 1, "ema": 0.0}
    before, moved = net().state_dict(), {}
    for clip in (0.0, 1e-3):
        trained = train(small(tmp_path / str(clip), clip=clip, **options), net(), DATA)
        parameters = dict(trained.model.named_parameters())
        steps = torch.cat([(p.detach() - before[n]).flatten() for n, p in parameters.items()])
        moved[clip] = float(steps.norm())
    assert moved[1e-3] == pytest.approx(0.5 * 1e-3, rel=1e-2) and moved[0.0] > 100 * moved[1e-3]


def test_the_average_of_a_resumed_run_is_not_the_weights(tmp_path):
    train(everything(tmp_path), net(dropout=0.5), DATA)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert not same(state["model"], state["average"])
    again = train(everything(tmp_path, resume=True), net(dropout=0.5, seed=1), DATA)
    assert same(again.model.state_dict(), state["average"])


def test_a_run_is_not_overwritten_and_not_resumed_with_other_choices(tmp_path):
    config = small(tmp_path, steps=2)
    train(config, net(), DATA)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(FileExistsError, match=r"holds a run: go on with --resume"):
        train(config, net(), DATA)
    other = dataclasses.replace(config, resume=True, lr=0.5, workers=1, class_weights=(1, 2, 3))
    with pytest.raises(ValueError, match=r"lr was 0.01 and is 0.5, class_weights was \[\]"):
        train(other, net(), DATA)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    train(dataclasses.replace(config, resume=True, workers=1, val_every=1), net(), DATA)


def test_a_run_is_not_resumed_with_classes_in_another_order(tmp_path):
    named = Colours(8)
    named.classes = ["ground", "cat", "dog"]
    train(small(tmp_path, steps=1), net(), (named, named))
    named.classes = ["ground", "dog", "cat"]
    with pytest.raises(ValueError, match="learnt ground, cat, dog, and the data has ground, dog"):
        train(small(tmp_path, steps=2, resume=True), net(), (named, named))


def test_a_checkpoint_of_another_version_is_not_resumed(tmp_path):
    train(small(tmp_path, steps=1), net(), DATA)
    path, state = tmp_path / "checkpoint.pt", torch.load(tmp_path / "checkpoint.pt")
    parts = state.keys() - {"ended", "earlier", "classes"}  # which may be absent
    changes = {f"it has no {name}": {k: v for k, v in state.items() if k != name} for name in parts}
    changes["its log does not fit"] = state | {"log": {"loss": 0.5}}
    changes["its model does not fit"] = state | {
        "model": state["model"] | {"4.bias": torch.ones(9)}
    }
    changes["its optimizer does not fit"] = state | {"optimizer": {"state": {}, "param_groups": []}}
    before = (tmp_path / "log.csv").read_bytes()
    for reason, other in changes.items():
        torch.save(other, path)
        network = net(seed=5)
        with pytest.raises(
            ValueError, match=rf"of another version .* \({reason}\): finish the run"
        ):
            train(small(tmp_path, steps=1, resume=True), network, DATA)
        assert same(network.state_dict(), net(seed=5).state_dict())  # nothing is half loaded
    assert (tmp_path / "log.csv").read_bytes() == before


def test_a_damaged_checkpoint_is_told(tmp_path):
    train(small(tmp_path, steps=1), net(), DATA)
    folder = RunFolder(small(tmp_path, steps=1, resume=True))
    content = folder.checkpoint.read_bytes()
    for part in (b"", content[: len(content) // 2], b"no checkpoint"):
        folder.checkpoint.write_bytes(part)
        with pytest.raises(ValueError, match=r"checkpoint.pt is damaged \(.+\): begin anew with"):
            folder.load()


class Poisoned(Colours):
    """One image is NaN."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return (image * float("nan") if index == 21 else image), label


def test_a_loss_that_is_nan_stops_the_run_with_its_batch_saved(tmp_path):
    config = small(tmp_path, save_every=1)
    stream = data.Stream(Colours(40), 0)
    bad = next(i for i in range(40) if stream.place(i) == 21)
    with pytest.raises(FloatingPointError, match=rf"loss of step {bad // 8} is nan: its batch"):
        train(config, net(), (Poisoned(40), DATA[1]))
    saved = torch.load(tmp_path / "bad-batch-0.pt", weights_only=True)
    assert saved["step"] == bad // 8 and saved["images"].shape == (8, 3, 16, 16)
    wrong = saved["images"].isnan().flatten(1).any(1).nonzero().flatten()
    assert wrong.tolist() == [bad % 8]
    assert torch.equal(saved["labels"][bad % 8], Colours(40)[21][1])
    checkpoint = tmp_path / "checkpoint.pt"
    if bad // 8:
        state = torch.load(checkpoint, weights_only=True)
        assert state["step"] == bad // 8 and same(
            without_count(state["model"]), without_count(saved["model"])
        )


def test_one_validation_image_is_too_few_from_the_start(tmp_path):
    with pytest.raises(ValueError, match="1 images to validate on: expected 2 or more"):
        train(small(tmp_path / "run"), net(), (DATA[0], Colours(1)))
    assert not (tmp_path / "run").exists()


def test_a_process_on_another_machine_saves_its_batch_too(tmp_path):
    """Where it has no folder of the run."""
    path = tmp_path / "run" / "bad-batch-1.pt"
    part = torch.zeros(8, 3, 16, 16), torch.zeros(8, 16, 16)
    with pytest.raises(FloatingPointError, match="loss of step 0 is inf"):
        loop.stop(path, 0, math.inf, [part], net())
    assert torch.load(path, weights_only=True)["images"].shape == (8, 3, 16, 16)


def without_count(state):
    """Batch norm's statistics have seen the bad batch; the parameters have not."""
    return {k: v for k, v in state.items() if k.endswith(("weight", "bias"))}


def test_weights_that_are_no_numbers_never_replace_a_checkpoint(tmp_path):
    config = small(tmp_path, steps=4, save_every=1, optimizer="sgd", lr=1e30, warmup=0)
    with pytest.raises(FloatingPointError):
        train(config, net(), DATA)
    if (tmp_path / "checkpoint.pt").exists():
        state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
        assert all(bool(v.isfinite().all()) for v in state.values())


def test_a_batch_of_255_alone_does_no_harm(tmp_path):
    class Ignored(Colours):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, torch.full_like(label, 255)

    config = small(tmp_path, steps=3, weight_decay=0, ema=0)
    trained = train(config, net(), (Ignored(40), DATA[1]))
    assert float(read(tmp_path / "log.csv")[-1]["loss"]) == 0
    assert same(without_count(trained.model.state_dict()), without_count(net().state_dict()))


def test_the_bar_shows_loss_score_speed_and_time_left(tmp_path, capsys):
    train(small(tmp_path, progress=True), net(), DATA)
    bar = capsys.readouterr().err.split("\r")[-1]
    assert "160/160" in bar and "img/s" in bar and "loss 0." in bar and "val mIoU 0." in bar
    assert "<00:00" in bar  # time left


def test_half_precision_with_a_scaler_asks_for_a_gpu(tmp_path):
    with pytest.raises(ValueError, match="16-mixed is for GPUs"):
        train(small(tmp_path, precision="16-mixed"), net(), DATA)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="accelerator 'cuda' is not there: expected auto, cpu"):
        train(small(tmp_path, accelerator="cuda"), net(), DATA)
    with pytest.raises(ValueError, match="accelerator 'gpu' is not there: expected auto, cpu"):
        train(small(tmp_path, accelerator="gpu"), net(), DATA)


# ---- first and last weights ----


def test_a_run_of_the_family_leaves_a_checkpoint_with_its_card(tmp_path):
    config = small(tmp_path, model="v1-small", steps=2, batch=2, size=65, val_images=2)
    trained = train(config)
    assert trained.weights == tmp_path / "v1-small-scenes.safetensors"
    card = checkpoints.card(trained.weights)
    assert card["command"] == config.command() and card["classes"][1] == "disc"
    assert card["metrics"]["val"]["images"] == 2 and len(card["commit"]) == 40
    assert str(tmp_path) not in json.dumps(card)
    loaded, kept = checkpoints.load(trained.weights).state_dict(), trained.model.state_dict()
    assert same(loaded, {k: v.half().float() if v.ndim else v for k, v in kept.items()})
    other = zoo.build("v3plus")
    report = start_from(other, str(trained.weights))
    assert "tensors taken over; new: " in report and "; left out: " in report
    name = "backbone.features.0.weight"
    assert torch.equal(other.state_dict()[name], loaded[name])


def test_first_weights_come_from_a_checkpoint_where_they_fit(tmp_path):
    train(small(tmp_path / "first", steps=2), net(), DATA)
    taken = torch.load(tmp_path / "first" / "checkpoint.pt", weights_only=True)["average"]
    wider = nn.Sequential(*net()[:-1], nn.Conv2d(8, 5, 1))
    before = wider[4].weight.clone()
    said = start_from(wider, str(tmp_path / "first" / "checkpoint.pt"))
    assert said.endswith(
        "6 of 8 tensors taken over; "
        "it has 3 classes and this network 5, so 4.weight, 4.bias begin anew"
    )
    assert torch.equal(wider[0].weight, taken["0.weight"]) and torch.equal(wider[4].weight, before)
    with pytest.raises(ValueError, match="no tensor of the name and shape"):
        start_from(nn.Linear(2, 2), str(tmp_path / "first" / "checkpoint.pt"))


def test_a_run_starts_from_its_init_and_says_so(tmp_path, capsys):
    train(small(tmp_path / "first"), net(), DATA)
    first = str(tmp_path / "first" / "checkpoint.pt")
    trained = train(small(tmp_path / "next", steps=1, lr=1e-9, init=first), net(seed=1), DATA)
    assert f"{first}: 8 of 8 tensors taken over\n" in capsys.readouterr().out
    taken = torch.load(first, weights_only=True)["average"]["4.weight"]
    torch.testing.assert_close(trained.model[4].weight, taken)


def test_imagenet_is_there_for_efficientnet_and_for_no_narrow_backbone():
    from deeplab_lite.photos import classifier

    network = zoo.build("v3plus-lite0")
    start_from(network, "imagenet")
    found, theirs = network.backbone.state_dict(), classifier().state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in found.items())
    with pytest.raises(ValueError, match="no ImageNet weights for this VGG16"):
        start_from(zoo.build("v1"), "imagenet")


# ---- choices ----


def test_choices_load_without_torch():
    code = "import sys, deeplab_lite.workshop.train.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=TESTS.parent)


@pytest.mark.parametrize(
    "choice, told",
    [
        ({"optimizer": "adam"}, "optimizer 'adam': expected adamw or sgd"),
        ({"precision": "16"}, "precision '16': expected 32-true, bf16-mixed or 16-mixed"),
        ({"steps": 0}, "steps 0: expected 1 or more"),
        ({"val_every": 0}, "val_every 0: expected 1 or more"),
        ({"ema": 1.0}, "ema 1.0: expected 0 or more, but less than 1"),
        ({"ohem": 0.0}, "ohem 0.0: expected more than 0"),
        ({"lr": 0.0}, "lr 0.0: expected more than 0"),
        ({"class_weights": (0.0, 0.0)}, r"class_weights \(0.0, 0.0\): expected 0 or more"),
        ({"val_images": 1}, "val_images 1: expected 0 for all, or 2 or more"),
    ],
)
def test_choices_that_make_no_sense_are_told(choice, told):
    with pytest.raises(ValueError, match=told):
        Config(**choice)


def test_the_old_word_for_the_backbone_still_works():
    assert Config(freeze_bn="trunk") == Config(freeze_bn="backbone")


def test_unknown_names_are_told():
    with pytest.raises(ValueError, match="no data set is called 'vocs': there are scenes, small"):
        data.open_data(Config(data="vocs"))
    with pytest.raises(ValueError, match="is not JSON"):
        Config(options="{").changes()


CONFIGS = [
    Config(),
    Config(model="v1", lr=0.01, optimizer="sgd", channels_last=False, class_weights=(0.5, 1.0)),
    Config(options='{"output_stride": 8, "rates": [2, 4]}', schedule="step", seed=3, ohem=0.25),
]


@pytest.fixture
def called(monkeypatch):
    """The configs that the command line hands to `train`."""
    configs = []

    def record(config):
        configs.append(config)
        return loop.Trained(nn.Identity(), {"miou": 0.5}, Path("x.safetensors"))

    monkeypatch.setattr(loop, "train", record)
    return configs


@pytest.mark.parametrize("config", CONFIGS)
def test_the_command_of_a_card_makes_the_run_again(config, called):
    import shlex

    words = shlex.split(config.command())[3:]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert called == [config]


def test_each_field_has_a_flag_with_its_help(called):
    text = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "300"}).output
    for field in dataclasses.fields(Config):
        assert f"--{field.name.replace('_', '-')} " in text and field.metadata["help"] in text
    CliRunner().invoke(app, ["train", "--out", "here", "--resume", "--no-progress"])
    assert called == [Config(out="here", resume=True, progress=False)]


def test_the_command_line_tells_an_error_in_one_sentence(called):
    result = CliRunner().invoke(app, ["train", "--ohem", "2"])
    assert result.exit_code == 1 and not called
    assert str(result.exception) == "1" or "ohem 2.0: expected" in result.output


def test_options_reach_the_network():
    config = Config(model="v3", options='{"output_stride": 8, "rates": [2, 4]}')
    assert loop.build(config).output_stride == 8
    assert config.changes() == {"output_stride": 8, "rates": (2, 4)}
    assert inspect.signature(train).parameters.keys() == {"config", "model", "data", "augment"}
