"""Dilation explorer: which pixels a stack of atrous kernels reads, and how often. Lesson 02."""

from collections.abc import Iterable
from typing import Any

import anywidget
import numpy as np
import traitlets

from deeplab_lite.atrous import effective_kernel
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline, script, sheet
from deeplab_lite.receptive_field import trace


class DilationExplorer(Twin, anywidget.AnyWidget):
    """Up to four square kernels, each with a dilation rate 1..8, stacked; 0 leaves a layer out.

    `rates` and `kernel` (2..5 taps a side) are traits: read them, or set them from another cell.
    Raises ValueError for a rate or a kernel out of bounds.
    """

    _esm = script("dilation_explorer")
    _css = sheet("dilation_explorer")
    rates = traitlets.List(traitlets.Int()).tag(sync=True)
    kernel = traitlets.Int(3).tag(sync=True)

    def __init__(self, rates: Iterable[int] = (2, 2, 2), kernel: int = 3, **options: Any):
        super().__init__(rates=list(rates), kernel=kernel, **options)

    @traitlets.validate("rates")
    def _check_rates(self, proposal: Any) -> list[int]:
        rates = proposal["value"]
        if len(rates) > 4 or not all(0 <= rate <= 8 for rate in rates):
            raise ValueError(f"rates {rates}: expected at most four, each 1..8, or 0 for no layer")
        return rates

    @traitlets.validate("kernel")
    def _check_kernel(self, proposal: Any) -> int:
        if not 2 <= proposal["value"] <= 5:
            raise ValueError(f"kernel {proposal['value']}: the explorer has kernels of 2 to 5 taps")
        return proposal["value"]

    def picture(self) -> np.ndarray:
        return picture(self.rates, self.kernel)

    def alt(self) -> str:
        return title(self.rates, self.kernel)


def counts(rates: Iterable[int], kernel: int) -> np.ndarray:
    """`atrous.tap_counts` of the layers that are there; for kernels with an even side as well."""
    layers = [(kernel, 1, 0, rate) for rate in rates if rate]
    width = 1 + sum(rate * (kernel - 1) for _, _, _, rate in layers)
    line = np.array(trace(layers, width).counts[0])
    return np.outer(line, line)


def title(rates: Iterable[int], kernel: int) -> str:
    """Rates, kernel, and how much an output sees and reads."""
    active = [rate for rate in rates if rate]
    table = counts(active, kernel)
    read, size = int(np.count_nonzero(table)), len(table)
    return (
        f"Dilation rates {', '.join(map(str, active)) or 'none'}, kernel {kernel}×{kernel}: field "
        f"{size}×{size} pixels, {read} of {size * size} read"
    )


def picture(rates: Iterable[int], kernel: int) -> np.ndarray:
    """The explorer's state as a picture, uint8 (H, W, 3): the layers' kernels and the map."""
    active = [rate for rate in rates if rate]
    fig = figure(7.2, 4.0)
    left, right = fig.subfigures(1, 2, width_ratios=(1, 1.25))
    draw.tap_grid(counts(active, kernel), right.add_subplot())
    axes = left.subplots(2, 2).ravel()
    widest = max([9] + [effective_kernel(kernel, rate) for rate in active])
    for at, ax in enumerate(axes):
        ax.set_axis_off()
        if at < len(active):
            table = counts([active[at]], kernel)
            name = f"layer {at + 1}, rate {active[at]}:\nacts as {len(table)}×{len(table)}"
            draw.tap_grid(table, ax, title="", numbers=False)
            ax.set_title(name, fontsize=9.5, loc="center")
            reach = widest / 2
            middle = (len(table) - 1) / 2
            ax.set(xlim=(middle - reach, middle + reach), ylim=(middle + reach, middle - reach))
    headline(fig, title(active, kernel), 10.5)
    return draw.pixels(fig)
