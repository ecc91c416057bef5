"""What the Playground shows: one image, one or two answers, their differences. Lesson 08."""

import html
from dataclasses import dataclass
from functools import cached_property
from textwrap import fill
from typing import NamedTuple

import numpy as np

from deeplab_lite import metrics
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import segmentation_view as segmentation
from deeplab_lite.classroom.widgets._answers import Choice
from deeplab_lite.classroom.widgets._subjects import Subject
from deeplab_lite.classroom.widgets._twin import figure, headline
from deeplab_lite.classroom.widgets.segmentation_view import Result
from deeplab_lite.labels import IGNORE

VIEWS = {**segmentation.VIEWS, "entropy": "entropy"}
WIDTH = 800  # pixels, about, of three pictures side by side
PANEL = WIDTH // 3 - 6


@dataclass(frozen=True, eq=False)
class Compared:
    """An image, and what one or two choices make of it. What follows from that is computed once."""

    subject: Subject
    choices: tuple[Choice, ...]
    results: tuple[Result, ...]
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, self.choices))

    @cached_property
    def kinds(self) -> np.ndarray:
        """`draw.disagreement_kinds` of two answers."""
        first, second = (result.prediction for result in self.results)
        return draw.disagreement_kinds(first, second, self.subject.label)

    @cached_property
    def scores(self) -> "tuple[Score, ...]":
        return tuple(score(result) for result in self.results)


def views(label: np.ndarray | None) -> list[str]:
    """The views that there are, with labels and without."""
    return segmentation.views(label, VIEWS)


def panels(comparison: Compared, view: str, alpha: float) -> dict[str, np.ndarray]:
    """The pictures (H, W, 3) by their titles: image, truth if known, answers, disagreement."""
    image, label = comparison.subject.image, comparison.subject.label
    if view not in views(label):
        known = ", ".join(views(label))
        raise ValueError(f"view {view!r}: expected one of {known} (errors need labels)")
    pictures = {"image": image}
    if label is not None:
        grey, palette = draw.grey(image), comparison.results[0].palette
        pictures["truth"] = draw.overlay(grey, label, alpha, palette)
    for place, (name, result) in enumerate(
        zip(comparison.names, comparison.results, strict=True), 1
    ):
        if view == "entropy":
            score = draw.surprise(image, result.probabilities, alpha)
        else:
            score = segmentation.answer(result, view, alpha)
        pictures[f"{place} · {name}" if len(comparison.results) > 1 else name] = score
    if len(comparison.results) > 1:
        first, second = (result.prediction for result in comparison.results)
        pictures["where they differ"] = draw.disagreement(image, first, second, label, alpha)
    return pictures


def magnified(picture: np.ndarray) -> int:
    """The width in pixels that fills about a third of WIDTH, a whole number of times its own."""
    height, width = picture.shape[:2]
    return width * max(1, min(PANEL // width, round(1.5 * PANEL) // height))


class Score(NamedTuple):
    """The numbers of one answer; miou and right are None without truth."""

    miou: float | None
    right: float | None
    confidence: float
    entropy: float


def score(result: Result) -> Score:
    """mIoU, share of pixels that are right, mean confidence, mean entropy from 0 to 1."""
    sure = float(result.probabilities.max(0).mean())
    doubt = float(draw.entropy(result.probabilities).mean())
    if result.label is None:
        return Score(None, None, sure, doubt)
    matrix = result.matrix
    return Score(float(metrics.miou(matrix)), float(metrics.pixel_accuracy(matrix)), sure, doubt)


def differ(comparison: Compared) -> str:
    """Where two answers differ, in a sentence; nothing for a single one."""
    if len(comparison.results) < 2:
        return ""
    counts = np.bincount(comparison.kinds.ravel(), minlength=len(draw.DISAGREEMENT) + 1)[
        1:
    ].tolist()
    total, share = sum(counts), 100 * sum(counts) / comparison.kinds.size
    text = f"They differ at {total:,} pixel{'s' * (total != 1)} ({share:.1f} %)"
    if comparison.subject.label is None or not total:
        return f"{text}."
    meanings = [meaning for meaning, _ in draw.DISAGREEMENT.values()]
    parts = [f"{n:,}: {meaning}" for n, meaning in zip(counts, meanings, strict=True) if n]
    return f"{text}; {', '.join(parts)}."


def describe(comparison: Compared) -> str:
    """What each answer scores, and where they differ, in some sentences."""
    parts = []
    for name, score in zip(comparison.names, comparison.scores, strict=True):
        known = "" if score.miou is None else f"mIoU {score.miou:.3f}, "
        parts.append(f"{name}: {known}mean confidence {score.confidence:.2f}.")
    return " ".join(filter(None, [*parts, differ(comparison)]))


GROUPS = {"where they differ": "differ: {}"}  # in one list of all colours


def legend(comparison: Compared, view: str) -> dict[str, list[draw.LegendRow]]:
    """(name, colour) of what the panels show: the classes, kinds of error, of difference."""
    classes, palette = comparison.results[0].classes, comparison.results[0].palette
    label = comparison.subject.label
    maps = [result.prediction for result in comparison.results] if view == "prediction" else []
    maps += [label] if label is not None else []
    present = sorted({k for each in maps for k in _values(each)} - {IGNORE})
    rows = {"classes": draw.class_rows(classes, palette, present)}
    if view == "errors":
        rows["errors"] = draw.kind_rows(draw.ERRORS)
    if len(comparison.results) > 1:
        there = _values(comparison.kinds)
        kinds = enumerate(draw.DISAGREEMENT.values(), 1)
        rows["where they differ"] = [row for kind, row in kinds if kind in there]
    return {group: each for group, each in rows.items() if each}


def _values(labels: np.ndarray) -> list[int]:
    """np.unique of whole numbers up to 255, some ten times faster."""
    return np.flatnonzero(np.bincount(labels.ravel())).tolist()


def ends(view: str, classes: int) -> tuple[str, str]:
    """What the ends of the colour scale mean."""
    if view == "confidence":
        return "likeliest class: probability 1", f"{1 / classes:.2f}"
    return "entropy 0: one class is certain", f"1: all {classes} are equally likely"


def picture(comparison: Compared, view: str, alpha: float) -> np.ndarray:
    """The playground's state as a picture, uint8 (H, W, 3): panels, sentences, legend."""
    pictures = panels(comparison, view, alpha)
    height, width = comparison.subject.image.shape[:2]
    columns = len(pictures) if len(pictures) < 4 else -(-len(pictures) // 2)
    rows = -(-len(pictures) // columns)
    tall = min(1.5, height / width)
    fig = figure(7.6, rows * (7.6 / columns * tall + 0.2) + 0.85)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(pictures) :]:
        ax.axis("off")
    for ax, (name, array) in zip(axes, pictures.items(), strict=False):
        draw.show(array, ax, title=fill(name, 96 // columns))
        ax.title.set_fontsize(9.5)
    text = f"{comparison.subject.title}. {describe(comparison)}"
    headline(fig, text[0].upper() + text[1:], 9.5)
    colors = [
        (GROUPS.get(group, "{}").format(name), color)
        for group, named in legend(comparison, view).items()
        for name, color in named
    ]
    draw.legend(fig, colors, 3 if view == "errors" else 4, 8)
    return draw.pixels(fig)


def title(name: str) -> str:
    """What stands above a picture, as HTML."""
    style = f"font-weight:600;line-height:1.3;max-width:{PANEL}px;overflow-wrap:anywhere"
    return f'<div style="{style}">{html.escape(name)}</div>'


def text_below(comparison: Compared, view: str, alpha: float, note: str = "") -> str:
    """What stands below the pictures, as HTML: colours, scores, differences, warnings, a note."""
    groups = legend(comparison, view).items()
    lines = "".join(draw.legend_html(rows, before=group) for group, rows in groups)
    if view in ("confidence", "entropy"):
        classes = len(comparison.results[0].classes)
        lines += draw.scale_html(*ends(view, classes), alpha)
    paragraph = '<p style="margin:4px 0;line-height:1.4">{}</p>'
    text = comparison.subject.title  # of a file it says what was done to it
    text = "" if comparison.subject.label is not None else f"{text[0].upper()}{text[1:]}."
    sentences = [
        text,
        differ(comparison),
        *(f"The network warns: {text}" for text in comparison.warnings),
        note,
    ]
    return (
        f"{lines}{_table(comparison)}"
        + "".join(paragraph.format(html.escape(text)) for text in sentences if text)
    )  # fmt: skip


def _table(comparison: Compared) -> str:
    known = comparison.subject.label is not None
    head = ["", *(("mIoU", "pixels right") if known else ()), "mean confidence", "mean entropy"]
    rows = []
    for name, score in zip(comparison.names, comparison.scores, strict=True):
        row = [html.escape(name)]
        if score.miou is not None and score.right is not None:
            row += [f"<b>{score.miou:.3f}</b>", f"{100 * score.right:.1f} %"]
        rows.append([*row, f"{score.confidence:.2f}", f"{score.entropy:.2f}"])
    return draw.table_html(head, rows)
