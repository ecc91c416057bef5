"""Graders of lesson 03: from VGG-16 to DeepLab v1."""

from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader


@grader
def decimated_fc6(decimated: Any) -> str:
    """decimated(weight, channels): O x (C 7 7) to O/4 x C x 3 x 3."""
    import torch

    outputs, channels = 8, 5
    weight = torch.arange(outputs * channels * 49, dtype=torch.float64).view(outputs, -1)
    kernel = decimated(weight.clone(), channels)
    expect(
        isinstance(kernel, torch.Tensor), f"decimated returned {type(kernel).__name__}, no tensor"
    )
    kernels = weight.view(outputs, channels, 7, 7)
    right = kernels[::4, :, ::3, ::3]
    shuffled = weight.view(outputs, 7, 7, channels).movedim(-1, 1)
    mean = kernels.view(2, 4, channels, 7, 7).mean(1)[..., ::3, ::3]
    mistakes = {
        "the weight is reshaped, not decimated: keep rows and columns 0, 3, 6, and every fourth "
        "output": kernels,
        "all outputs are there still: LargeFOV keeps every fourth": kernels[..., ::3, ::3],
        "all of 7 x 7 is there still: keep rows and columns 0, 3 and 6": kernels[::4],
        "those are the first quarter of the outputs: take every fourth": (
            kernels[: outputs // 4, :, ::3, ::3]
        ),
        "those are the outputs 3, 7, ...: every fourth, from the first": kernels[3::4, :, ::3, ::3],
        "rows and columns 0, 1, 2 are a corner of the kernel: 0, 3 and 6 span what it spanned": (
            kernels[::4, :, :3, :3]
        ),
        "rows and columns 2, 3, 4 are its middle: 0, 3 and 6 span what it spanned": (
            kernels[::4, :, 2:5, 2:5]
        ),
        "rows and columns 0, 2, 4: the last of three is 6, so the step is 3": (
            kernels[::4, :, :6:2, :6:2]
        ),
        "rows and columns are swapped: flattening put the row before the column": right.mT,
        "read as rows, columns, channels: flattening put the channel first, so it is O x C x 7 x "
        "7": shuffled[::4, :, ::3, ::3],
        "outputs are averaged: fc6 is followed by a ReLU, and a mean of four detectors detects "
        "nothing. Keep one of four": mean,
    }
    for hint, wrong in mistakes.items():
        expect(kernel.shape != wrong.shape or not torch.equal(kernel.double(), wrong), hint)
    expect(
        kernel.shape == right.shape,
        f"decimated gives {tuple(kernel.shape)} for {outputs} outputs and {channels} channels: "
        f"expected {tuple(right.shape)}",
    )
    expect(
        torch.equal(kernel.double(), right),
        "the shape is right, the values are not: reshape to O x C x 7 x 7, then take slices",
    )
    return "rows and columns 0, 3, 6 of every fourth kernel: 22 times fewer weights, all trained"


@grader
def loss_on_map(loss: Any) -> str:
    """loss(scores, labels): the mean cross entropy over a map with aligned corners."""
    import torch
    import torch.nn.functional as F

    draw = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(2, 4, 6, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 41, 17), generator=draw)  # strides 8 and 4
    labels[torch.rand(labels.shape, generator=draw) < 0.3] = 255
    labels[1, 12:] = 255  # so that the second image has fewer that count
    value = loss(scores.clone(), labels.clone())
    if isinstance(value, float):
        value = torch.tensor(value)
    expect(isinstance(value, torch.Tensor), f"loss returned {type(value).__name__}, no tensor")
    expect(value.numel() == 1, f"loss has {value.numel()} values: one number is wanted, their mean")

    small = labels[:, ::8, ::4]
    summed = F.cross_entropy(scores, small, ignore_index=255, reduction="sum")
    right, counted = summed / (small != 255).sum(), small != 255
    nearest = F.interpolate(labels[:, None].double(), small.shape[1:])[:, 0].long()
    large = F.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=True)
    per_image = [
        F.cross_entropy(s[None], t[None], ignore_index=255)
        for s, t in zip(scores, small, strict=True)
    ]
    log_p = scores.log_softmax(1)
    ignored: dict[str, Any] = {"ignore_index": 255}
    mistakes = {
        "that is the sum: divide by the number of positions that count": summed,
        "the sum is divided by all positions, those of 255 too: only those that count": (
            summed / small.numel()
        ),
        "255 is taken for class 0: those positions have no right answer": F.cross_entropy(
            scores, small.where(counted, 0)
        ),
        "F.interpolate with nearest reads pixels beside those that the positions stand on: take "
        "every n-th": F.cross_entropy(scores, nearest, **ignored),
        "the scores are enlarged, as from v3 on: v1 shrinks the labels": F.cross_entropy(
            large, labels, **ignored
        ),
        "softmax twice: F.cross_entropy takes scores, not probabilities": F.cross_entropy(
            scores.softmax(1), small, **ignored
        ),
        "the sign: log p is below 0, the loss above": -right,
        "a mean of the images' means: images with fewer positions that count would weigh more": (
            torch.stack(per_image).mean()
        ),
        "that is the mean probability of the right class: the loss is its logarithm's": (
            1 - log_p.exp().gather(1, small.where(counted, 0)[:, None])[:, 0][counted].mean()
        ),
    }
    for hint, wrong in mistakes.items():
        expect(not torch.isclose(value.double(), wrong, rtol=1e-5), hint)
    expect(
        bool(torch.isclose(value.double(), right, rtol=1e-5)),
        f"{float(value):.4f} instead of {float(right):.4f}: read the labels at every n-th pixel, "
        "where (h - 1) n = H - 1, and take the mean cross entropy of those that are not 255",
    )
    empty = torch.as_tensor(loss(scores.clone(), torch.full_like(labels, 255)))
    expect(
        not bool(empty.isnan().any()),
        "NaN if all labels are 255, for that is 0 / 0: divide by a count of at least 1",
    )
    expect(float(empty) == 0, f"{float(empty):.4f} if all labels are 255: nothing counts, so 0")
    return "labels where the positions stand, the mean over those that count: v1's loss"


@grader
def training_step(step: Any) -> str:
    """step(network, optimizer, images, labels): trains once, and returns the loss as a float."""
    import torch
    from torch.nn.functional import cross_entropy

    draw = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 2, 8, 8, generator=draw)  # two batches
    labels = torch.randint(0, 4, (2, 3, 8, 8), generator=draw)
    labels[torch.rand(labels.shape, generator=draw) < 0.3] = 255

    def plain(scores: Any, labels: Any) -> Any:
        return cross_entropy(scores, labels, ignore_index=255)

    def taught(loss_of: Any = plain, zero: bool = True, sign: float = 1.0) -> tuple[Any, Any]:
        """The losses and the weights after both batches, with one thing wrong or none."""
        network, optimizer = _pixelwise()
        values = []
        for batch in zip(images, labels, strict=True):
            loss = loss_of(network(batch[0]), batch[1])
            if zero:
                optimizer.zero_grad()
            (sign * loss).backward()
            optimizer.step()
            values.append(loss.item())
        return values, _weights(network)

    network, optimizer = _pixelwise()
    before = _weights(network)
    values = [step(network, optimizer, *batch) for batch in zip(images, labels, strict=True)]
    after = _weights(network)
    expect(
        not torch.equal(after, before),
        "the weights are what they were: zero_grad(), then loss.backward(), then optimizer.step()",
    )
    background = taught(lambda s, y: cross_entropy(s, y.where(y != 255, 0)))
    diluted = taught(lambda s, y: cross_entropy(s, y, ignore_index=255, reduction="none").mean())
    mistakes = {
        "gradients of the step before are still in it: backward() adds to what is there, so call "
        "optimizer.zero_grad() first": taught(zero=False),
        "the loss rises: step() goes down the gradient by itself, so leave out the minus": (
            taught(sign=-1.0)
        ),
        "255 is taken for class 0: pass ignore_index=255": background,
        "the sum is divided by all pixels, those of 255 too: only those that count": diluted,
        "softmax twice: F.cross_entropy takes scores, not probabilities": (
            taught(lambda s, y: plain(s.softmax(1), y))
        ),
    }
    for hint, (_, wrong) in mistakes.items():
        expect(not torch.allclose(after, wrong, rtol=1e-4), hint)
    losses, right = taught()
    expect(
        torch.allclose(after, right, rtol=1e-4),
        "the weights end up elsewhere: one loss, over both the scores and the labels as they come, "
        "and one optimizer.step()",
    )
    expect(
        all(isinstance(value, float) for value in values),
        f"the step returns {type(values[0]).__name__}: loss.item() is a number, and lets go of the "
        "graph behind the loss",
    )
    expect(
        torch.allclose(torch.tensor(values), torch.tensor(losses), rtol=1e-4),
        f"it returns {values[0]:.4f} instead of {losses[0]:.4f}: the loss from before the step",
    )
    return "scores, loss, zero_grad, backward, step: every training loop is built around these"


def _pixelwise() -> tuple[Any, Any]:
    """A network of one 1x1 convolution, always the same, and an optimizer of it."""
    import torch

    network = torch.nn.Conv2d(2, 4, 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    return network, torch.optim.SGD(network.parameters(), lr=0.5)


def _weights(network: Any) -> Any:
    import torch

    return torch.cat([p.detach().flatten() for p in network.parameters()])
