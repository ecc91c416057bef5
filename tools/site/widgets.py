"""Widgets in a page with no kernel: what computes in the browser lives, the rest is a picture."""

import json
from typing import Any

from tools.notebooks import WIDGET_STATE, WIDGET_VIEW

Models = dict[str, dict[str, Any]]
NEEDS_PYTHON = """\
<p class="needs-python">This widget runs Python, so here it is a picture. It moves in the notebook:
<code>make lab</code> opens it.</p>"""


def models(notebook: dict[str, Any]) -> Models:
    """The widgets' models that a notebook stores, by id."""
    stored = notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {})
    return stored.get("state", {})


def shown(output: dict[str, Any], models: Models) -> list[dict[str, Any]]:
    """The outputs that a page has in place of one.

    Raises ValueError for widgets tied together by jslink, which would need ipywidgets' own
    JavaScript, three megabytes of it: an anywidget does without.
    """
    data = output.get("data", {})
    if WIDGET_VIEW not in data:
        return [output]
    if any(model["model_name"].endswith("LinkModel") for model in models.values()):
        raise ValueError("a notebook ties widgets together by jslink: write an anywidget instead")
    model = models[data[WIDGET_VIEW]["model_id"]]
    alt = "".join(data["text/plain"])
    picture = {kind: value for kind, value in data.items() if kind == "image/png"}
    if model["model_name"] == "AnyModel":
        return [html(element(model, alt, "".join(picture["image/png"])))]
    return [{**output, "data": picture}, html(NEEDS_PYTHON)]


def html(text: str) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": text}}


def element(model: dict[str, Any], alt: str, picture: str = "", play: Any = None) -> str:
    """An anywidget's stored model as HTML for site/_static/widgets.js.

    picture: base64 of a PNG, for readers without JavaScript; play: states that it goes through by
    itself until somebody touches it.
    """
    state = {k: v for k, v in model["state"].items() if k[0] != "_" and not is_model(v)}
    for buffer in model.get("buffers", []):
        (name,) = buffer["path"]
        state[name] = {"base64": buffer["data"]}
    stored = {"esm": model["state"]["_esm"], "css": model["state"].get("_css", ""), "state": state}
    stored |= {"play": play} if play else {}
    script = json.dumps(stored, ensure_ascii=False).replace("</", "<\\/")
    alt = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    image = f'<img alt="{alt}" src="data:image/png;base64,{picture}">' if picture else alt
    return (
        f'<div class="widget"><script type="application/json">{script}</script>'
        f"<noscript>{image}</noscript></div>"
    )


def is_model(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("IPY_MODEL_")
