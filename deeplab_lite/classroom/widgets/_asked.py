"""What the widgets share that the kernel draws: one picture for many changes, errors said."""

import asyncio
import html
from time import perf_counter
from typing import Any

import ipywidgets


class NothingYet(ValueError):
    """There is nothing to show until the reader has chosen something: no fault."""


class Asked:
    """Mixin, named before the widget class: says when `_show` draws, and what becomes of errors.

    `note`, the text below the picture, takes their sentence. `time`, where there is one, says how
    long an answer took; it is empty until a control is moved, so that no time is ever saved.
    """

    note: ipywidgets.HTML
    time: Any = None
    _due = _busy = False

    def _show(self, colors: int | None) -> None:
        """Draw what the controls say; `colors` as in `draw.png`. Each widget has its own."""
        raise NotImplementedError(f"{type(self).__name__} shows nothing")

    def _wait(self, change: Any) -> None:
        """Say that an answer may take a while."""

    def _watch(self, *controls: Any) -> None:
        for control in controls:
            control.observe(self._ask, "value")

    def _ask(self, change: Any) -> None:
        """Draw once for all changes of a message or a cell; at once where no event loop runs.

        A page sends no second change of a control before the first is taken, and the latest only:
        a dragged slider makes no queue.
        """
        if self._busy or self._due:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._draw(live=True)
            return
        self._due = True
        self._wait(change)
        loop.call_soon(lambda: self._draw(live=True))

    def _draw(self, live: bool = False, colors: int | None = None) -> None:
        self._due, self._busy, report, begin = False, True, "", perf_counter()
        try:
            self._show(colors)
            report = f"Answered in {1000 * (perf_counter() - begin):.0f} ms." if live else ""
        except NothingYet as hint:
            self.note.value = f"<p>{html.escape(str(hint))}</p>"
        except Exception as error:  # in a callback it would go unseen
            tint = "color:var(--jp-error-color1,#D55E00)"
            self.note.value = f'<p role="alert" style="{tint}">{html.escape(str(error))}</p>'
        finally:
            self._busy = False
        if self.time is not None:
            self.time.value = small(report) if report else ""


def small(text: str) -> str:
    """Small print, as HTML."""
    return f'<span style="font-size:12px;opacity:.75">{text}</span>'
