"""Sphinx extension: in the lessons, a term leads to the glossary and shows what it says there.

A term is marked at its first place in each section, from the lesson on that the glossary names.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes

from tools import notebooks

PAGE = "notebooks/glossary"
#                   English      Chinese      what it is  lesson
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| (.+) \| \[(\d\d)\]\([^|]*\) \|$", re.MULTILINE)
APART = (nodes.reference, nodes.literal, nodes.title, nodes.math, nodes.raw, nodes.table)


@dataclass(frozen=True)
class Term:
    english: str
    chinese: str
    text: str
    lesson: str

    @property
    def anchor(self) -> str:
        return "term-" + re.sub(r"\W+", "-", self.english.lower()).strip("-")


def terms() -> list[Term]:
    """All rows of the glossary's tables."""
    cells = notebooks.read(notebooks.ROOT / f"{PAGE}.ipynb")["cells"]
    return [Term(*row) for cell in cells for row in ROW.findall(notebooks.source(cell))]


def script(terms: list[Term]) -> str:
    """What site/_static/site.js shows, by anchor."""
    entries = {t.anchor: [t.english, t.chinese, notebooks.plain(t.text)] for t in terms}
    return f"window.GLOSSARY = {json.dumps(entries, ensure_ascii=False)};\n"


def mark(doctree: nodes.document, terms: list[Term], uri: str) -> None:
    """Make links of terms. `uri` is the glossary's address, seen from this page."""
    by_name = {term.english.lower(): term for term in terms}
    names = sorted(map(re.escape, by_name), key=len, reverse=True)
    pattern = re.compile(rf"\b({'|'.join(names)})(?:e?s)?\b", re.IGNORECASE)
    for section in [part for top in doctree.children for part in top.children]:
        if not isinstance(section, nodes.section):
            continue
        todo = set(terms)
        for text in filter(is_prose, list(section.findall(nodes.Text))):
            new: list[nodes.Node] = []
            end = 0
            for found in pattern.finditer(text):
                term = by_name[found[1].lower()]
                if term in todo:
                    todo.remove(term)
                    address = {"internal": True, "refuri": f"{uri}#{term.anchor}"}
                    link = nodes.reference("", found[0], classes=["term"], **address)
                    new += [nodes.Text(text[end : found.start()]), link]
                    end = found.end()
            if new:
                text.parent.replace(text, [*new, nodes.Text(text[end:])])


def is_prose(node: nodes.Node) -> bool:
    """Whether a text is running text: in a paragraph, and in nothing that stands apart."""
    above: list[nodes.Node] = []
    while (node := node.parent) is not None:
        above.append(node)
    return any(isinstance(a, nodes.paragraph) for a in above) and not any(
        isinstance(a, APART) for a in above
    )


def anchor_rows(doctree: nodes.document, terms: list[Term]) -> None:
    """Give each row of the glossary's tables the id of its term."""
    by_name = {term.english: term for term in terms}
    for row in doctree.findall(nodes.row):
        if term := by_name.get(row[0].astext()):
            row["ids"].append(term.anchor)


def setup(app: Any) -> dict[str, bool]:
    known = terms()

    def resolved(app: Any, doctree: nodes.document, docname: str) -> None:
        if docname == PAGE:
            anchor_rows(doctree, known)
        elif lesson := re.fullmatch(r"notebooks/(\d\d)_\w+", docname):
            taught = [term for term in known if term.lesson <= lesson[1]]
            mark(doctree, taught, app.builder.get_relative_uri(docname, PAGE))

    app.connect("doctree-resolved", resolved)
    static = Path(app.srcdir) / "_static"
    static.mkdir(exist_ok=True)
    (static / "glossary.js").write_text(script(known), "utf-8")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
