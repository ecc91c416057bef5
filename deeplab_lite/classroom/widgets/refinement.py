"""What the CRF playground shows: one refined answer, its pictures, its scores. Lesson 04."""

import html
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deeplab_lite import metrics
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._twin import figure, headline
from deeplab_lite.classroom.widgets._unaries import Unaries
from deeplab_lite.crf import dense_crf
from deeplab_lite.labels import IGNORE

VIEWS = {
    "after": "after the CRF",
    "changes": "difference",
    "marginal": "marginal",
    "truth": "truth",
}
WIDTH = 800  # pixels, about, of the three pictures side by side
EDGE = 2  # pixels: the half width of the trimap that is scored


class CRFSettings(NamedTuple):
    """The parameters of `dense_crf`, and two more.

    temperature divides the network's logits: above 1 it is less sure of itself. objects is the
    penalty between two classes other than the first, the background, where that between any class
    and the background is 1; at 1 the penalties are Potts'.
    """

    w_appearance: float = 5.0
    sigma_xy: float = 50.0
    sigma_rgb: float = 3.0
    w_smooth: float = 3.0
    sigma_smooth: float = 3.0
    iterations: int = 10
    temperature: float = 1.0
    objects: float = 1.0
    backend: str = "lattice"


#        what the scripts of the papers use: DeepLab v1 on Pascal VOC, v2 on COCO
PAPERS = {"v1": CRFSettings(), "COCO": CRFSettings(sigma_xy=67.0)}


class Refined:
    """Probabilities before and after the CRF, and what they say of each pixel."""

    def __init__(self, start: Unaries, settings: CRFSettings):
        """Raises ValueError as `dense_crf`, and for a temperature that is not above 0."""
        self.start, self.settings = start, settings
        probs = heated(start.probs, settings.temperature)
        compat = penalties(len(probs), settings.objects)
        names = ("w_appearance", "sigma_xy", "sigma_rgb", "w_smooth", "sigma_smooth")
        self.marginals: np.ndarray = dense_crf(
            probs,
            start.image,
            iterations=settings.iterations,
            compat="potts" if settings.objects == 1 else compat,
            backend=settings.backend,
            **{name: getattr(settings, name) for name in names},
        )
        self.before, self.after = probs.argmax(0), self.marginals.argmax(0)
        self.kinds = draw.change_kinds(self.before, self.after, start.label)

    @cached_property
    def scores(self) -> dict[str, tuple[float, float]]:
        """Before and after: mIoU, and that of the pixels near an edge; empty without truth."""
        label, edges = self.start.label, self.start.edges
        if label is None or edges is None:
            return {}
        near = np.where(metrics.trimap(edges, EDGE).numpy(), label, IGNORE)
        maps, count = np.stack([self.before, self.after]), len(self.start.classes)
        refined = {}
        for name, truth in (("mIoU", label), (f"mIoU within {EDGE} pixels of an edge", near)):
            matrices = metrics.confusion_matrices(maps, np.stack([truth, truth]), count)
            before, after = metrics.miou(matrices).tolist()
            refined[name] = (before, after)
        return refined


def heated(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of the logits over the temperature; 1 leaves the probabilities as they are."""
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: expected a number above 0; 1 changes nothing")
    if temperature == 1:
        return probs
    logits = torch.from_numpy(np.maximum(probs, 1e-30)).log()
    return (logits / temperature).softmax(0).numpy()


def penalties(classes: int, objects: float) -> Tensor:
    """K x K: 0 on the diagonal, 1 for pairs with the background, `objects` for the others."""
    matrix = torch.full((classes, classes), float(objects))
    matrix[0] = matrix[:, 0] = 1
    return matrix.fill_diagonal_(0)


def views(start: Unaries) -> list[str]:
    """The views that there are, with labels and without."""
    return [view for view in VIEWS if start.label is not None or view != "truth"]


def panels(refined: Refined, view: str, class_name: str) -> dict[str, np.ndarray]:
    """Three pictures (H, W, 3) by their titles: the image, the map before the CRF, the view."""
    image, palette = refined.start.image, refined.start.palette
    grey = draw.grey(image)
    if view == "after":
        panel = draw.overlay(grey, refined.after, 0.7, palette)
    elif view == "changes":
        panel = draw.changes(image, refined.before, refined.after, refined.start.label)
    elif view == "marginal":
        panel = draw.heat(image, refined.marginals[_index(refined.start, class_name)], 0.85, 0, 1)
    elif view == "truth" and refined.start.label is not None:
        panel = draw.overlay(grey, refined.start.label, 0.7, palette)
    else:
        known = ", ".join(views(refined.start))
        raise ValueError(f"view {view!r}: expected one of {known} (truth needs labels)")
    title = f"{VIEWS[view]} of “{class_name}”" if view == "marginal" else VIEWS[view]
    before = draw.overlay(grey, refined.before, 0.7, palette)
    return {"image": image, "before": before, title: panel}


def _index(start: Unaries, class_name: str) -> int:
    if class_name not in start.classes:
        raise ValueError(
            f"class {class_name!r}: the classes of this image are {', '.join(start.classes)}"
        )
    return start.classes.index(class_name)


def frame(refined: Refined, view: str, class_name: str) -> np.ndarray:
    """The panels side by side, pixels enlarged to fill about WIDTH: uint8 (H, W, 3)."""
    pictures = list(panels(refined, view, class_name).values())
    return draw.strip(pictures, max(1, WIDTH // sum(p.shape[1] for p in pictures)))


def changed(refined: Refined) -> str:
    """What the CRF changed, in a sentence."""
    counts = np.bincount(refined.kinds.ravel(), minlength=len(draw.CHANGES) + 1)[1:].tolist()
    total, share = sum(counts), 100 * sum(counts) / refined.kinds.size
    text = f"The CRF gives {total:,} pixel{'s' * (total != 1)} ({share:.1f} %) another class"
    if refined.start.label is None:
        return f"{text}; without labels nobody knows whether a better one."
    kinds = ("fixed", "broken", "wrong before and after", "where no truth is given")
    rows = enumerate(zip(counts, kinds, strict=True))
    words = [f"{count:,} {kind}" for place, (count, kind) in rows if count or place < 2]
    return f"{text}: {', '.join(words)}." if total else f"{text}."


def describe(refined: Refined) -> str:
    """What the CRF changed, and the scores before and after."""
    scores = [
        f"{k} {before:.3f} before, {after:.3f} after"
        for k, (before, after) in refined.scores.items()
    ]
    return " ".join([changed(refined), *([f"{'; '.join(scores)}."] if scores else [])])


def in_words(settings: CRFSettings) -> str:
    """The settings, by their paper's name where they are its own."""
    plain = settings._replace(backend="lattice")
    for name, paper in PAPERS.items():
        if plain == paper:
            return f"the settings of {name}"
    usual = CRFSettings()._asdict()
    return ", ".join(
        f"{name} {value:g}"
        for name, value in settings._asdict().items()
        if name != "backend" and (name not in ("temperature", "objects") or value != usual[name])
    )


def legend(refined: Refined, view: str) -> list[draw.LegendRow]:
    """(name, colour) of what the panels show; none for a heat map, which has a scale."""
    if view == "marginal":
        return []
    if view == "changes":
        rows = draw.kind_rows(draw.CHANGES)
        return rows if refined.start.label is not None else rows[-1:]
    label = refined.start.label
    shown = label if view == "truth" and label is not None else refined.after
    seen = np.setdiff1d(np.union1d(refined.before, shown), [IGNORE])
    return draw.class_rows(refined.start.classes, refined.start.palette, seen)


def picture(refined: Refined, view: str, class_name: str) -> np.ndarray:
    """The playground's state as a picture, uint8 (H, W, 3): panels, sentence, legend."""
    shown = panels(refined, view, class_name)
    height, width = refined.start.image.shape[:2]
    fig = figure(7.6, 7.6 / 3 * height / width + 1.15)
    axes = fig.subplots(1, 3)
    for ax, (name, array) in zip(axes, shown.items(), strict=True):
        draw.show(array, ax, title=name)
        ax.title.set_fontsize(10)
    text = f"{refined.start.title}, {in_words(refined.settings)}. {describe(refined)}"
    headline(fig, text[0].upper() + text[1:], 9.5)
    draw.legend(fig, legend(refined, view), 2 if view == "changes" else 6)
    if view == "marginal":
        scale = fig.add_axes((0.36, 0.045, 0.28, 0.03))
        scale.set_in_layout(False)
        scale.imshow(draw.scale(), aspect="auto", extent=(0, 1, 0, 1))
        scale.set(xticks=[0, 1], yticks=[])
        scale.tick_params(labelsize=8, length=0, pad=1)
    return draw.pixels(fig)


def text_below(refined: Refined, view: str) -> str:
    """What stands below the pictures, as HTML: the colours, the sentence, the scores."""
    colors = draw.legend_html(legend(refined, view))
    if view == "marginal":
        colors = draw.scale_html("0", "1")
    rows = [
        (name, f"{before:.3f}", f"<b>{after:.3f}</b>")
        for name, (before, after) in refined.scores.items()
    ]
    table = draw.table_html(("", "before", "after"), rows) if rows else ""
    sentence = f'<p style="margin:4px 0;line-height:1.4">{html.escape(changed(refined))}</p>'
    return f"{colors}{sentence}{table}"
