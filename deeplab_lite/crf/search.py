"""The parameters of the CRF by cross-validation, coarse to fine. Taught in lesson 04.

DeepLab v1 section 5: w_smooth and sigma_smooth stay at 3, and the other three are searched on 100
validation images, over a coarse grid first, then in smaller steps around the best.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from deeplab_lite import metrics
from deeplab_lite.crf.dense import dense_crf
from deeplab_lite.labels import Array
from deeplab_lite.tables import text_table

#        the range of DeepLab v1, 96 settings
GRID = {
    "w_appearance": (5, 10),
    "sigma_xy": (50, 60, 70, 80, 90, 100),
    "sigma_rgb": (3, 4, 5, 6, 7, 8, 9, 10),
}
NO_CRF: dict[str, float] = {"iterations": 0}


class Trial(NamedTuple):
    """Settings, as keyword arguments of `dense_crf`, and the mIoU that they reach."""

    settings: dict[str, float]
    miou: float


class Search(NamedTuple):
    """What was tried, best first. The trial with 0 iterations is the map without a CRF."""

    trials: list[Trial]
    fixed: dict[str, Any]  # the further arguments that all trials shared

    @property
    def best(self) -> dict[str, Any]:
        """For `dense_crf(probs, image, **best)`; 0 iterations if the CRF only made things worse."""
        return {**self.fixed, **self.trials[0].settings}

    @property
    def baseline(self) -> float:
        """mIoU without a CRF."""
        return next(trial.miou for trial in self.trials if trial.settings == NO_CRF)

    def table(self, rows: int = 10) -> str:
        """The best trials as text, with what each gains over no CRF, which is always there."""
        names = list(next(trial.settings for trial in self.trials if trial.settings != NO_CRF))
        best = self.trials[:rows]
        best += [trial for trial in self.trials[rows:] if trial.settings == NO_CRF]
        lines = [[*names, "mIoU", "gain"]]
        for settings, miou in best:
            cells = [f"{settings[n]:g}" if n in settings else "-" for n in names]
            gain = "no CRF" if settings == NO_CRF else f"{miou - self.baseline:+.4f}"
            lines.append([*cells, f"{miou:.4f}", gain])
        return text_table(lines)


def search(
    probs: Sequence[Array] | Array,
    images: Sequence[Array] | Array,
    labels: Sequence[Array] | Array,
    grid: Mapping[str, Sequence[float]] | None = None,
    *,
    rounds: int = 1,
    progress: Callable[[int, int, Trial], None] | None = None,
    **fixed: Any,
) -> Search:
    """Score every setting of a grid on N images, then finer ones around the best: by mIoU.

    probs, images: N of each, as `dense_crf` takes them one by one; sizes may differ. labels: N of
    H x W, classes and 255, which does not count.
    grid: values of arguments of `dense_crf`; by default DeepLab v1's, `GRID`. Each of `rounds`
    then tries the best values and those halfway to their neighbours, in all combinations: at most
    26 new settings for three arguments. Nothing is tried twice, nothing outside of the grid's ends.
    fixed: further arguments of `dense_crf`, the same for all.
    progress: called after each trial with how many are done, how many there are in this round and
    those before, and the trial.

    Raises ValueError for lists of different lengths and for a grid without values, and whatever
    `dense_crf` raises. Lesson 04.
    """
    counts = len(probs), len(images), len(labels)
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(
            f"{counts[0]} probs, {counts[1]} images and {counts[2]} labels: expected as many of "
            "each, and at least one"
        )
    data = list(zip(probs, images, labels, strict=True))
    values = {name: sorted(set(of)) for name, of in (GRID if grid is None else grid).items()}
    if not values or not all(values.values()):
        raise ValueError("grid has nothing to try: give each argument at least one value")
    if both := values.keys() & fixed.keys():
        raise ValueError(f"{min(both)} is both in the grid and fixed: leave one of them out")
    scores: dict[tuple[float, ...], float] = {(): _score(data, **NO_CRF)}
    for finer in range(rounds + 1):
        if finer:
            best = max(list(scores)[1:], key=lambda point: scores[point])
            values = {
                name: _around(value, tried)
                for (name, tried), value in zip(values.items(), best, strict=True)
            }
            if "iterations" in values:
                values["iterations"] = sorted({int(steps) for steps in values["iterations"]})
        todo = [point for point in product(*values.values()) if point not in scores]
        total = len(scores) - 1 + len(todo)
        for point in todo:
            settings = dict(zip(values, point, strict=True))
            scores[point] = _score(data, **settings, **fixed)
            if progress:
                progress(len(scores) - 1, total, Trial(settings, scores[point]))
    trials = [
        Trial(dict(zip(values, point, strict=True)) if point else NO_CRF, score)
        for point, score in scores.items()
    ]
    return Search(sorted(trials, key=lambda trial: -trial.miou), fixed)


def _around(best: float, tried: Sequence[float]) -> list[float]:
    """The best value, and those halfway to the values tried on either side of it."""
    at = tried.index(best)
    near = tried[max(at - 1, 0) : at + 2]
    return [best if value == best else (value + best) / 2 for value in near]


def _score(data: Sequence[tuple[Array, Array, Array]], **settings: Any) -> float:
    """mIoU over all images together."""
    matrix: Any = 0
    for probs, image, label in data:
        marginals = dense_crf(probs, image, **settings)
        matrix = matrix + metrics.confusion_matrices(marginals, label, len(probs))[0]
    return float(metrics.miou(matrix))
