"""What a step lowers: cross entropy, Dice, or both, as sums and what they are divided by.

Cross entropy adds up over pixels and Dice over images, so both add up over the parts of a batch,
whether accumulated passes or devices. Taught in lesson 09.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from deeplab_lite.labels import IGNORE, check_range, sizes
from deeplab_lite.losses import loss_sum, normalizer
from deeplab_lite.workshop.train.config import Config

Logits = Tensor | Mapping[str, Tensor]


def loss_counts(labels: Tensor, config: Config, weights: Tensor | None) -> Tensor:
    """What each of `loss_terms` is divided by for a mean: labelled pixels, images that have any."""
    counts = []
    if config.loss != "dice":
        counts.append(normalizer(labels, weights, config.ohem))
    if config.loss != "cross-entropy":
        counts.append((labels != IGNORE).flatten(1).any(1).sum().float())
    return torch.stack(counts)


def loss_terms(logits: Logits, labels: Tensor, config: Config, weights: Tensor | None) -> Tensor:
    """The sums over the pixels or images of some labels. Raises ValueError as `loss_sum`."""
    terms = []
    if config.loss != "dice":
        terms.append(loss_sum(logits, labels, weights, config.ohem, config.aux_weight))
    if config.loss != "cross-entropy":
        terms.append(dice_sum(logits, labels, weights, config.aux_weight))
    return torch.stack(terms)


def dice_sum(
    logits: Logits, labels: Tensor, weights: Tensor | None = None, aux_weight: float = 0.4
) -> Tensor:
    """Soft Dice loss, 1 - 2 sum(p y) / (sum(p) + sum(y)), added up over images.

    p is the probability of a class and y 1 where it is the label's, over the pixels that are not
    255. An image's loss is the mean over the classes in its label, by `weights` if there are any.
    """
    if isinstance(logits, Mapping):
        parts = {"out": 1.0, "aux": aux_weight}
        heads = [parts[head] * dice_sum(each, labels, weights) for head, each in logits.items()]
        return torch.stack(heads).sum()
    batch, classes, *size = logits.shape
    if labels.shape != (batch, *size):
        raise ValueError(f"labels are {sizes(labels)} and logits {sizes(logits)}: sizes must agree")
    check_range(labels, classes)
    counted = (labels != IGNORE)[:, None].float()
    probabilities = logits.float().softmax(1) * counted
    there = torch.zeros_like(probabilities)
    there.scatter_(1, labels.where(labels != IGNORE, 0)[:, None], counted)
    both = (probabilities * there).sum((2, 3))
    pixels = there.sum((2, 3))
    loss = 1 - 2 * both / (probabilities.sum((2, 3)) + pixels).clamp(min=1)
    share = (pixels > 0).float() if weights is None else (pixels > 0) * weights
    return ((loss * share).sum(1) / share.sum(1).clamp(min=1e-6)).sum()
