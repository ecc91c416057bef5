"""The command line: `python -m deeplab_lite --help`."""

import json
import sys
from collections.abc import Callable
from dataclasses import Field, asdict, fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Literal


def _missing(error: ModuleNotFoundError) -> str:
    return (
        f"deeplab_lite needs {error.name}, which is not installed: run `make lab`, "
        f'or `{sys.executable} -m pip install -e ".[lab]"` in the folder of the course'
    )


try:
    from typer import Argument, BadParameter, Context, Exit, Option, Typer
    from typer.core import TyperGroup

    from deeplab_lite.files import shipped_checkpoints
    from deeplab_lite.workshop import doctor as _doctor
    from deeplab_lite.workshop.train import recipes as _recipes
    from deeplab_lite.workshop.train.config import Config
except ModuleNotFoundError as error:
    sys.exit(_missing(error))


class Commands(TyperGroup):
    """Ends a command with the sentence of its error, and no traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            sys.exit(_missing(error))
        except (ValueError, OSError, FloatingPointError) as error:
            text = str(error).strip()
            if text.startswith("Caught "):  # in a worker: torch puts its traceback before it
                text = text.splitlines()[-1].partition(": ")[2]
            sys.exit(text)
        except KeyboardInterrupt:
            sys.exit(130)


app = Typer(cls=Commands, add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """DeepLab, one idea at a time. The lessons are in notebooks/."""


@app.command()
def doctor(as_json: bool = Option(False, "--json", help="Print the checks as JSON.")) -> None:
    """Report what is installed, what is missing and how to fix it; 1 if lessons cannot run."""
    checks = _doctor.report()
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        print(_doctor.table(checks))
    raise Exit(0 if _doctor.healthy(checks) else 1)


@app.command("app")
def serve(
    port: int = Option(8866, min=1, max=65535, help="Where to listen; if taken, the next free."),
    browser: bool = Option(True, help="Open a browser."),
) -> None:
    """Open the playground of lesson 08 in a browser, on this machine only; Ctrl+C ends it."""
    from deeplab_lite.workshop.app import run

    run(port, browser)


# ---- Flags of several commands -------------------------------------------------------------------


def _numbers(text: Any) -> tuple[float, ...]:
    """0.5,1,1 as numbers; defaults come as a tuple, those of a recipe as a list."""
    try:
        return tuple(float(word) for word in str(text).strip("()[]").split(",") if word)
    except ValueError:
        what = f"{text!r} is no list of numbers: write them with commas between, as 0.75,1,1.25"
        raise BadParameter(what) from None


def _set_threads(count: int) -> int:
    if count:
        import torch

        torch.set_num_threads(count)
    return count


BEST = "camvid-v3plus"
SHIPPED = sorted(path.stem for path in shipped_checkpoints().glob("*.json"))
NAMED = f"One of {', '.join(SHIPPED)}; or the path of a .safetensors with its card."
MODEL = Option(BEST, help=NAMED)
DEVICE = Option("auto", help="auto, cpu, cuda, cuda:1 or mps.")
THREADS = Option(0, min=0, callback=_set_threads, help="On the CPU; 0 leaves the choice to torch.")


def _inference(
    *,
    crf: bool = Option(False, "--crf", help="Refine the label map with the dense CRF."),
    scales: Any = Option(
        "1", parser=_numbers, metavar="N,N,...", help="Sizes at which the network sees each image."
    ),
    fuse: Literal["mean", "max"] = Option(
        "mean", help="How scales are combined: mean, as in v3, or max, as in v2."
    ),
    flip: bool = Option(False, "--flip", help="Average each image with its mirror image."),
    output_stride: int | None = Option(
        None, help="8, 16 or 32, with the same weights.", show_default="as trained"
    ),
    tile: int = Option(1025, min=65, help="Larger images are cut into tiles of this side."),
    overlap: int | None = Option(
        None,
        min=0,
        help="Pixels that neighbouring tiles share.",
        show_default="twice the field's reach",
    ),
    longest: int = Option(
        0, min=0, help="Shrink images to a longer side of this, and enlarge labels; 0: as they are."
    ),
) -> None:
    """The flags of `Settings` but its model, for segment and evaluate."""


def _of_config(field: Field[Any]) -> Parameter:
    """The flag of a field of Config."""
    parser = _numbers if isinstance(field.default, tuple) else None
    option = Option(field.default, help=field.metadata["help"], parser=parser)
    kind = Any if parser else field.type
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def _with_flags(*flags: Parameter) -> Callable[[Any], Any]:
    """The command below has these flags, and gets their values as its **keywords."""

    def decorate(command: Any) -> Any:
        *own, _ = signature(command).parameters.values()
        command.__signature__ = Signature([*own, *flags])
        return command

    return decorate


# ---- Training ------------------------------------------------------------------------------------


def _take_recipe(context: Context, name: str) -> str:
    """Its choices become the defaults of the other flags."""
    if name:
        context.default_map = _recipes.read(name).choices
    return name


@app.command()
@_with_flags(*map(_of_config, fields(Config)))
def train(
    recipe: str = Option(
        "",
        callback=_take_recipe,
        is_eager=True,
        help="Choices by name, as `recipes` lists them; flags override them.",
    ),
    **choices: Any,
) -> None:
    """Train a network. The flags are the fields of deeplab_lite.workshop.train.Config.

    A run that was stopped goes on with --resume, to the same weights. On several GPUs:
    torchrun --standalone --nproc-per-node 4 -m deeplab_lite train ...
    """
    config = Config(**choices)
    from deeplab_lite.workshop import intervals
    from deeplab_lite.workshop.train import train as run

    trained = run(config)
    if trained.weights is not None:
        print(f"val mIoU {trained.metrics['miou']:.4f}; saved {trained.weights}")
        if trained.test is not None:
            print(f"test mIoU {intervals.sentence(trained.test)}")


@app.command()
def recipes(name: str = Argument("", help="A recipe to describe in full.")) -> None:
    """List what `train --recipe` knows: networks, data, published scores, estimated hours."""
    print(_recipes.describe(_recipes.read(name)) if name else _recipes.table())


# ---- Data ----------------------------------------------------------------------------------------


@app.command("import")
def import_(
    source: Path = Argument(exists=True, help="An export: a file, a .zip or a folder."),
    out: Path = Option(help="A new folder: images/, masks/, classes.txt, train.txt, val.txt, ..."),
    form: Literal["coco", "labelme", "cvat", "label-studio", "masks"] | None = Option(
        None, "--format", show_default="detected from the content"
    ),
    images: Path | None = Option(
        None, exists=True, file_okay=False, show_default="with the export", help="The pictures."
    ),
    classes: Path | None = Option(
        None, exists=True, dir_okay=False, help="A file with a class a line: which, in which order."
    ),
    colours: str = Option(
        "", help="Of masks: camvid, cityscapes, voc, or a file of lines NAME R G B; void is 255."
    ),
    masks: str = Option("", help="Which files are masks: a folder, or a pattern as '*_roi.png'."),
    empty: bool = Option(False, "--empty", help="Pictures without a shape are all background."),
    group: Literal["auto", "prefix", "folder", "none"] = Option(
        "auto", help="What stays in one split: names alike but for a number, folders, or nothing."
    ),
    longest: int = Option(
        0, min=0, help="Shrink pictures, and their masks, to a longer side of this; 0: as they are."
    ),
    seed: int = Option(0, help="Of the split."),
) -> None:
    """Turn a label tool's export into a folder that trains.

    COCO, LabelMe, CVAT (images 1.1, segmentation mask 1.1), Label Studio, and masks in colours or
    numbers in any layout. Nothing is written where something is wrong.
    """
    from deeplab_lite.workshop.datasets.importing import Options, import_data

    options = Options(images, classes, colours, masks, empty, longest)
    print(import_data(source, out, form or "", options, group, seed))


@app.command()
def check(
    folder: Path = Argument(help="The folder with images/ and masks/."),
    sheet: Path | None = Option(
        None, dir_okay=False, help="Write a PNG with classes laid on some of the images."
    ),
) -> None:
    """Look at every image and mask of a folder before a training; 1 if something is wrong."""
    from deeplab_lite.workshop.datasets import check_folder, contact_sheet

    report = check_folder(folder)
    print(report)
    if sheet:
        print(contact_sheet(report, sheet))
    raise Exit(0 if report.ok else 1)


# ---- Trained networks ----------------------------------------------------------------------------


@app.command()
@_with_flags(*signature(_inference).parameters.values())
def segment(
    photos: list[str] = Argument(help="Files, folders, patterns as 'photos/**/*.jpg'."),
    model: str = MODEL,
    out: Path = Option("segmented", file_okay=False, help="The folder for the results."),
    device: str = DEVICE,
    threads: int = THREADS,
    overwrite: bool = Option(False, "--overwrite", help="Replace results that are there already."),
    **inference: Any,
) -> None:
    """Turn photographs into label maps: palette PNG, overlay, table of classes and JSON for each.

    Results that are there already are skipped. A file that cannot be read is reported and left out;
    then the exit status is 1.
    """
    from deeplab_lite.workshop.segment import Settings, segment_photos

    report = segment_photos(photos, Settings(model, **inference), out, device, overwrite)
    print(report)
    raise Exit(report.exit_code)


@app.command()
@_with_flags(*signature(_inference).parameters.values())
def evaluate(
    model: str = Option("", help=NAMED, show_default=f"{BEST} on camvid, else v3plus-scenes"),
    data: str = Option("scenes", help="scenes, camvid, voc, or a folder with images/ and masks/."),
    split: str = Option("val", help="val or test."),
    images: int = Option(0, min=0, help="Only the first so many; 0 for all."),
    root: Path | None = Option(
        None, exists=True, file_okay=False, help="The folder that camvid or voc is in."
    ),
    device: str = DEVICE,
    threads: int = THREADS,
    to: Path | None = Option(None, "--json", dir_okay=False, help="Write the scores to this file."),
    **inference: Any,
) -> None:
    """Score a network on labelled images: IoU of each class, mIoU, mIoU near edges, time."""
    from deeplab_lite.workshop.evaluate import evaluate as score
    from deeplab_lite.workshop.segment import Settings

    model = model or (BEST if data == "camvid" else "v3plus-scenes")
    scores = score(Settings(model, **inference), data, split, images, root, device)
    if to:
        scores.write(to)
    print(scores)


@app.command()
def export(
    out: Path = Option(dir_okay=False, help="The file to write: NAME.onnx or NAME.pt2."),
    model: str = MODEL,
    form: Literal["onnx", "int8", "pt2"] = Option(
        "onnx", "--format", help="int8 is ONNX in 8-bit integers, pt2 is torch.export's."
    ),
    size: tuple[int, int] | None = Option(
        None, help="Fix height and width.", show_default="any that fit the network"
    ),
    photos: list[str] | None = Option(
        None, help="File, folder or pattern to calibrate and verify on.", show_default="scenes"
    ),
) -> None:
    """Write a network as a file that runs without this package, and compare the two."""
    from deeplab_lite.workshop.export import command

    for line in command.run(model, form, out, size, photos or ()):
        print(line)
