"""Graders of lesson 04: the dense CRF."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader

Formula = Callable[[float, float], float]


@grader
def what_a_vote_is_worth(most_sure: Any) -> str:
    """most_sure(w_appearance, w_smooth): the largest p that certain neighbours can outvote."""
    cases = [(5.0, 3.0), (1.0, 0.5), (0.0, 0.0), (0.25, 2.0)]
    values = [most_sure(*case) for case in cases]
    for case, value in zip(cases, values, strict=True):
        expect(
            isinstance(value, Real) and not isinstance(value, bool),
            f"most_sure{case} is {value!r}: expected a probability, one number",
        )

    def right(a: float, b: float) -> float:
        return 1 / (1 + math.exp(-(a + b)))

    mistakes: dict[str, Formula] = {
        "that is the other end: a pixel so doubtful of A is for B already. Which p is too sure?": (
            lambda a, b: 1 - right(a, b)
        ),
        "those are the odds p / (1 - p) at the tipping point: solve them for p": (
            lambda a, b: math.exp(a + b)
        ),
        "those are the nats between the two logits: log(p / (1 - p)) equals them, solve for p": (
            lambda a, b: a + b
        ),
        "the unary of A counts, too: B must make up for log p - log(1 - p), not for -log(1 - p) "
        "alone": (lambda a, b: 1 - math.exp(-(a + b))),
        "only the appearance kernel votes here: both messages are 1, so add both weights": (
            lambda a, b: right(a, 0)
        ),
        "only the smoothness kernel votes here: both messages are 1, so add both weights": (
            lambda a, b: right(0, b)
        ),
        "the stronger kernel does not silence the other: messages add up, and so do weights": (
            lambda a, b: right(max(a, b), 0)
        ),
        "messages are added to the logits, not multiplied: w1 + w2": lambda a, b: right(a * b, 0),
        "a pair counts once in the energy, but a pixel feels its whole message: no factor 1/2": (
            lambda a, b: right((a + b) / 2, 0)
        ),
        "the weight is in nats, so it is an exponent: odds of e^(w1 + w2), not of w1 + w2": (
            lambda a, b: (a + b) / (1 + a + b)
        ),
    }
    for hint, mistake in mistakes.items():
        expect(not _all_close(values, [mistake(*case) for case in cases]), hint)
    for case, value in zip(cases, values, strict=True):
        expect(
            math.isclose(value, right(*case), abs_tol=1e-6),
            f"most_sure{case} is {value:.5g}: set log p equal to log(1 - p) + what B is sent, and "
            "solve for p",
        )
    return (
        f"log-odds of w1 + w2: with v1's 5 and 3 a pixel surer than {right(5, 3):.5f} cannot be "
        "moved by anyone"
    )


@grader
def settings_for_textures(settings: Any) -> str:
    """Arguments of dense_crf with which it helps on two scenes where v1's values hurt."""
    import torch

    from deeplab_lite import checkpoints, metrics, scenes
    from deeplab_lite.crf import dense_crf

    expect(
        isinstance(settings, dict) and all(isinstance(name, str) for name in settings),
        f"{settings!r}: give a dict of arguments of dense_crf, as {{'w_appearance': 5}}",
    )
    chosen = {"w_appearance": 5, "w_smooth": 3, "sigma_rgb": 3, "iterations": 10} | settings
    expect(
        any(chosen[name] != 0 for name in ("w_appearance", "w_smooth")) and chosen["iterations"],
        "nothing votes: without weights or iterations the map stays as it was. Keep the term that "
        "helps",
    )
    network, gains, sentences = checkpoints.load("v1-scenes"), [], []
    for seed in (2_000_010, 2_000_040):
        image, label = scenes.scene(seed, outline=0)
        with torch.no_grad():
            probs = network(scenes.normalize(image)[None])[0].softmax(0)
        maps = probs.argmax(0), dense_crf(probs, image, **settings).argmax(0)
        truth = torch.from_numpy(label)
        old, new = (float(metrics.miou(metrics.confusion_matrices(m, truth, 9)[0])) for m in maps)
        gains.append(new - old)
        sentences.append(f"scene {seed}: {old:.2f} to {new:.2f}")
    summary = ", ".join(sentences)
    if min(gains) <= 0.001:
        expect(chosen["w_appearance"] != 0, f"{summary}. Only smoothness is left: it has no edges")
        expect(
            chosen["sigma_rgb"] > 3,
            f"{summary}. Within one shape, colours differ by far more than {chosen['sigma_rgb']}: "
            "which value says how unlike two pixels may be that pull on each other?",
        )
        expect(False, f"{summary}. The right value grew; change the others less, or it more")
    return f"{summary}. With a wider colour sigma a textured shape votes as one"


@grader
def mean_field_step(step: Any) -> str:
    """step(q, probs, k1, k2, w1, w2, mu): one update of all pixels, N x K."""
    import torch
    from torch import Tensor

    draw = torch.Generator().manual_seed(0)
    pixels, classes, w1, w2 = 30, 4, 1.5, 0.75

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    q, probs = (torch.softmax(3 * random(pixels, classes), 1) for _ in range(2))
    k1, k2 = (a @ a.t() / pixels for a in (random(pixels, 5), random(pixels, 5)))
    mu = random(classes, classes)
    mu = (mu + mu.t()) * (1 - torch.eye(classes, dtype=torch.float64))
    marginals = step(q.clone(), probs.clone(), k1.clone(), k2.clone(), w1, w2, mu.clone())
    expect(isinstance(marginals, Tensor), f"step returned {type(marginals).__name__}, no tensor")
    expect(
        marginals.shape == q.shape,
        f"step gives {tuple(marginals.shape)} for {pixels} pixels and {classes} classes: expected "
        f"{tuple(q.shape)}",
    )
    logits, filtered = probs.log(), w1 * k1 @ q + w2 * k2 @ q
    scores = {
        "a penalty lowers a class's logit: subtract it": logits + filtered @ mu,
        "that is Potts: the matrix is left out, so all disagreements cost the same": (
            logits + filtered
        ),
        "the network is left out: logits are log probs, plus what the neighbours say": (
            -filtered @ mu
        ),
        "log q in place of log probs: then the old messages are counted again at every step": (
            q.log() - filtered @ mu
        ),
        "probs in place of their log: energies are in nats": probs - filtered @ mu,
        "that is +unary: what the network says against a class lowers its logit": (
            -logits - filtered @ mu
        ),
        "k2 is left out: both kernels send messages": logits - w1 * k1 @ q @ mu,
        "k1 is left out: both kernels send messages": logits - w2 * k2 @ q @ mu,
        "the weights are left out: w1 and w2 say what a message is worth": (
            logits - (k1 @ q + k2 @ q) @ mu
        ),
        "the messages were filtered from probs: they come from q, what the pixels think now": (
            logits - (w1 * k1 @ probs + w2 * k2 @ probs) @ mu
        ),
    }
    expect(
        not torch.allclose(marginals, torch.softmax(logits - filtered @ mu, 0).to(marginals)),
        "softmax over pixels: each pixel's classes should sum to 1, so dim=1",
    )
    for hint, wrong in scores.items():
        for mistake in (torch.softmax(wrong, 1), wrong):
            expect(not torch.allclose(marginals, mistake.to(marginals)), hint)
    right = logits - filtered @ mu
    expect(
        not torch.allclose(marginals, right.to(marginals)),
        "those are the logits: softmax makes marginals of them",
    )
    sums = marginals.sum(1)
    expect(
        torch.allclose(sums, torch.ones_like(sums)),
        f"a pixel's classes sum to {float(sums[0]):.3g}: a softmax over dim=1 makes that 1",
    )
    expect(
        torch.allclose(marginals, torch.softmax(right, 1).to(marginals)),
        "close in form, not in value: softmax of log probs - (w1 k1 q + w2 k2 q) mu",
    )
    certain = torch.eye(classes, dtype=torch.float64)[torch.arange(pixels) % classes]
    marginals = step(q.clone(), certain.clone(), k1.clone(), k2.clone(), w1, w2, mu.clone())
    expect(
        bool((marginals > 0).all()),
        "right, until a probability is 0: its log is minus infinity, a veto that no neighbour can "
        "lift. A floor of 1e-5 under probs makes it 11.5 nats",
    )
    return "one step with any matrix of penalties; with 1 off the diagonal it is Potts again"


def _all_close(values: list[float], other: list[float]) -> bool:
    return all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(values, other, strict=True))
