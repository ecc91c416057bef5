"""What a network says of one image: pictures, scores, the commonest mistake. Lesson 03 on."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from deeplab_lite import metrics
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._twin import figure, headline
from deeplab_lite.labels import IGNORE

VIEWS = {"prediction": "prediction", "errors": "error map", "confidence": "confidence"}
WIDTH = 800  # pixels, about, of the pictures side by side


@dataclass(frozen=True, eq=False)
class Result:
    """What one network says of one image: all that the pictures and sentences are made from."""

    image: np.ndarray  # uint8 (H, W, 3)
    label: np.ndarray | None  # classes (H, W), 255 where none is given
    probabilities: np.ndarray  # float32 (K, H, W)
    classes: tuple[str, ...]
    palette: np.ndarray  # uint8 (K, 3) or more rows

    @cached_property
    def prediction(self) -> np.ndarray:
        return self.probabilities.argmax(0)

    @cached_property
    def matrix(self) -> Tensor:
        """K x K: pixels by true and predicted class."""
        assert self.label is not None
        matrices = metrics.confusion_matrices(self.prediction, self.label, len(self.classes))
        return matrices[0]


def panels(result: Result, view: str, alpha: float) -> dict[str, np.ndarray]:
    """The pictures (H, W, 3) by their titles: the image, the truth if it is known, the view."""
    image, label = result.image, result.label
    shown = {"image": draw.checked(image)}
    if label is not None:
        shown["truth"] = draw.overlay(draw.grey(image), label, alpha, result.palette)
    view_of = answer(result, view, alpha)
    return {**shown, VIEWS[view]: view_of}


def answer(result: Result, view: str, alpha: float) -> np.ndarray:
    """What one of VIEWS shows of the answer, (H, W, 3). Raises ValueError for another view."""
    image, label = result.image, result.label
    if view == "prediction":
        return draw.overlay(draw.grey(image), result.prediction, alpha, result.palette)
    if view == "errors" and label is not None:
        return draw.errors(image, result.prediction, label, alpha)
    if view == "confidence":
        return draw.doubt(image, result.probabilities, alpha)
    known = ", ".join(views(label))
    raise ValueError(f"view {view!r}: expected one of {known} (errors need labels)")


def views(label: np.ndarray | None, known: Iterable[str] = VIEWS) -> list[str]:
    """The views of those known that there are, with labels and without."""
    return [view for view in known if label is not None or view != "errors"]


def frame(result: Result, view: str, alpha: float) -> np.ndarray:
    """The panels side by side, pixels enlarged to fill about WIDTH: uint8 (H, W, 3)."""
    pictures = list(panels(result, view, alpha).values())
    scale = max(1, WIDTH // sum(picture.shape[1] for picture in pictures))
    return draw.strip(pictures, scale)


def describe(result: Result) -> str:
    """The scores on this image, and the commonest mistake, in a sentence or two."""
    if result.label is None:
        names = ", ".join(result.classes[k] for k in np.unique(result.prediction) if k)
        names = names or "nothing but background"
        sure = float(result.probabilities.max(0).mean())
        return f"Without labels there is no score. Found: {names}; mean confidence {sure:.2f}."
    matrix = result.matrix
    seen = int(metrics.class_iou(matrix).isfinite().sum())
    text = (
        f"mIoU {float(metrics.miou(matrix)):.3f} over the {seen} class{'es' * (seen != 1)} "
        "there or predicted; "
        f"{100 * float(metrics.pixel_accuracy(matrix)):.1f} % of the pixels are right."
    )
    wrong = matrix.clone().fill_diagonal_(0)
    if most := int(wrong.max()):
        true, predicted = divmod(int(wrong.argmax()), len(matrix))
        text += (
            f" Commonest mistake: {most:,} pixels of {result.classes[true]} "
            f"taken for {result.classes[predicted]}."
        )
    return text


def legend(result: Result, view: str) -> list[tuple[str, Any, str]]:
    """(name, colour, number) of what the view shows: IoU per class, or pixels per kind of error."""
    if view == "errors" and result.label is not None:
        kinds = draw.error_kinds(result.prediction, result.label)
        return [
            (f"{name}: {meaning}", color, f"{int((kinds == kind).sum()):,}")
            for kind, (name, (meaning, color)) in enumerate(draw.ERRORS.items(), 1)
        ]
    if result.label is None:
        here = np.bincount(result.prediction.ravel(), minlength=len(result.classes))
        numbers = [f"{100 * count / here.sum():.0f} %" if count else "" for count in here]
    else:
        scores = metrics.class_iou(result.matrix).tolist()
        numbers = [f"{score:.2f}" if score == score else "" for score in scores]
    rows = draw.class_rows(result.classes, result.palette, range(len(result.classes)))
    return [(*row, number) for row, number in zip(rows, numbers, strict=True) if number]


def picture(result: Result, view: str, alpha: float, title: str) -> np.ndarray:
    """The viewer's state as a picture, uint8 (H, W, 3): panels, legend, sentence."""
    shown = panels(result, view, alpha)
    fig = figure(7.6, 7.6 / len(shown) * result.image.shape[0] / result.image.shape[1] + 1.15)
    axes = fig.subplots(1, len(shown), squeeze=False)[0]
    for ax, (name, array) in zip(axes, shown.items(), strict=True):
        draw.show(array, ax, title=name)
        ax.title.set_fontsize(10)
    headline(fig, f"{title}. {describe(result)}", 9.5)
    rows = [(f"{name} {number}", color) for name, color, number in legend(result, view)]
    draw.legend(fig, rows, *((3, 8) if view == "errors" else (5, 9)))
    if view == "errors" and result.label is not None:  # the truth is in the classes' colours
        painted = np.setdiff1d(result.label, [0, IGNORE])
        draw.legend(axes[1], draw.class_rows(result.classes, result.palette, painted), 3, 8)
    return draw.pixels(fig)
