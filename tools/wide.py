"""The ladder on wide scenes: its backbone, its rungs. A run that was stopped goes on.

    python -m tools.wide backbone          learns to name single shapes: six minutes on one thread
    python -m tools.wide [RUNG ...]        all rungs, or some; a quarter of an hour each
    python -m tools.wide --seed 1 [RUNG ...]

The papers start from ImageNet, so the ladder has an ImageNet of its own: pictures of 129 pixels
with one shape each. All rungs begin with this backbone, see the same scenes in the same order, and
differ by one option. Weights and cards go to assets/wide, curves to assets/wide/curves.
"""

import argparse
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
from deeplab_lite.models.zoo import VGG, build_backbone
from deeplab_lite.scenes import CLASSES, WIDE, normalize, scene
from deeplab_lite.workshop.train import Config, train
from deeplab_lite.workshop.train.stream import open_data
from tools.family import save_curve

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "assets" / "wide"
BACKBONE = WEIGHTS / "backbone.safetensors"

# ---- The backbone --------------------------------------------------------------------------------

WIDTH, SIDE = 0.125, 129
ONE = replace(WIDE, radius=(12.0, 60.0), shapes=(1, 1), side=SIDE, company=0.0)
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
        image, label = scene(self.first + index, SIDE, ONE, outline=0)
        return normalize(image), torch.full((SIDE, SIDE), int(label.max()))


class Classifier(nn.Module):
    """VGG-16 at its own stride 32, the mean of its map, one score for each class."""

    def __init__(self) -> None:
        super().__init__()
        options = {name: VGG[name] for name in ("batch_norm", "pools")}
        self.backbone = build_backbone("vgg16", 32, width=WIDTH, **options)
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
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    whole = trained.model.state_dict()
    state = {name: whole[name].contiguous() for name in whole if name.startswith("backbone.")}
    save_file(state, BACKBONE)
    save_curve(ROOT / config.folder, WEIGHTS / "curves" / "backbone.csv")


# ---- The rungs -----------------------------------------------------------------------------------

# 16,000 scenes; the same for all but for what a rung names. Maps have 41 positions at stride 8:
# v1's and v2's rates are the papers', for crops of 321 pixels, and v3's half of those for 513.
SAME = Config(
    data="wide", size=WIDE.side, init=str(BACKBONE.relative_to(ROOT)), batch=8, steps=2_000,
    lr=4e-3, warmup=100, ema=0.995, precision="bf16-mixed", threads=1, workers=0, val_every=250,
    val_images=100, tensorboard=False, progress=False,
)  # fmt: skip
V1 = {"pool5a": False}  # then LargeFOV is v2 with one branch
V3 = {"multi_grid": (1, 1, 1), "output_stride": 16, "rates": (3, 6, 9)}
PLUS = V3 | {"aspp_convs": 1, "separable": False}  # v3 with a decoder, and nothing else
#             network  options, beside the width
RUNGS: dict[str, tuple[str, dict[str, Any]]] = {
    "largefov": ("v1", V1 | {"fc6": "largefov", "rate": 12}),
    "aspp-l": ("v2", {"rates": (6, 12, 18, 24)}),
    "v3-os16": ("v3", V3),
    "v3plus-plain": ("v3plus", PLUS),
    "v3-os8": ("v3", V3 | {"output_stride": 8, "rates": (6, 12, 18)}),
    "fc6-3x3": ("v1", V1 | {"fc6": "largefov", "rate": 1}),
    "aspp-s": ("v2", {"rates": (2, 4, 8, 12)}),
    "v3-mg124": ("v3", V3 | {"multi_grid": (1, 2, 4)}),
    "v3-no-pooling": ("v3", V3 | {"image_pooling": False}),
    "fc6-4x4": ("v1", V1 | {"fc6": "4x4", "rate": 4}),
    "v3-mg121": ("v3", V3 | {"multi_grid": (1, 2, 1)}),
    "v3-far": ("v3", V3 | {"rates": (6, 12, 18)}),
    "v3plus-separable": ("v3plus", PLUS | {"separable": True}),
}
RUNS = {
    name: replace(SAME, model=model, options=json.dumps({"width": WIDTH} | options))
    for name, (model, options) in RUNGS.items()
}
RUNS["v3-crop161"] = replace(RUNS["v3-os16"], size=161)  # maps of 11 positions
LITE0 = {"rates": (3, 6, 9)}
RUNS["lite0"] = replace(
    SAME, model="v3plus-lite0", options=json.dumps(LITE0), init="imagenet", lr=1e-3, steps=1_000
)
RUNS["v3-second-stage"] = replace(
    RUNS["v3-os16"], init="", steps=500, lr=2e-4, warmup=50, freeze_bn="all"
)


def train_rung(name: str, seed: int) -> None:
    """Train a rung with a seed, and keep its weights, card and curve."""
    config = replace(RUNS[name], seed=seed, out=f"runs/wide/{name}-{seed}", resume=True)
    folder, kept = ROOT / config.folder, WEIGHTS / f"{name}-{seed}"
    if name == "v3-second-stage":  # v3, section 4.1: stride 8, batch norm as it is
        first = str(WEIGHTS / f"v3-os16-{seed}.safetensors")
        model = checkpoints.load(first)
        model.output_stride = 8
        trained = train(config, model, open_data(config)[:2])
        trained.model.output_stride = 16  # as its card says; it is asked at 8
        card = checkpoints.card(first) | {"command": f"python -m tools.wide {name} --seed {seed}"}
        card["metrics"] = {"val at OS8": trained.metrics}
        checkpoints.save(trained.model, kept.with_suffix(".safetensors"), card)
    else:
        train(config)
        for suffix in (".safetensors", ".json"):
            shutil.copy(folder / f"{config.name}{suffix}", kept.with_suffix(suffix))
    save_curve(folder, WEIGHTS / "curves" / f"{name}-{seed}.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rungs", nargs="*", choices=["backbone", *RUNS, []], metavar="RUNG")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rungs = arguments.rungs or ["backbone", *RUNS]
    for name in rungs:
        if name == "backbone":
            train_backbone()
        elif not (WEIGHTS / f"{name}-{arguments.seed}.safetensors").exists():
            train_rung(name, arguments.seed)


if __name__ == "__main__":
    main()
