"""The graders of lesson 04: stubs, right answers, and each misconception by its name."""

import math

import pytest
import torch

from deeplab_lite.classroom import exercises as check


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize(
    "most_sure, start",
    [
        (..., "· not attempted yet"),
        (lambda a, b: ..., "· not attempted yet"),
        (lambda a, b: sigmoid(a + b), "✓ log-odds of w1 + w2: with v1's 5 and 3"),
        (lambda a, b: math.exp(a + b) / (1 + math.exp(a + b)), "✓ log-odds of w1 + w2"),
        (lambda a, b: float(torch.sigmoid(torch.tensor(a + b).double())), "✓ log-odds of w1 + w2"),
        (lambda a, b: sigmoid(-a - b), "✗ that is the other end"),
        (lambda a, b: math.exp(a + b), "✗ those are the odds p / (1 - p)"),
        (lambda a, b: a + b, "✗ those are the nats between the two logits"),
        (lambda a, b: 1 - math.exp(-a - b), "✗ the unary of A counts, too"),
        (lambda a, b: sigmoid(a), "✗ only the appearance kernel votes"),
        (lambda a, b: sigmoid(b), "✗ only the smoothness kernel votes"),
        (lambda a, b: sigmoid(max(a, b)), "✗ the stronger kernel does not silence the other"),
        (lambda a, b: sigmoid(a * b), "✗ messages are added to the logits, not multiplied"),
        (lambda a, b: sigmoid((a + b) / 2), "✗ a pair counts once in the energy"),
        (lambda a, b: (a + b) / (1 + a + b), "✗ the weight is in nats"),
        (lambda a, b: 0.9, "✗ most_sure(5.0, 3.0) is 0.9: set log p equal to"),
        (lambda a, b: None, "✗ most_sure(5.0, 3.0) is None"),
        (lambda a, b: "sure", "✗ most_sure(5.0, 3.0) is 'sure'"),
        (lambda a: a, "✗ your code stopped with TypeError"),
        (0.99966, "✗ your code stopped with TypeError"),
    ],
)
def test_what_a_vote_is_worth(most_sure, start, capsys):
    assert said(capsys, check.what_a_vote_is_worth, most_sure).startswith(start)


@pytest.mark.parametrize(
    "settings, start, then",
    [
        (..., "· not attempted yet", ""),
        ({"sigma_rgb": 20}, "✓ scene 2000010: 0.34 to 0.47, scene 2000040: 0.71", "votes as one"),
        ({}, "✗ scene 2000010: 0.34 to 0.31, scene 2000040: 0.71 to 0.69", "which value says"),
        ({"w_smooth": 0}, "✗ scene 2000010:", "which value says"),
        ({"w_appearance": 0, "w_smooth": 20}, "✗ scene 2000010:", "Only smoothness is left"),
        ({"sigma_rgb": 20, "w_smooth": 30}, "✗ scene 2000010:", "The right value grew"),
        ({"w_smooth": 0, "w_appearance": 0}, "✗ nothing votes", ""),
        ({"iterations": 0}, "✗ nothing votes", ""),
        ({"w_smoothness": 0}, "✗ your code stopped with TypeError", "w_smoothness"),
        ({"sigma_rgb": 0}, "✗ your code stopped with ValueError", "sigma_rgb"),
        ({3: 0}, "✗ {3: 0}: give a dict", ""),
        (5, "✗ 5: give a dict", ""),
    ],
)
def test_settings_for_textures(settings, start, then, capsys):
    output = said(capsys, check.settings_for_textures, settings)
    assert output.startswith(start)
    assert then in output


def step(
    start=lambda q, probs: probs.clamp(min=1e-5).log(),
    sign=-1,
    penalty=lambda m, mu: m @ mu,
    said_of=lambda q, probs: q,
    first=1,
    second=1,
    weighted=True,
    end=lambda logits: torch.softmax(logits, 1),
):
    """The right update, or one changed in one place."""

    def update(q, probs, k1, k2, w1, w2, mu):
        w1, w2 = (w1, w2) if weighted else (1, 1)
        message = (first * w1 * k1 + second * w2 * k2) @ said_of(q, probs)
        return end(start(q, probs) + sign * penalty(message, mu))

    return update


@pytest.mark.parametrize(
    "update, start",
    [
        (..., "· not attempted yet"),
        (lambda *given: ..., "· not attempted yet"),
        (step(), "✓ one step with any matrix of penalties"),
        (step(sign=1), "✗ a penalty lowers a class's logit"),
        (step(sign=1, penalty=lambda m, mu: m), "✗ that is Potts"),
        (step(start=lambda q, probs: 0), "✗ the network is left out"),
        (step(start=lambda q, probs: q.log()), "✗ log q in place of log probs"),
        (step(start=lambda q, probs: probs), "✗ probs in place of their log"),
        (step(start=lambda q, probs: -probs.log()), "✗ that is +unary"),
        (step(second=0), "✗ k2 is left out"),
        (step(first=0), "✗ k1 is left out"),
        (step(weighted=False), "✗ the weights are left out"),
        (step(said_of=lambda q, probs: probs), "✗ the messages were filtered from probs"),
        (step(end=lambda logits: torch.softmax(logits, 0)), "✗ softmax over pixels"),
        (step(end=lambda logits: logits), "✗ those are the logits"),
        (step(end=torch.exp), "✗ a pixel's classes sum to"),
        (step(start=lambda q, probs: probs.log()), "✗ right, until a probability is 0"),
        (step(start=lambda q, probs: 2 * probs.log()), "✗ close in form, not in value"),
        (lambda q, *rest: q[0], "✗ step gives (4,) for 30 pixels and 4 classes"),
        (lambda *given: None, "✗ step returned NoneType, no tensor"),
        (lambda q: q, "✗ your code stopped with TypeError"),
        (lambda q, probs, k1, k2, w1, w2, mu: mu @ q, "✗ your code stopped with RuntimeError"),
    ],
)
def test_mean_field_step(update, start, capsys):
    assert said(capsys, check.mean_field_step, update).startswith(start)
