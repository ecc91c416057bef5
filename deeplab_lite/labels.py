"""Label maps and predictions as they must be, and one sentence for those that are not.

Labels are whole numbers N x H x W or H x W: classes 0 to K - 1, and 255 for pixels that no loss and
no score counts. Used from lesson 03 on.
"""

import numpy as np
import torch
from torch import Tensor

IGNORE = 255
READ_AS = 'A palette PNG opened as {} looks like this: open it with mode "P".'

Array = Tensor | np.ndarray


def as_label(label: Array) -> Tensor:
    """A label map as an int64 tensor. Raises TypeError or ValueError if it is none."""
    label = _whole(_tensor(label, "label"), "label")
    if label.ndim not in (2, 3) or not label.numel():
        raise ValueError(
            f"label is {sizes(label)}: expected N x H x W or H x W. {READ_AS.format('RGB')}"
        )
    return label


def as_classes(prediction: Array, label: Tensor, num_classes: int) -> Tensor:
    """The class of each pixel, int64, from logits or classes: of label's shape, on its device.

    Raises ValueError for logits that are NaN or of another number of classes, and for a prediction
    of another size than the label; TypeError for what is no array.
    """
    prediction = _tensor(prediction, "prediction").to(label.device)
    if prediction.ndim == label.ndim + 1:
        if (channels := prediction.shape[-3]) != num_classes:
            raise ValueError(
                f"logits have {channels} channels for {num_classes} classes: "
                "build the network with as many classes as the labels have"
            )
        if prediction.isnan().any():
            raise ValueError("logits hold NaN, so they name no class: the network has diverged")
        prediction = prediction.max(-3).indices  # argmax, in a quarter of its time
    if prediction.shape != label.shape:
        raise ValueError(
            f"the predicted classes are {sizes(prediction)} and label is {sizes(label)}: bring "
            "logits to the size of the label, never the label to theirs, with "
            'F.interpolate(logits, label.shape[-2:], mode="bilinear")'
            + (f". {READ_AS.format('RGB')}" if label.shape[-1] in (3, 4) else "")
        )
    return _whole(prediction, "prediction")


def check_range(classes: Tensor, num_classes: int, what: str = "label") -> None:
    """Raises ValueError for a value that is no class, naming the first and its place.

    255 is allowed where `what` is "label".
    """
    wrong = (classes < 0) | (classes >= num_classes)
    if what == "label":
        wrong &= classes != IGNORE
    if wrong.any():
        *image, y, x = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"{what} value {classes[wrong][0]} at ({y}, {x})"
            + (f" of image {image[0]}" if image else "")
            + f": classes are 0..{num_classes - 1}"
            + (f" and {IGNORE} is ignored. {READ_AS.format('grey')}" if what == "label" else "")
        )


def sizes(tensor: Tensor) -> str:
    """A shape in words: 2 x 21 x 65 x 65."""
    return " x ".join(map(str, tensor.shape)) or "one number"


def _tensor(array: Array, what: str) -> Tensor:
    if isinstance(array, dict):
        raise TypeError(f"{what} is a dict, as torchvision's models return: pass its 'out'")
    if not isinstance(array, Tensor | np.ndarray):
        raise TypeError(f"{what} is a {type(array).__name__}: expected a tensor or a NumPy array")
    return torch.from_numpy(np.array(array)) if isinstance(array, np.ndarray) else array


def _whole(classes: Tensor, what: str) -> Tensor:
    if classes.is_floating_point() or classes.is_complex():
        raise ValueError(f"{what} is {classes.dtype}: expected whole numbers, as uint8 or int64")
    return classes.long()
