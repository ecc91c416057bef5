"""The search for the CRF's parameters finds planted ones, and tries nothing twice."""

import sys

import numpy as np
import pytest
import torch

from deeplab_lite import scenes
from deeplab_lite.crf import dense_crf, search
from deeplab_lite.crf.search import GRID

SMALL = {"w_appearance": (2, 8), "sigma_xy": (4, 20), "sigma_rgb": (4, 12, 36)}


def planted(images=3, size=48, **settings):
    """(probs, images, labels): noisy scenes whose labels are what these settings make of them."""
    problems = []
    for seed in range(images):
        image, label = scenes.scene(seed, size, scenes.SMALL, outline=0)
        logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (9, size, size)))
        truth = torch.from_numpy(label).long()[None]
        probs = logits.scatter_add_(0, truth, torch.full_like(logits[:1], 1.5)).softmax(0)
        problems.append((probs, image, dense_crf(probs, image, **settings).argmax(0)))
    return list(zip(*problems, strict=True))


@pytest.mark.parametrize(
    "best", [(8, 20, 12), (2, 4, 36), (8, 12, 8), (5, 20, 24)], ids=lambda b: "/".join(map(str, b))
)
def test_the_search_finds_a_planted_optimum(best):
    """On the coarse grid, or halfway between its values."""
    best = dict(zip(SMALL, best, strict=True))
    probs, images, labels = planted(**best)
    found = search(probs, images, labels, SMALL)
    assert found.best == best and found.trials[0].miou == 1
    assert found.baseline < 0.6
    scores = [trial.miou for trial in found.trials]
    assert scores == sorted(scores, reverse=True)


def test_no_setting_is_tried_twice_and_progress_is_told(monkeypatch):
    probs, images, labels = planted(images=1)
    seen, told = [], []
    module = sys.modules[search.__module__]
    monkeypatch.setattr(
        module, "dense_crf", lambda p, i, **s: seen.append(s) or dense_crf(p, i, **s)
    )
    found = search(
        probs, images, labels, SMALL, rounds=2, progress=lambda *t: told.append(t), iterations=3
    )
    settings = [tuple(s.items()) for s in seen]
    assert len(settings) == len(set(settings)) == len(found.trials) == len(told) + 1
    assert [done for done, _, _ in told] == list(range(1, len(told) + 1))
    assert told[0][1] == 12 and told[-1][0] == told[-1][1] > 12
    assert all(s["iterations"] == 3 for s in seen if len(s) > 1)
    assert found.best["iterations"] == 3
    for name, values in SMALL.items():
        tried = {trial.settings[name] for trial in found.trials if name in trial.settings}
        assert min(tried) == min(values) and max(tried) == max(values)


def test_where_a_crf_only_harms_the_best_is_none():
    image, label = scenes.scene(5, 48, scenes.SMALL, outline=0)
    sure = np.eye(9)[label].transpose(2, 0, 1) * 0.2 + 0.8 / 9
    found = search([sure], [image], [label], {"w_smooth": (30, 60), "iterations": (2, 5)})
    assert found.baseline == 1 and found.best == {"iterations": 0}
    assert (dense_crf(sure, image, **found.best).argmax(0) == label).all()
    assert {t.settings["iterations"] for t in found.trials} <= {0, 2, 3, 5}


def test_the_table_has_the_best_rows_and_the_baseline():
    probs, images, labels = planted(images=1)
    found = search(probs, images, labels, SMALL, rounds=0)
    title, *rows = found.table(rows=3).splitlines()
    assert title.split() == [*SMALL, "mIoU", "gain"]
    assert len(rows) == 4 and rows[-1].split()[-2:] == ["no", "CRF"]
    assert f"{found.trials[0].miou:.4f}" in rows[0] and f"{found.baseline:.4f}" in rows[-1]
    assert len({len(row) for row in (title, *rows)}) == 1


def test_the_grid_is_that_of_deeplab_v1():
    assert np.prod([len(values) for values in GRID.values()]) == 96
    assert [(min(v), max(v)) for v in GRID.values()] == [(5, 10), (50, 100), (3, 10)]


def test_a_search_that_cannot_be_is_refused():
    probs, images, labels = planted(images=2)
    for arguments, words in (
        ((probs, images[:1], labels, SMALL), "2 probs, 1 images and 2 labels"),
        (([], [], [], SMALL), "at least one"),
        ((probs, images, labels, {}), "grid has nothing"),
        ((probs, images, labels, {"sigma_xy": ()}), "grid has nothing"),
    ):
        with pytest.raises(ValueError, match=words):
            search(*arguments)
    with pytest.raises(ValueError, match="sigma_xy is both"):
        search(probs, images, labels, SMALL, sigma_xy=3)
    with pytest.raises(ValueError, match="label value 99"):
        search(probs, images, [np.full((48, 48), 99)] * 2, SMALL)
