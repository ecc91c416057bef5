"""Below a label map, links that open the playground with its scene and its network.

A code cell names them in tags: `try:` and what stands behind # in the playground's address, as in
`try:seed=7&network=v3plus-scenes` (site/playground/src/address.js has all names).
"""

import html
from typing import Any
from urllib.parse import parse_qsl

from tools.site import widgets

PREFIX = "try:"
PLAYGROUND = "../playground/index.html"  # from a lesson


def addresses(cell: dict[str, Any]) -> list[str]:
    """What the playground is to open, of each such tag."""
    tags = cell["metadata"].get("tags", [])
    return [tag.removeprefix(PREFIX) for tag in tags if tag.startswith(PREFIX)]


def subject(address: str) -> str:
    """What a link calls the image. Raises ValueError for a tag that names none."""
    names = dict(parse_qsl(address, keep_blank_values=True))
    if "seed" in names:
        return f"scene {names['seed']}"
    if "photo" in names:
        return names["photo"]
    if "draw" in names:
        return "a scene of your own"
    raise ValueError(f"the tag {PREFIX}{address} names no seed, photo or draw")


def add_links(cell: dict[str, Any]) -> None:
    """Put the links below the cell's output, in place of the tags.

    Raises ValueError for a tag that stands at text, or names no image.
    """
    if not (named := addresses(cell)):
        return
    if cell["cell_type"] != "code":
        raise ValueError(f"the tag {PREFIX}{named[0]} belongs to the code that draws the label map")
    links = ", ".join(
        f'<a href="{PLAYGROUND}#{html.escape(address)}">{html.escape(subject(address))}</a>'
        for address in named
    )
    cell["outputs"].append(widgets.html(f'<p class="try">Try it in the playground: {links}</p>'))
    tags = cell["metadata"]["tags"]
    cell["metadata"]["tags"] = [tag for tag in tags if not tag.startswith(PREFIX)]
