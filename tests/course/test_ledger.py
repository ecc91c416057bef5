"""No lesson quotes a number that nothing stands behind; ledger.py says what counts as ground."""

from decimal import Decimal

import made_up
import pytest
from facts import FACTS
from hygiene import Notebook
from ledger import Fact, Paper, agrees, quoted, unfounded

from tools import notebooks

PATHS = notebooks.all_notebooks()


@pytest.mark.parametrize("path", PATHS, ids=lambda p: str(p.relative_to(notebooks.ROOT)))
def test_every_number_stands_on_something(path):
    problems = list(unfounded(Notebook.open(path), FACTS))
    assert not problems, "\n".join(problems)


# ---- the ledger itself ----


def notebook(tmp_path, prose, code="", output="", facts=()):
    raw = made_up.number_cells([made_up.prose(prose), made_up.code(code, made_up.printed(output))])
    return list(unfounded(Notebook(tmp_path / "01_made_up.ipynb", raw), list(facts)))


FIELD = Fact("404", "field of fc6", lambda: 404)
SCORE = Paper("59.80", "mIoU", "arXiv:1412.7062, table 1")


@pytest.mark.parametrize(
    "prose, ground",
    [
        ("fc6 sees 404 pixels.", {"output": "fc6 404 x 404"}),
        ("fc6 sees $212 + 6 \\times 32 = 404$.", {"output": "212\n404"}),
        ("It is 3.06 times less.", {"output": "ratio 3.0643"}),
        ("It has 65,140,565 parameters.", {"output": "65140565"}),
        ("It has $65{,}140{,}565$.", {"output": "65,140,565"}),
        ("A 512 x 512 image.", {"code": "image = load(size=512)"}),
        ("It has 12,800 rows.", {"code": "x = 12_800"}),
        ("fc6 sees 404.", {"facts": [FIELD]}),
        ("They report 59.8 per cent.", {"facts": [SCORE]}),
        ("It is 0.0012.", {"output": "1.2e-03"}),
    ],
)
def test_a_number_with_a_ground_passes(tmp_path, prose, ground):
    assert notebook(tmp_path, prose, **ground) == []


@pytest.mark.parametrize(
    "prose, ground",
    [
        ("fc6 sees 405 pixels.", {"output": "404", "facts": [FIELD]}),
        ("fc6 sees 404 pixels.", {"output": "404.2"}),
        ("It is 3.07 times less.", {"output": "3.0643"}),
        ("It is 3.064 times less.", {"output": "3.06"}),
        ("A rate of 0.25.", {"code": "rate = 0.25"}),
        ("fc6 sees 404.", {"code": "# 404\nname = '404'"}),
        ("mIoU 59.81.", {"facts": [SCORE]}),
        ("VGG's 404, not 308.", {"output": "404"}),
    ],
)
def test_an_invented_number_is_told(tmp_path, prose, ground):
    problems = notebook(tmp_path, prose, **ground)
    assert len(problems) == 1 and "print it in this notebook" in problems[0]


@pytest.mark.parametrize(
    "prose, numbers",
    [
        ("From 212 to 404, 3 by 3, d = 12.", ["212", "404"]),
        ("224/128, 224-404, (308), ~276; 435.", ["224", "128", "224", "404", "308", "276", "435"]),
        ("513x481 and 321 × 322", ["513", "481", "321", "322"]),
        ("a 212-pixel field, 404px", ["212", "404"]),
        (".5 or 0.25", [".5", "0.25"]),
        ("| field | 971 |", ["971"]),
        ("$R_{101} = 1{,}024$", ["1024"]),
        ("ResNet-101, resnet152, VGG-16, conv5_100, Xception-650's 971", ["971"]),
        ("In 2015, VOC 2012; but 2071 pixels", ["2071"]),
        ("`404` and [the 67th](https://a.org/404) and https://a.org/308", []),
        ("arXiv:1412.7062, section 3.2, Table 4.1, § 2.5, Python 3.11, v1.5", []),
        ("```\n404\n```\n<img width=404>", []),
        ("torchvision 0.20.1", []),
    ],
)
def test_which_numbers_are_read(prose, numbers):
    assert list(quoted(prose)) == numbers


@pytest.mark.parametrize(
    "quote, value, right",
    [
        ("404", "404", True),
        ("404", "404.0", True),
        ("404", "404.4", False),
        ("3.06", "3.0643", True),
        ("3.06", "3.055", True),
        ("3.06", "3.0549", False),
        (".5", "0.5", True),
    ],
)
def test_rounding(quote, value, right):
    assert agrees(quote, Decimal(value)) is right
