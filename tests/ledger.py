"""Every number in a lesson's prose stands on something that was computed, or names its paper.

A number counts if it has three digits or a decimal point. It must be (a) in a text output of its
notebook, rounding of decimals allowed, (b) a whole number in the notebook's code, or (c) in
FACTS of facts.py. Not read: code spans, links, names (ResNet-101), section numbers, years.
"""

import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from hygiene import Notebook

from tools.notebooks import source


@dataclass(frozen=True)
class Fact:
    """A number that a test computes: `compute()`, rounded as the quote is, must give the quote."""

    quote: str
    what: str
    compute: Callable[[], object]


@dataclass(frozen=True)
class Paper:
    """A number that a paper measured, which no test here can compute."""

    quote: str
    what: str
    source: str  # arXiv id or address, and the table or section


YEARS = range(1950, 2031)
NOT_READ = [
    r"```.*?```",
    r"`[^`]*`",
    r"\]\([^)]*\)",  # the target of a link
    r"https?://\S+",
    r"arXiv:\s*\d{4}\.\d{4,5}(?:v\d)?",
    r"</?[a-zA-Z][^>]*>",
    r"_\{\w+\}",  # a subscript
    r"(?i:\b(?:sections?|tables?|figures?|fig\.|equations?|eq\.|appendix|version|python)|§)"
    r"\s*\d+(?:\.\d+)*",
]
# A digit after a letter, or a letter and a hyphen, belongs to a name: VGG-16, conv5, R101.
NUMBER = re.compile(r"(?<![\w.\\])(?<![A-Za-z]-)(?:\d+(?:\.\d+)?|\.\d+)(?![\d.]*\d)")
PRINTED = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?|\.\d+", re.IGNORECASE)
TEXTS = ("text/plain", "text/html", "text/markdown", "text/latex")


def join_groups(text: str) -> str:
    """1,024 and LaTeX's 1{,}024 and 1\\,024 as 1024."""
    return re.sub(r"(?<=\d)(?:,|\{,\}|\\,)(?=\d{3}(?!\d))", "", text)


def quoted(markdown: str) -> Iterator[str]:
    """The numbers of a piece of prose that need a ground to stand on, as written."""
    for pattern in NOT_READ:
        markdown = re.sub(pattern, " ", markdown, flags=re.DOTALL)
    markdown = re.sub(r"(?<=\d)\s*(?:[x×]|\\times)\s*(?=\d)", " × ", join_groups(markdown))
    for number in NUMBER.findall(markdown):
        is_year = number.isdigit() and len(number) == 4 and int(number) in YEARS
        if ("." in number or len(number) >= 3) and not is_year:
            yield number


def printed(notebook: Notebook) -> set[Decimal]:
    """All numbers in the text outputs of a notebook."""
    found = set()
    for _, _, output in notebook.outputs():
        texts = [output.get("text", "")] + [output.get("data", {}).get(kind, "") for kind in TEXTS]
        for text in texts:
            found |= {Decimal(number) for number in PRINTED.findall(join_groups("".join(text)))}
    return found


def settings(notebook: Notebook) -> set[Decimal]:
    """All whole numbers in the code of a notebook; strings and comments do not count."""
    found = set()
    for _, cell in notebook.code():
        for token in tokenize.generate_tokens(io.StringIO(source(cell)).readline):
            if token.type == tokenize.NUMBER and re.fullmatch(r"[\d_]+", token.string):
                found.add(Decimal(token.string.replace("_", "")))
    return found


def agrees(quote: str, value: Decimal) -> bool:
    """Whether `value`, rounded to as many decimals as the quote has, is the quote."""
    decimals = len(quote.partition(".")[2])
    half = Decimal(5).scaleb(-decimals - 1) if decimals else Decimal(0)
    return abs(value - Decimal(quote)) <= half


def unfounded(notebook: Notebook, facts: list[Fact | Paper]) -> Iterator[str]:
    """A sentence for each number in the prose of `notebook` that stands on nothing."""
    shown = printed(notebook)
    given = settings(notebook) | {Decimal(join_groups(fact.quote)) for fact in facts}
    for number, cell in enumerate(notebook.cells):
        if cell["cell_type"] == "markdown":
            for quote in quoted(source(cell)):
                if Decimal(quote) not in given and not any(agrees(quote, v) for v in shown):
                    yield (
                        f"cell {number} says {quote}: print it in this notebook, "
                        "or enter it into FACTS of tests/facts.py"
                    )
