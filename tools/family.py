"""The family and the ladder, trained on the scenes: `make train`. A run that was stopped goes on.

    python -m tools.family backbone          learns to name single shapes: six minutes on one thread
    python -m tools.family [RUNG ...]        all rungs, or some; some twenty minutes each
    python -m tools.family --seed 1 [RUNG ...]

The papers start from ImageNet, so the ladder has an ImageNet of its own: pictures of 129 pixels
with one shape each. All rungs begin with this backbone, see the same scenes in the same order, and
differ by one option. The family's first seed goes to assets/checkpoints, all else to assets/ladder;
curves go to assets/curves. Scores are added by `python -m benchmarks.ladder`.
"""

import argparse
import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from deeplab_lite import checkpoints
from deeplab_lite.models import zoo
from deeplab_lite.models.v2 import MultiScale
from deeplab_lite.models.zoo import FAMILY, VGG, build_backbone
from deeplab_lite.scenes import CLASSES, ORDINARY, normalize, scene
from deeplab_lite.workshop.train import Config, log, train
from deeplab_lite.workshop.train.start_from import start_from
from deeplab_lite.workshop.train.stream import open_data

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS, RUNGS_AT, CURVES = (ROOT / "assets" / n for n in ("checkpoints", "ladder", "curves"))
BACKBONE = RUNGS_AT / "backbone.safetensors"

# ---- The backbone --------------------------------------------------------------------------------

SIDE = 129
ONE = replace(ORDINARY, radius=(12.0, 60.0), shapes=(1, 1), side=SIDE, company=0.0)
ALONE = Config(
    model="one-shape", data="shapes", size=SIDE, batch=64, steps=1_200, lr=4e-3, warmup=100,
    ema=0.99, precision="bf16-mixed", threads=1, workers=1, val_every=200, tensorboard=False,
)  # fmt: skip


class OneShape(Dataset[tuple[Tensor, Tensor]]):
    """Pictures of one shape; the label is its class at every pixel."""

    classes = CLASSES

    def __init__(self, first: int, length: int):
        self.first, self.length = first, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = scene(self.first + index, difficulty=ONE, outline=0)
        return normalize(image), torch.full((SIDE, SIDE), int(label.max()))


class Classifier(nn.Module):
    """VGG-16 at its own stride 32, the mean of its map, one score for each class."""

    def __init__(self) -> None:
        super().__init__()
        options = {name: VGG[name] for name in ("width", "batch_norm", "pools")}
        self.backbone = build_backbone("vgg16", 32, **options)
        self.classifier = nn.Conv2d(self.backbone.out_channels, len(CLASSES), 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.classifier(self.backbone(x)["out"].mean((2, 3), keepdim=True))
        return scores.expand(-1, -1, *x.shape[-2:])


def train_backbone() -> None:
    """Train the classifier, and keep its backbone's weights."""
    config = replace(ALONE, out=str(ROOT / "runs" / "one-shape"), resume=True)
    torch.manual_seed(0)
    data = OneShape(3_000_000_000, 1_000_000_000), OneShape(1_500_000, 500)
    trained = train(config, Classifier(), data)
    RUNGS_AT.mkdir(parents=True, exist_ok=True)
    whole = trained.model.state_dict()
    state = {name: whole[name].contiguous() for name in whole if name.startswith("backbone.")}
    save_file(state, BACKBONE)
    save_curve(ROOT / config.folder, CURVES / "backbone.csv")


# ---- The rungs -----------------------------------------------------------------------------------

# 16,000 scenes; the same for all but for what a rung names.
SAME = Config(
    data="scenes", size=ORDINARY.side, init=str(BACKBONE.relative_to(ROOT)), batch=8, steps=2_000,
    lr=4e-3, warmup=100, ema=0.995, precision="bf16-mixed", threads=1, workers=0, val_every=250,
    val_images=100, tensorboard=False, progress=False,
)  # fmt: skip
#           another member of the family, with one of its options changed
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "v3-no-pooling": ("v3", {"image_pooling": False}),
    "v3-mg124": ("v3", {"multi_grid": (1, 2, 4)}),
    "v2-aspp-s": ("v2", {"rates": (2, 4, 8, 12)}),
    "v2-equal": ("v2", {"rates": (12, 12, 12, 12)}),
    "v3-os8": ("v3", {"output_stride": 8, "rates": (6, 12, 18)}),
    "v1-4x4": ("v1", {"fc6": "4x4", "rate": 4}),
    "v3-mg121": ("v3", {"multi_grid": (1, 2, 1)}),
    "v3-far": ("v3", {"rates": (6, 12, 18)}),
    "v3-near": ("v3", {"rates": (1, 1, 1)}),
    "v3-near-no-pooling": ("v3", {"rates": (1, 1, 1), "image_pooling": False}),
    "v3plus-separable": ("v3plus", {"separable": True}),
}
RUNS = {name: replace(SAME, model=name) for name in FAMILY} | {
    name: replace(SAME, model=model, options=json.dumps(options))
    for name, (model, options) in VARIANTS.items()
}
RUNS["v3plus-lite0"] = replace(RUNS["v3plus-lite0"], init="imagenet", lr=1e-3, steps=1_000)
RUNS["v2-step"] = replace(RUNS["v2"], schedule="step", drop_every=667)
RUNS["v3-crop161"] = replace(RUNS["v3"], size=161)  # maps of 11 positions
# v3 trained for 500 steps more with its batch norm as it is: at stride 8, as in section 4.1 of the
# paper, and for comparison at 16
LATER = {"v3-second-stage": 8, "v3-longer": 16}
RUNS |= dict.fromkeys(
    LATER, replace(RUNS["v3"], init="", steps=500, lr=2e-4, warmup=50, freeze_bn="all")
)
SCALED = "v2-scales"  # v2 at three scales fused by max, in training as well: its section 4.1.2
RUNS[SCALED] = RUNS["v2"]


def weights(name: str, seed: int) -> Path:
    """Where the weights of a run are kept."""
    if name in FAMILY and seed == 0:
        return CHECKPOINTS / f"{name}-scenes.safetensors"
    return RUNGS_AT / f"{name}-{seed}.safetensors"


def curve(name: str, seed: int) -> Path:
    """Where its curve is kept."""
    return CURVES / f"{name}-scenes-{seed}.csv"


def train_rung(name: str, seed: int) -> None:
    """Train a rung with a seed, and keep its weights, card and curve."""
    config = replace(RUNS[name], seed=seed, out=f"runs/ladder/{name}-{seed}", resume=True)
    folder, kept = ROOT / config.folder, weights(name, seed)
    kept.parent.mkdir(parents=True, exist_ok=True)
    if name == SCALED:
        torch.manual_seed(seed)  # begins as v2 does
        network = zoo.build(config.model)
        start_from(network, config.init)
        trained = train(replace(config, init=""), MultiScale(network), open_data(config)[:2])
        keep(name, seed, trained.model.model, "v2", {"val, three scales": trained.metrics})
    elif name in LATER:
        model = checkpoints.load(weights("v3", seed))
        model.output_stride = LATER[name]  # type: ignore[assignment]
        trained = train(config, model, open_data(config)[:2])
        trained.model.output_stride = 16  # as its card says; the second stage is asked at 8
        keep(name, seed, trained.model, "v3", {f"val at OS{LATER[name]}": trained.metrics})
    else:
        train(config)
        for suffix in (".safetensors", ".json"):
            shutil.copy(folder / f"{config.name}{suffix}", kept.with_suffix(suffix))
    save_curve(folder, curve(name, seed))


def keep(name: str, seed: int, network: nn.Module, like: str, metrics: dict[str, Any]) -> None:
    """Save a network that `train` was given, with the card of one that is built alike."""
    card = checkpoints.card(weights(like, seed)) | {"metrics": metrics}
    card["command"] = f"python -m tools.family {name} --seed {seed}"
    checkpoints.save(network, weights(name, seed), card)


def save_curve(run: Path, to: Path) -> None:
    """Loss and score by images, from the log.csv in a run's folder."""
    rows = [(r["images"], r["loss"], r["val_miou"]) for r in log.read(run / "log.csv")]
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("w", newline="") as file:
        csv.writer(file).writerows([("images", "loss", "val_miou"), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rungs", nargs="*", choices=["backbone", *RUNS, []], metavar="RUNG")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.rungs or ["backbone", *RUNS]:
        if name == "backbone":
            train_backbone()
        elif not weights(name, arguments.seed).exists():
            train_rung(name, arguments.seed)


if __name__ == "__main__":
    main()
