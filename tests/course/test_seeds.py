"""The table of second trainings is of all pairs, and what lesson 08 says of it holds."""

import csv
import itertools
from dataclasses import asdict

import pytest

from benchmarks import seeds

with seeds.TABLE.open(newline="") as file:
    ROWS = list(csv.DictReader(file))
RUNS = [(name, seed) for seed in seeds.SEEDS for name in seeds.RECIPES]


def test_every_pair_is_there_once_and_its_step_is_that_of_its_scores():
    pairs = [(r["first"], int(r["first_seed"]), r["second"], int(r["second_seed"])) for r in ROWS]
    assert pairs == [(*one, *other) for one, other in itertools.combinations(RUNS, 2)]
    for row in ROWS:
        step = float(row["second_miou"]) - float(row["first_miou"])
        assert float(row["step"]) == pytest.approx(step, abs=2e-4)
        assert float(row["low"]) < step < float(row["high"])


def test_the_recipes_differ_by_their_network_only():
    first, second = (asdict(recipe) for recipe in seeds.RECIPES.values())
    assert {key for key in first if first[key] != second[key]} == {"model", "options"}


def test_some_seeds_of_one_recipe_pass_for_a_difference_and_hide_the_idea():
    same = [row for row in ROWS if row["first"] == row["second"]]
    assert 0 < sum(float(r["low"]) > 0 or float(r["high"]) < 0 for r in same) < len(same)
    scores = {(r["first"], r["first_seed"]): float(r["first_miou"]) for r in ROWS}
    scores |= {(r["second"], r["second_seed"]): float(r["second_miou"]) for r in ROWS}
    ones, twos = ([v for (n, _), v in scores.items() if n == name] for name in ("v1", "v2"))
    assert max(ones) > sorted(twos)[1] and sum(twos) - sum(ones) > 0.1
