"""Pictures of a CRF at work: what it changed, each step as a sheet, its energies. Lesson 04."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from deeplab_lite.classroom.draw.axes import INK, _axes
from deeplab_lite.classroom.draw.differences import CHANGES
from deeplab_lite.classroom.draw.segmentation import grey
from deeplab_lite.colors import edges
from deeplab_lite.labels import IGNORE

QUIET = "#5B6470"  # the widget's own
LEVELS = 24  # of a heat map in a sheet: more are not told apart, and take space
#          name in an energy chart: colour and dashes; greys, since colours are those of classes
CURVES = {
    "unary": (QUIET, (0, (5, 2))),
    "pairwise": (QUIET, (0, (1, 1))),
    "− entropy": (QUIET, (0, (5, 2, 1, 2))),
    "free energy": (INK, "solid"),
}


def change_kinds(before: Any, after: Any, label: Any = None) -> np.ndarray:
    """uint8 (H, W): 0 where the class stays, else 1 + the place in CHANGES.

    before, after: classes (H, W); label likewise, 255 where no class is given, or None. Raises
    ValueError where their shapes differ.
    """
    before, after = np.asarray(before), np.asarray(after)
    label = np.full(before.shape, IGNORE) if label is None else np.asarray(label)
    if not before.shape == after.shape == label.shape or before.ndim != 2:
        raise ValueError(
            f"classes of shape {before.shape} before and {after.shape} after, and labels of shape "
            f"{label.shape}: expected (H, W) for all"
        )
    conditions = [before == after, label == IGNORE, after == label, before == label]
    return np.select(conditions, [0, 4, 1, 2], 3).astype(np.uint8)


def change_table(alpha: float = 0.9) -> np.ndarray:
    """uint8 (5, 4): the RGBA of each of `change_kinds`; 0 is clear."""
    opacity = np.full(len(CHANGES), alpha)
    return _rgba(np.stack([color for _, color in CHANGES.values()]), opacity, clear=1)


def changes(image: Any, before: Any, after: Any, label: Any = None) -> np.ndarray:
    """The image in grey, pixels that changed their class in the colours of CHANGES: (H, W, 3)."""
    return tint(image, change_kinds(before, after, label), change_table())


def outlined(labels: Any, classes: int) -> np.ndarray:
    """Class maps (..., H, W) with `classes` added on the rim of each region, for `class_table`."""
    labels = np.asarray(labels)
    rim = edges(labels, (1,) * (labels.ndim - 2) + (3, 3))
    return labels + classes * (rim & (labels != 0))


def class_table(palette: np.ndarray, alpha: float = 0.6) -> np.ndarray:
    """uint8 (2 K, 4): the RGBA of K classes, then of their rims; class 0 is clear."""
    inside, rim = np.full(len(palette), alpha), np.full(len(palette), 0.95)
    inside[0] = rim[0] = 0
    return _rgba(np.vstack([palette, palette]), np.concatenate([inside, rim]))


def heat_table(alpha: float = 0.85) -> np.ndarray:
    """uint8 (LEVELS, 4): the RGBA of `heat` from 0, clear, to 1."""
    import matplotlib as mpl

    unit = np.linspace(0, 1, LEVELS)
    colors = np.rint(255 * mpl.colormaps["inferno"](0.15 + 0.8 * unit)[:, :3])
    return _rgba(colors, alpha * np.sqrt(unit))


def levels(values: Any) -> np.ndarray:
    """Values from 0 to 1 as rows of `heat_table`; those beyond take the nearer end."""
    return np.rint(np.clip(np.asarray(values), 0, 1) * (LEVELS - 1)).astype(np.uint8)


def tint(image: Any, index: Any, table: np.ndarray) -> np.ndarray:
    """The image in grey under the RGBA that `table` gives to each of `index` (H, W): (H, W, 3)."""
    over = table[np.asarray(index)].astype(float)
    share = over[..., 3:] / 255
    return np.rint((1 - share) * grey(image) + share * over[..., :3]).astype(np.uint8)


def sheet(frames: Any, table: np.ndarray) -> bytes:
    """Frames (F, H, W) of rows of `table`, one below the other, as one PNG with transparency.

    A frame is mostly like the one above it, which PNG's compression finds: a sheet is some three
    times smaller than its frames.
    """
    frames = np.asarray(frames)
    image = Image.fromarray(frames.reshape(-1, frames.shape[-1]).astype(np.uint8))
    image.putpalette(table[:, :3].tobytes())  # makes a palette image of a grey one
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=9, transparency=table[:, 3].tobytes())
    return out.getvalue()


def energy_curves(energies: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The parts of a trace's free energy by the names of CURVES, in nats, each from its start.

    They add up: free energy = unary + pairwise − entropy. Raises KeyError unless the energies are
    those of one image's `crf.Trace`.
    """
    parts = {name: np.asarray(values, float) for name, values in energies.items()}
    energies_of = {
        "unary": parts["unary"],
        "pairwise": parts["appearance"] + parts["smoothness"],
        "− entropy": -parts["entropy"],
        "free energy": parts["free"],
    }
    return {name: values - values[0] for name, values in energies_of.items()}


def energy_chart(energies: Mapping[str, Any], step: int | None = None, ax: Any = None) -> Any:
    """How each energy moves from its start, over the steps; a mark at `step`."""
    ax = _axes(ax, 5, 3)
    curves = energy_curves(energies)
    for name, values in curves.items():
        color, dashes = CURVES[name]
        ax.plot(values, color=color, ls=dashes, lw=2.4 if name == "free energy" else 1.8)
        if step is not None:
            ax.plot(step, values[step], "o", color=color, ms=5)
    if step is not None:
        ax.axvline(step, color="#8A93A0", lw=1, zorder=0)
    ends = {name: values[-1] for name, values in curves.items()}
    low, high = ax.get_ylim()
    last = len(next(iter(curves.values()))) - 1
    for name, place in spread(ends, 0.085 * (high - low)).items():
        ax.annotate(
            name, (last, ends[name]), (last + 0.03 * max(last, 1), place),
            color=CURVES[name][0], fontsize=9, va="center", annotation_clip=False,
        )  # fmt: skip
    ax.set(xlabel="step", ylabel="nats from the start", xlim=(-0.2, last + 0.2))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def spread(places: Mapping[str, float], gap: float) -> dict[str, float]:
    """The places, in their order, moved up until none is nearer than `gap` to the one below."""
    moved: dict[str, float] = {}
    floor = -np.inf
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        moved[name] = floor = max(float(place), floor + gap)
    return moved


def _rgba(colors: np.ndarray, opacity: np.ndarray, clear: int = 0) -> np.ndarray:
    """uint8 (clear + N, 4): `clear` rows of nothing, then the colours with their opacity 0..1."""
    table = np.zeros((clear + len(colors), 4), np.uint8)
    table[clear:, :3] = colors
    table[clear:, 3] = np.rint(255 * opacity)
    return table
