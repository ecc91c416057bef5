"""Cross entropy over the pixels that count, summed, and the number it is divided by. Lesson 03.

The mean over a batch is no mean of the means of its parts where these hold different numbers of
labelled pixels. So each part, whether an accumulated pass or another device, gives its sum, and
all are divided by one number: then 1 x 16, 2 x 8 and 4 x 4 images have the same gradient.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lite.labels import IGNORE, as_label, check_range, sizes


def normalizer(labels: Tensor, class_weights: Tensor | None = None, ohem: float = 1.0) -> Tensor:
    """What `loss_sum` of these labels is divided by for a mean: the weights of its pixels, added.

    labels: B x H x W; 0 where every pixel is ignored. It does not look at logits. Raises ValueError
    for a label that has no weight.
    """
    counted = labels[labels != IGNORE]
    if class_weights is None:
        return torch.tensor(float(counted.numel()), device=labels.device) * ohem
    check_range(labels, len(class_weights))
    return class_weights[counted].sum() * ohem


def loss_sum(
    logits: Tensor | Mapping[str, Tensor],
    labels: Tensor,
    class_weights: Tensor | None = None,
    ohem: float = 1.0,
    aux_weight: float = 0.4,
) -> Tensor:
    """Cross entropy added up over pixels, 0 where all labels are 255, which are ignored.

    logits: B x K x H x W, or {"out", "aux"} of these; labels: B x H x W.
    ohem: the share of each image's labelled pixels, the hardest, that count (online hard example
    mining, Shrivastava et al. 2016). Shares are taken per image, so that parts agree on them.

    Raises ValueError for a label that is no class, naming where, and for sizes that differ.
    """
    if isinstance(logits, Mapping):
        parts = {"out": 1.0, "aux": aux_weight}
        terms = [
            parts[head] * loss_sum(scores, labels, class_weights, ohem)
            for head, scores in logits.items()
        ]
        return torch.stack(terms).sum()
    batch, classes, *size = logits.shape
    if labels.shape != (batch, *size):
        raise ValueError(
            f"labels are {sizes(labels)} and logits {sizes(logits)}: expected a class for each "
            f"pixel, {sizes(logits[:, 0])}"
        )
    check_range(labels, classes)
    losses = F.cross_entropy(
        logits.float(), labels, class_weights, ignore_index=IGNORE, reduction="none"
    )
    return losses.sum() if ohem == 1 else hardest(losses, labels != IGNORE, ohem)


def hardest(losses: Tensor, counted: Tensor, share: float) -> Tensor:
    """The sum of the largest `share` of each image's losses, at least one if it has any."""
    sums = [
        each[mask].topk(math.ceil(share * int(mask.sum()))).values.sum()
        for each, mask in zip(losses, counted, strict=True)
    ]
    return torch.stack(sums).sum()


# ---- On the map, as v1 trains --------------------------------------------------------------------


def shrink_labels(labels: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Labels B x H x W at the pixels where the positions of an h x w map stand: B x h x w.

    Each is the nearest pixel's, so 255 stays 255 and no class is mixed. Lesson 03; v1, section 3.1.
    """
    rows, columns = (
        _pixels(side, positions, align_corners).to(labels.device)
        for side, positions in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[..., rows[:, None], columns]


def _pixels(side: int, positions: int, align_corners: bool) -> Tensor:
    """The pixel nearest to the middle of each position, of the two nearest the later one."""
    u = torch.arange(positions)
    if align_corners:
        last = max(1, positions - 1)
        return (2 * u * (side - 1) + last) // (2 * last)
    return (2 * u + 1) * side // (2 * positions)


def map_loss(scores: Tensor, labels: Tensor, align_corners: bool) -> Tensor:
    """The mean cross entropy over the positions of a map, 0 if all are 255. v1, section 3.1.

    scores: B x K x h x w, of `DeepLabV1.scores`; labels: B x H x W, of the images' size, shrunk
    here. All positions and classes weigh the same. Raises ValueError for labels that are no class.
    """
    labels = as_label(labels)
    check_range(labels, scores.shape[1])
    small = shrink_labels(labels, scores.shape[-2:], align_corners)
    return loss_sum(scores, small) / normalizer(small).clamp(min=1)
