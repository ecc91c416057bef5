"""How sure a score is where images belong together: whole groups are drawn. Taught in lesson 09."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deeplab_lite import tables

FEWEST = 3  # groups that an interval is drawn from


def by_group(matrices: Tensor, groups: Sequence[str]) -> Tensor:
    """N x K x K to G x K x K, summed over the images of each group; () leaves each image alone.

    groups: of each image, as `datasets.Folder.groups`; those beyond the first N are not read.
    """
    number: dict[str, int] = {}
    numbers = [number.setdefault(group, len(number)) for group in groups[: len(matrices)]]
    if not numbers:
        return matrices
    sums = torch.zeros_like(matrices[: len(number)])
    return sums.index_add(0, torch.tensor(numbers, device=matrices.device), matrices)


def report(matrices: Tensor, classes: Sequence[str], groups: Sequence[str] = ()) -> dict[str, Any]:
    """`tables.report`; where images belong together, with an interval of "groups", or None."""
    drawn = by_group(matrices, groups)
    if len(drawn) == len(matrices):
        return tables.report(matrices, classes)
    enough = len(drawn) >= FEWEST
    scores = tables.report(drawn if enough else matrices, classes)
    none = {} if enough else {"interval": None}
    return scores | none | {"images": len(matrices), "groups": len(drawn)}


def sentence(scores: dict[str, Any]) -> str:
    """mIoU of a `report`, and how sure it is: 0.853 [0.746, 0.960], of 95 % by bootstrap of ..."""
    groups = scores.get("groups", 0)
    if scores["interval"] is None:
        return (
            f"{scores['miou']:.3f}, without an interval: the images make {groups} "
            f"group{'s'[: groups != 1]}, and it is drawn from {FEWEST} or more"
        )
    low, high = scores["interval"]
    drawn = f"{groups} groups" if groups else "images"
    return f"{scores['miou']:.3f} [{low:.3f}, {high:.3f}], of 95 % by bootstrap of {drawn}"
