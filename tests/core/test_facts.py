"""The ledger's entries: computed ones are right, and a paper's name their place."""

import re
from decimal import Decimal

import pytest
from facts import BASE_POOLS, FACTS, FOV_POOLS, NOTES_POOLS, pooled
from ledger import Fact, Paper, agrees, join_groups


@pytest.mark.parametrize("fact", [f for f in FACTS if isinstance(f, Fact)], ids=lambda f: f.quote)
def test_fact(fact):
    value = Decimal(str(fact.compute()))
    assert agrees(join_groups(fact.quote), value), f"{fact.what} is {value}, not {fact.quote}"


@pytest.mark.parametrize("paper", [f for f in FACTS if isinstance(f, Paper)], ids=lambda f: f.quote)
def test_a_figure_of_a_paper_names_its_place(paper):
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|https://", paper.source)
    assert re.search(r"table|section|figure|model zoo", paper.source)


@pytest.mark.parametrize(
    "pixels, pools, sizes",
    [
        (514, NOTES_POOLS, [257, 129, 65, 66, 67]),
        (306, BASE_POOLS, [154, 78, 40, 39, 39]),
        (514, BASE_POOLS, [258, 130, 66, 65, 65]),
        (321, FOV_POOLS, [161, 81, 41, 41, 41]),
        (513, FOV_POOLS, [257, 129, 65, 65, 65]),
    ],
)
def test_map_sizes_of_v1(pixels, pools, sizes):
    assert pooled(pixels, *pools) == sizes


def test_no_number_is_entered_twice_for_the_same_thing():
    entries = [(fact.quote, fact.what) for fact in FACTS]
    assert len(entries) == len(set(entries))
