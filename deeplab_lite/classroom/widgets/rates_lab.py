"""Rates lab: output stride, rates and multi-grid of one trained v3, measured. Lesson 06."""

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline, script, sheet
from deeplab_lite.tables import measured

SIDE, SCENES = 321, 100  # pixels of a scene, and how many were scored
RADII = (20, 35, 60, 90, 140)  # of shapes, in pixels
TRAINED = (16, (3, 6, 9), (1, 1, 1))


class Setting(NamedTuple):
    """A line of assets/rates.csv, which benchmarks/rates.py writes."""

    output_stride: int
    rates: tuple[int, ...]  # of the pyramid, in positions
    multi_grid: tuple[int, ...]
    miou: float
    interval: tuple[float, float]
    recall: tuple[float, ...]  # of shapes by radius, see RADII
    fields: tuple[int, ...]  # pixels a side: of the backbone's map, and of the three branches
    multiply_adds: int

    @property
    def map_side(self) -> int:
        return (SIDE - 1) // self.output_stride + 1


@lru_cache(maxsize=1)
def settings() -> dict[tuple[int, tuple[int, ...], tuple[int, ...]], Setting]:
    """All that were measured, by (output_stride, rates, multi_grid)."""
    table = {}
    for row in measured("rates.csv"):
        rates, grid = (tuple(map(int, row[name].split())) for name in ("rates", "multi_grid"))
        key = int(row["output_stride"]), rates, grid
        table[key] = Setting(
            *key,
            float(row["miou"]),
            (float(row["low"]), float(row["high"])),
            tuple(float(value) for name, value in row.items() if name.startswith("radius")),
            tuple(int(row[name]) for name in ("backbone", "first", "second", "third")),
            int(row["multiply_adds"]),
        )
    return table


def options() -> tuple[list[int], list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Output strides, rates and multi-grids that were measured, in the order of the table."""
    strides, rates, grids = zip(*settings(), strict=True)
    return [*dict.fromkeys(strides)], [*dict.fromkeys(rates)], [*dict.fromkeys(grids)]


def title(setting: Setting) -> str:
    """The setting, its score and its cost."""
    stride, rates, grid = setting[:3]
    miou, low, high = map(_digits, (setting.miou, *setting.interval))
    return (
        f"Output stride {stride}, rates {_list(rates)}, multi-grid {_list(grid)}: mIoU "
        f"{miou} [{low}, {high}], {setting.multiply_adds / 1e6:.0f} million multiply-adds"
    )


def _digits(score: float) -> str:
    """Three digits, halves up, as the script rounds."""
    return f"{int(1000 * score + 0.5) / 1000:.3f}"


def _list(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


class RatesLab(Twin, anywidget.AnyWidget):
    """v3-scenes with its weights as they are, at another output stride, rates and multi-grid.

    Shows the taps of the three atrous branches on the map, what they see and cost, and the mIoU
    that was measured (assets/rates.csv). `output_stride`, `rates`, `multi_grid` and `place`, a row
    and a column in pixels, are traits. Raises ValueError for a setting that was not measured.
    """

    _esm = script("rates_lab")
    _css = sheet("rates_lab")
    output_stride = traitlets.Int(16).tag(sync=True)
    rates = traitlets.List(traitlets.Int()).tag(sync=True)
    multi_grid = traitlets.List(traitlets.Int()).tag(sync=True)
    place = traitlets.List(traitlets.Int()).tag(sync=True)
    data = traitlets.Dict().tag(sync=True)
    colors = 240  # so that pale scores keep their blue

    def __init__(
        self,
        output_stride: int = 16,
        rates: Iterable[int] = (3, 6, 9),
        multi_grid: Iterable[int] = (1, 1, 1),
        place: Iterable[int] = (160, 160),
        **others: Any,
    ):
        super().__init__(
            output_stride=output_stride,
            rates=list(rates),
            multi_grid=list(multi_grid),
            place=list(place),
            data=_data(),
            **others,
        )

    @traitlets.validate("output_stride", "rates", "multi_grid")
    def _check(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        known = options()[("output_stride", "rates", "multi_grid").index(name)]
        if (tuple(value) if isinstance(value, list) else value) not in known:
            offered = " or ".join(_list(v) if isinstance(v, tuple) else str(v) for v in known)
            raise ValueError(f"{name} {value!r} was not measured: expected {offered}")
        return value

    @traitlets.validate("place")
    def _check_place(self, proposal: Any) -> list[int]:
        place = proposal["value"]
        if len(place) != 2 or not all(0 <= at < SIDE for at in place):
            raise ValueError(f"place {place}: expected row and column from 0 to {SIDE - 1}")
        return place

    @property
    def setting(self) -> Setting:
        """What is shown."""
        return settings()[self.output_stride, tuple(self.rates), tuple(self.multi_grid)]

    @property
    def unit(self) -> tuple[int, int]:
        """The position of the map that is nearest to `place`."""
        y, x = ((at + self.output_stride // 2) // self.output_stride for at in self.place)
        return y, x

    def picture(self) -> np.ndarray:
        return picture(self.setting, self.unit)

    def alt(self) -> str:
        return title(self.setting)


def _data() -> dict[str, Any]:
    strides, rates, grids = options()
    return {
        "side": SIDE,
        "scenes": SCENES,
        "strides": strides,
        "rates": [list(each) for each in rates],
        "grids": [list(each) for each in grids],
        "trained": [TRAINED[0], list(TRAINED[1]), list(TRAINED[2])],
        "radii": [f"{low} to {high}" for low, high in itertools.pairwise(RADII)],
        "rows": [
            [s.miou, *s.interval, list(s.recall), list(s.fields), s.multiply_adds]
            for s in settings().values()
        ],
    }


def picture(setting: Setting, unit: tuple[int, int]) -> np.ndarray:
    """The setting's taps on its map, and all scores beside it: uint8 (H, W, 3)."""
    strides, rates, grids = options()
    columns = [*itertools.product(strides, grids)]
    scores = [[settings()[s, r, g].miou for s, g in columns] for r in rates]
    fig = figure(9.8, 4.1)
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.9))
    draw.map_taps(setting.map_side, unit, setting.rates, left)
    marks = ", ".join(f"{mark} {r}" for mark, r in zip("●■▲", setting.rates, strict=True))
    side = setting.map_side
    left.set_title(
        f"map of {side}×{side}; taps of rates {marks}\n"
        "filled: on the map; hollow or not shown: off it",
        fontsize=9.5,
        loc="left",
    )

    def place(key: tuple[int, tuple[int, ...], tuple[int, ...]]) -> tuple[int, int]:
        return rates.index(key[1]), columns.index((key[0], key[2]))

    names = [f"OS {s}\n{'-'.join(map(str, g))}" for s, g in columns]
    frames = place(setting[:3]), place(TRAINED)
    draw.score_table(scores, [_list(each) for each in rates], names, *frames, right)
    right.set_title(
        "mIoU (darker: higher). Rows: rates; columns: output stride, multi-grid\n"
        "full frame: the setting shown; dashed: as trained",
        fontsize=9.5,
        loc="left",
    )
    headline(fig, title(setting))
    return draw.pixels(fig)
