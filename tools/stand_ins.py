"""What a saved notebook holds in place of a widget that the kernel draws: its picture.

Until its cell is run, such a widget would show controls that move nothing, each with the mark of a
broken link. `replace` stores the widget's twin under its id instead, with a line that says what to
do. A run of the cell opens the widget itself, under an id of its own.
"""

import html
from collections.abc import Iterator
from typing import Any

from tools.notebooks import WIDGET_STATE, WIDGET_VIEW

Models = dict[str, dict[str, Any]]
REFERENCE = "IPY_MODEL_"
# JupyterLab marks each widget that has no kernel; this one needs none.
VALUE = """\
<style>.jupyter-widgets-disconnected:has(.dl-stand-in)::before {{ content: none }}</style>
<p class="dl-stand-in"><em>A picture so far: run the cells down to this one, and it moves.</em></p>
<img src="data:image/png;base64,{picture}" alt="{alt}" style="max-width: 100%">"""


def replace(notebook: dict[str, Any]) -> None:
    """Store a stand-in for each widget that has a picture and is not an anywidget."""
    models = notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            model_id = data.get(WIDGET_VIEW, {}).get("model_id")
            if model_id not in models or "image/png" not in data:
                continue
            if models[model_id]["model_name"] != "AnyModel":
                for each in set(family(models, model_id)):
                    del models[each]
                models.update(stand_in(model_id, data["image/png"], data["text/plain"]))


def family(models: Models, model_id: str) -> Iterator[str]:
    """The id of a widget, and those of all that it is made of."""
    yield model_id
    for value in models[model_id]["state"].values():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and (part := each.removeprefix(REFERENCE)) in models:
                yield from family(models, part)


def stand_in(model_id: str, picture: str, alt: str) -> Models:
    """Models of a picture, given as base64, under a line of text; the widget has this id."""
    from ipywidgets import HTML
    from ipywidgets.embed import dependency_state

    shown = HTML(VALUE.format(picture="".join(picture), alt=html.escape("".join(alt))))
    state = dependency_state(shown)
    return {model_id if each == shown.model_id else each: model for each, model in state.items()}
