"""A row of controls for one network and how it is asked; the Playground of lesson 08 has two."""

from collections.abc import Callable
from typing import Any

import ipywidgets

from deeplab_lite.classroom.widgets._answers import CRFS, Answers, Choice

NONE = "none"
DEFAULT_SECOND = "v1-scenes"  # where there is one of that name
OWN = 0  # a dropdown shows nothing where its value is None


class ChoiceRow(ipywidgets.HBox):
    """Chooses a Choice. With `optional` there may be no network, and `choice` is None then."""

    def __init__(self, answers: Answers, choice: Choice | None, name: str, optional: bool = False):
        self._answers = answers
        first = choice or Choice(NONE)
        narrow = {"style": {"description_width": "60px"}}
        self.model = ipywidgets.Dropdown(
            options=[*([NONE] if optional else []), *answers.models], value=first.model,
            description=name, layout={"width": "250px"}, **narrow,
        )  # fmt: skip
        self.stride = ipywidgets.Dropdown(
            options=[("", OWN)], tooltip="output stride", layout={"width": "130px"}
        )
        self.multi_scale = _box("multi-scale", first.multi_scale, "100px")
        self.flip = _box("flip", first.flip, "60px")
        self.crf = ipywidgets.Dropdown(
            options=list(CRFS), value=first.crf, description="CRF", layout={"width": "150px"},
            style={"description_width": "36px"},
        )  # fmt: skip
        controls = [self.model, self.stride, self.multi_scale, self.flip, self.crf]
        super().__init__(controls, layout={"flex_flow": "row wrap"})
        self.fit()
        if first.stride in dict(self.stride.options).values():
            self.stride.value = first.stride

    @property
    def choice(self) -> Choice | None:
        """What the controls say now."""
        if self.model.value == NONE:
            return None
        return Choice(
            self.model.value, self.stride.value or None, self.multi_scale.value, self.flip.value,
            self.crf.value,
        )  # fmt: skip

    def fit(self) -> None:
        """Only the output strides that this network can be set to."""
        there = self.model.value != NONE
        options = [("", OWN)]
        if there:
            own, strides = self._answers.strides(self.model.value)
            options = [(f"stride {own}, its own" if own else "as it is", OWN)]
            options += [(f"stride {stride}", stride) for stride in strides if stride != own]
        if options != list(self.stride.options):
            stride = self.stride.value
            self.stride.options = options
            self.stride.value = stride if stride in dict(options).values() else OWN
        for control in self.children[1:]:
            control.disabled = not there

    def listen(self, then: Callable[[Any], None]) -> None:
        """Call `then` when a control is moved."""
        for control in self.children:
            control.observe(then, "value")


def rows_for(
    answers: Answers, first: str | Choice | None, second: str | Choice | None
) -> tuple[ChoiceRow, ChoiceRow]:
    """Two rows, for names or choices; raises ValueError as `Answers.check`."""
    there = answers.models
    if first is None:
        first = "v3plus-scenes" if "v3plus-scenes" in there else next(iter(there))
    if second == DEFAULT_SECOND and second not in there:
        second = None
    choices = [Choice(r) if isinstance(r, str) else r for r in (first, second)]
    for choice in filter(None, choices):
        answers.check(choice)
    return (
        ChoiceRow(answers, choices[0], "first"),
        ChoiceRow(answers, choices[1], "second", optional=True),
    )


def _box(name: str, value: bool, width: str) -> Any:
    return ipywidgets.Checkbox(
        value=value, description=name, indent=False, layout={"width": width, "margin": "2px 8px"}
    )
