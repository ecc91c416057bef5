"""Do the scenes do what they are for? The centre pixel of a shape, named from a window around it.

    python -m benchmarks.field_size            trains four networks (2 minutes on two cores)
                                               and writes assets/field_size.{csv,png}

Four networks of six convolutions have receptive fields of 7, 15, 31 and 63 pixels. Each
names the pixel in the middle of shapes of radius 8 to 30. A network that cannot reach the outline
sees fill, and fill says nothing.
"""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lite.scenes import CLASSES, SMALL, full_scene, normalize

FIELDS = (7, 15, 31, 63)
RADII = ((8, 11), (11, 16), (16, 22), (22, 30))  # pixels
ASSETS = Path(__file__).parents[1] / "assets"
SOLID = [CLASSES.index(name) for name in ("disc", "square", "triangle", "star", "cross")]
PLAIN = replace(SMALL, radius=(8, 30), shapes=(6, 12), thin=0, occlusion=0)


def middles(scenes: int, first_seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Windows N x 3 x 63 x 63 around the middles of solid shapes, their classes and radii."""
    half = max(FIELDS) // 2
    windows, labels, radii = [], [], []
    for seed in range(first_seed, first_seed + scenes):
        drawn = full_scene(seed, 128, PLAIN)
        for index, shape in enumerate(drawn.shapes):
            y, x = (int(c) for c in shape.center)
            inside = half <= min(y, x) and max(y, x) < 128 - half
            if inside and shape.label in SOLID and drawn.owner[y, x] == index:
                windows.append(drawn.image[y - half : y + half + 1, x - half : x + half + 1])
                labels.append(SOLID.index(shape.label))
                radii.append(shape.radius)
    return normalize(np.stack(windows)), torch.tensor(labels), torch.tensor(radii)


def network(field: int, width: int = 32) -> nn.Sequential:
    """Six convolutions without padding, 3x3 with stride 2 until `field` is reached, 1x1 after."""
    steps = (field + 1).bit_length() - 2  # 7 takes two, each about doubles the field
    layers: list[nn.Module] = []
    channels = 3
    for depth in range(6):
        kernel, stride = (3, 2) if depth < steps else (1, 1)
        out = width * min(4, 2 ** (depth // 2 + 1))
        layers += [nn.Conv2d(channels, out, kernel, stride, bias=False), nn.BatchNorm2d(out)]
        layers += [nn.ReLU()]
        channels = out
    return nn.Sequential(*layers, nn.Conv2d(channels, len(SOLID), 1), nn.Flatten())


def crop(windows: Tensor, field: int) -> Tensor:
    """The middle field x field pixels: all that the middle unit of a network with it can see."""
    edge = (windows.shape[-1] - field) // 2
    return windows[..., edge : edge + field, edge : edge + field]


def train(
    field: int, windows: Tensor, labels: Tensor, steps: int, width: int = 32, seed: int = 0
) -> nn.Module:
    """A network of this field after `steps` batches of 64, each turned at random."""
    torch.manual_seed(seed)
    model = network(field, width)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(labels), (64,))
        batch = crop(windows[rows], field).rot90(int(torch.randint(4, ())), (2, 3))
        loss = F.cross_entropy(model(batch), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, field: int, windows: Tensor, labels: Tensor) -> Tensor:
    """Which windows are named rightly, bool N."""
    return torch.cat([model(crop(part, field)).argmax(1) for part in windows.split(500)]) == labels


def main() -> None:
    """Train, print the table, write it and its plot to assets/."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from deeplab_lite.classroom import draw

    known, unseen = middles(6_000, 300_000_000), middles(1_500, 400_000_000)
    rows = []
    for field in FIELDS:
        model = train(field, *known[:2], steps=1_500, width=16)
        right = accuracy(model, field, *unseen[:2])
        for low, high in RADII:
            here = (unseen[2] >= low) & (unseen[2] < high)
            share = right[here].float().mean().item()
            rows.append((field, low, high, int(here.sum()), round(share, 3)))
            print(f"field {field:2}, radius {low:2} to {high:2}: {share:.3f} of {int(here.sum())}")
    with (ASSETS / "field_size.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("field", "radius_from", "radius_to", "shapes", "accuracy"), *rows]
        )
    draw.style()
    figure, ax = plt.subplots(figsize=(6.4, 3.6))
    for low, high in RADII:
        ax.plot(FIELDS, [r[-1] for r in rows if r[1] == low], marker="o", label=f"{low} to {high}")
    ax.axhline(1 / len(SOLID), color="#6B7280", lw=1, ls="--")
    ax.text(FIELDS[-1], 1 / len(SOLID) + 0.01, "chance", ha="right", color="#4B5563", fontsize=9)
    ax.set(
        xscale="log",
        xticks=FIELDS,
        xticklabels=FIELDS,
        ylim=(0.1, 1.02),
        ylabel="accuracy",
        xlabel="receptive field, pixels",
        title="The middle pixel of a shape, named",
    )
    ax.minorticks_off()
    ax.legend(title="radius, pixels", loc="upper left")
    figure.savefig(ASSETS / "field_size.png", dpi=120)


if __name__ == "__main__":
    main()
