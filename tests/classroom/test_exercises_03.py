"""The graders of lesson 03: stubs, right answers, and each misconception by its name."""

import pytest
import torch
import torch.nn.functional as F

from deeplab_lite.classroom import exercises as check


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


def slices(outputs=slice(None, None, 4), rows=slice(None, None, 3), shape=(-1, 7, 7)):
    def decimated(weight, channels):
        kernels = weight.reshape(len(weight), channels, 7, 7)
        return kernels[outputs, :, rows, rows]

    return decimated


def channels_last(weight, channels):
    return weight.reshape(len(weight), 7, 7, channels).movedim(-1, 1)[::4, :, ::3, ::3]


def averaged(weight, channels):
    return weight.reshape(-1, 4, channels, 7, 7).mean(1)[..., ::3, ::3]


@pytest.mark.parametrize(
    "decimated, start",
    [
        (..., "· not attempted yet"),
        (lambda weight, channels: ..., "· not attempted yet"),
        (slices(), "✓ rows and columns 0, 3, 6 of every fourth kernel"),
        (lambda w, c: slices()(w, c).float(), "✓ rows and columns 0, 3, 6"),
        (slices(slice(None), slice(None)), "✗ the weight is reshaped, not decimated"),
        (slices(slice(None)), "✗ all outputs are there still"),
        (slices(rows=slice(None)), "✗ all of 7 x 7 is there still"),
        (slices(slice(0, 2)), "✗ those are the first quarter of the outputs"),
        (slices(slice(3, None, 4)), "✗ those are the outputs 3, 7, ..."),
        (slices(rows=slice(0, 3)), "✗ rows and columns 0, 1, 2 are a corner"),
        (slices(rows=slice(2, 5)), "✗ rows and columns 2, 3, 4 are its middle"),
        (slices(rows=slice(0, 6, 2)), "✗ rows and columns 0, 2, 4: the last of three is 6"),
        (lambda w, c: slices()(w, c).mT, "✗ rows and columns are swapped"),
        (channels_last, "✗ read as rows, columns, channels"),
        (averaged, "✗ outputs are averaged"),
        (slices(rows=slice(None, None, 2)), "✗ decimated gives (2, 5, 4, 4) for 8 outputs"),
        (lambda w, c: -slices()(w, c), "✗ the shape is right, the values are not"),
        (lambda w, c: None, "✗ decimated returned NoneType, no tensor"),
        (lambda w, c: w.reshape(3, 3), "✗ your code stopped with RuntimeError"),
    ],
)
def test_decimated_fc6(decimated, start, capsys):
    assert said(capsys, check.decimated_fc6, decimated).startswith(start)


def shrunk(scores, labels):
    rows, columns = (
        (n - 1) // (m - 1) for n, m in zip(labels.shape[1:], scores.shape[2:], strict=True)
    )
    return labels[:, ::rows, ::columns]


def right_loss(scores, labels, count=lambda small: (small != 255).sum().clamp(min=1)):
    small = shrunk(scores, labels)
    total = F.cross_entropy(scores, small, ignore_index=255, reduction="sum")
    return total / count(small)


def plain(scores, labels):
    return F.cross_entropy(scores, shrunk(scores, labels), ignore_index=255)


def background(scores, labels):
    small = shrunk(scores, labels)
    return F.cross_entropy(scores, small.where(small != 255, 0))


def nearest(scores, labels):
    small = F.interpolate(labels[:, None].double(), scores.shape[2:])[:, 0].long()
    return F.cross_entropy(scores, small, ignore_index=255)


def enlarged(scores, labels):
    large = F.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=True)
    return F.cross_entropy(large, labels, ignore_index=255)


def mean_of_means(scores, labels):
    each = [plain(s[None], t[None]) for s, t in zip(scores, labels, strict=True)]
    return torch.stack(each).mean()


def no_logarithm(scores, labels):
    small = shrunk(scores, labels)
    counted = small != 255
    p = scores.softmax(1).gather(1, small.where(counted, 0)[:, None])[:, 0]
    return 1 - p[counted].mean()


def one_when_empty(scores, labels):
    loss = right_loss(scores, labels)
    return loss + (labels == 255).all()


@pytest.mark.parametrize(
    "loss, start",
    [
        (..., "· not attempted yet"),
        (lambda scores, labels: ..., "· not attempted yet"),
        (right_loss, "✓ labels where the positions stand"),
        (lambda s, t: float(right_loss(s, t)), "✓ labels where the positions stand"),
        (lambda s, t: right_loss(s.float(), t), "✓ labels where the positions stand"),
        (lambda s, t: right_loss(s, t, lambda small: 1), "✗ that is the sum"),
        (lambda s, t: right_loss(s, t, torch.numel), "✗ the sum is divided by all positions"),
        (background, "✗ 255 is taken for class 0"),
        (nearest, "✗ F.interpolate with nearest reads pixels beside"),
        (enlarged, "✗ the scores are enlarged, as from v3 on"),
        (lambda s, t: right_loss(s.softmax(1), t), "✗ softmax twice"),
        (lambda s, t: -right_loss(s, t), "✗ the sign"),
        (mean_of_means, "✗ a mean of the images' means"),
        (no_logarithm, "✗ that is the mean probability of the right class"),
        (plain, "✗ NaN if all labels are 255"),
        (one_when_empty, "✗ 1.0000 if all labels are 255"),
        (lambda s, t: torch.tensor(7.0), "✗ 7.0000 instead of"),
        (lambda s, t: 1.001 * right_loss(s, t), "✗ "),
        (lambda s, t: F.cross_entropy(s, shrunk(s, t)), "✗ your code stopped with IndexError"),
        (lambda s, t: s.sum(1), "✗ loss has 60 values"),
        (lambda s, t: "low", "✗ loss returned str, no tensor"),
        (lambda s, t: s[:, t], "✗ your code stopped with"),
    ],
)
def test_loss_on_map(loss, start, capsys):
    assert said(capsys, check.loss_on_map, loss).startswith(start)


def plain_scores(scores, labels):
    return F.cross_entropy(scores, labels, ignore_index=255)


def taught(loss_of=plain_scores, zero=True, sign=1, steps=1, value=lambda loss: loss.item()):
    """step(network, optimizer, images, labels), right or with one thing wrong."""

    def step(network, optimizer, images, labels):
        loss = loss_of(network(images), labels)
        if zero:
            optimizer.zero_grad()
        (sign * loss).backward()
        for _ in range(steps):
            optimizer.step()
        return value(loss)

    return step


def gradients_thrown_away(network, optimizer, images, labels):
    loss = plain_scores(network(images), labels)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def loss_of_afterwards(network, optimizer, images, labels):
    taught()(network, optimizer, images, labels)
    return plain_scores(network(images), labels).item()


@pytest.mark.parametrize(
    "step, start",
    [
        (..., "· not attempted yet"),
        (lambda *given: ..., "· not attempted yet"),
        (taught(), "✓ scores, loss, zero_grad, backward, step"),
        (taught(steps=0), "✗ the weights are what they were"),
        (gradients_thrown_away, "✗ the weights are what they were"),
        (lambda *given: None, "✗ the weights are what they were"),
        (taught(zero=False), "✗ gradients of the step before are still in it"),
        (taught(sign=-1), "✗ the loss rises"),
        (
            taught(lambda s, t: F.cross_entropy(s, t.where(t != 255, 0))),
            "✗ 255 is taken for class 0",
        ),
        (
            taught(lambda s, t: F.cross_entropy(s, t, ignore_index=255, reduction="none").mean()),
            "✗ the sum is divided by all pixels",
        ),
        (taught(lambda s, t: plain_scores(s.softmax(1), t)), "✗ softmax twice"),
        (taught(steps=2), "✗ the weights end up elsewhere"),
        (taught(value=lambda loss: loss), "✗ the step returns Tensor: loss.item() is a number"),
        (taught(value=lambda loss: None), "✗ the step returns NoneType"),
        (loss_of_afterwards, "✗ it returns"),
        (taught(F.cross_entropy), "✗ your code stopped with IndexError"),
        (lambda network: 1, "✗ your code stopped with TypeError"),
    ],
)
def test_training_step(step, start, capsys):
    assert said(capsys, check.training_step, step).startswith(start)
