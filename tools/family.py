"""The shipped family, trained on the scenes: `make train`. A run that was stopped goes on.

    python -m tools.family [MODEL ...]     all of them, or some; variants, too

Every network learns from scratch (the one on EfficientNet-Lite0 from ImageNet) for the same steps
on the same scenes. The weights and card of one seed go to assets/checkpoints, the curves of all
seeds and of the variants to assets/curves. Scores on the test scenes are added by
`python -m benchmarks.family`.
"""

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from deeplab_lite.models.zoo import FAMILY
from deeplab_lite.workshop.train import Config, log, train

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS, CURVES = ROOT / "assets" / "checkpoints", ROOT / "assets" / "curves"

#             the same for all: 64,000 scenes of 97 pixels
SAME = Config(
    size=97, batch=16, steps=4_000, precision="bf16-mixed", threads=1, workers=0, val_images=200
)
TWICE = ("v1-small", "v1", "v2", "v3", "v3plus")  # with a second seed: what luck is worth
KEPT = {"v1": 1}  # the seed whose weights are shipped; 0 for the others
LITE0 = replace(SAME, model="v3plus-lite0", init="imagenet", lr=1e-3, steps=1_200)
#           what another schedule and other rates would give: curves only
VARIANTS = {
    "v2-step": replace(SAME, model="v2", schedule="step", drop_every=1_333),
    "v2-aspps": replace(SAME, model="v2", options='{"rates": [1, 2, 3, 4]}'),
}

# What its scores say of its idea; tests/workshop/test_shipped.py holds them to it.
NOTES = {
    "v1-small": "v1 without LargeFOV: fc6 at rate 1. It is no worse than v1 on scenes of 129 "
    "pixels: it sees 259 pixels without the rate, and there is nothing beyond to be seen.",
    "v1": "LargeFOV does not help here: see v1-small. Corners and thin handles are lost at output "
    "stride 8, where perfect labels, enlarged as bilinearly, score little more.",
    "v2": "Four rates are better than one at every radius, with nearly twice the weights in all.",
    "v3": "At output stride 16 and without a decoder, small shapes are lost; perfect labels at "
    "that stride score less. Set to output stride 8, it names more of the shapes of any radius, "
    "and spills more over their edges. What it adds to v2 cannot show on images this small.",
    "v3plus": "The decoder is what these scenes ask for: most shapes are small beside the stride.",
    "v3plus-lite0": "It began from ImageNet, and saw a third of the scenes that the others saw.",
}


def runs(name: str) -> list[Config]:
    """The runs of a member of the family, one for each seed; the run of a variant."""
    if name in VARIANTS:
        return [replace(VARIANTS[name], out=f"runs/{name}-scenes-0")]
    if name == "v3plus-lite0":
        return [LITE0]
    return [replace(SAME, model=name, seed=seed) for seed in ((0, 1) if name in TWICE else (0,))]


def ship(config: Config) -> None:
    """Copy a run's weights and card to assets/checkpoints."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    trained = ROOT / config.folder / f"{config.name}.json"
    card = json.loads(trained.read_text("utf-8")) | {"notes": NOTES[config.model]}
    shutil.copy(trained.with_suffix(".safetensors"), CHECKPOINTS)
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    (CHECKPOINTS / trained.name).write_text(text, "utf-8")


def save_curve(run: Path, to: Path) -> None:
    """Loss and score by images, from the log.csv in a run's folder."""
    rows = [(r["images"], r["loss"], r["val_miou"]) for r in log.read(run / "log.csv")]
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("w", newline="") as file:
        csv.writer(file).writerows([("images", "loss", "val_miou"), *rows])


def main(names: list[str]) -> None:
    for name in names or (*FAMILY, *VARIANTS):
        if name not in (*FAMILY, *VARIANTS):
            sys.exit(f"no model is called {name!r}: there are {', '.join((*FAMILY, *VARIANTS))}")
        for config in runs(name):
            if not (ROOT / config.folder / f"{config.name}.safetensors").exists():
                train(replace(config, resume=True))
            to = CURVES / f"{name}-{config.data}-{config.seed}.csv"
            save_curve(ROOT / config.folder, to)
            if name in FAMILY and config.seed == KEPT.get(name, 0):
                ship(config)
                print(f"{name}: seed {config.seed} shipped")


if __name__ == "__main__":
    main(sys.argv[1:])
