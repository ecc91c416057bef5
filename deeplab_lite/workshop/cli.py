"""The command line: `python -m deeplab_lite --help`."""

import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Annotated, Any

try:
    import typer

    from deeplab_lite.files import shipped_checkpoints
    from deeplab_lite.workshop import doctor as _doctor
    from deeplab_lite.workshop.train import recipes as _recipes
    from deeplab_lite.workshop.train.config import Config
except ModuleNotFoundError as error:
    sys.exit(
        f"deeplab_lite needs {error.name}, which is not installed: run `make lab`, "
        f'or `{sys.executable} -m pip install -e ".[lab]"` in the folder of the course'
    )

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """DeepLab, one idea at a time. The lessons are in notebooks/."""


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """What is installed, what is missing and how to fix it; exits with 1 if lessons cannot run."""
    checks = _doctor.report()
    if as_json:
        print(json.dumps([asdict(check) | {"ok": check.ok} for check in checks], indent=2))
    else:
        print(_doctor.table(checks))
    raise typer.Exit(0 if _doctor.healthy(checks) else 1)


@app.command("app")
def serve(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where to listen; the next free one is taken.")
    ] = 8866,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """The playground of lesson 08 in a browser, on this machine only; Ctrl+C ends it."""
    try:
        from deeplab_lite.workshop.app import run
    except ModuleNotFoundError as error:
        sys.exit(
            f"the app needs {error.name}, which is not installed: run `make lab`, or "
            f'`{sys.executable} -m pip install -e ".[lab]"` in the folder of the course'
        )
    run(port, browser)


def train(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Option(help="Choices by name, as `recipes` lists them; flags override them.")
    ] = "",
    **choices: Any,
) -> None:
    """Train a network. The flags are the fields of deeplab_lite.workshop.train.Config.

    A run that was stopped goes on with --resume, to the same weights. On several GPUs:
    torchrun --standalone --nproc-per-node 4 -m deeplab_lite train ...
    """
    try:
        if recipe:
            flags = [name for name in choices if _on_command_line(context, name)]
            config = _recipes.read(recipe).config(**{name: choices[name] for name in flags})
        else:
            config = Config(**choices)
        from deeplab_lite.workshop.train import train as run

        trained = run(config)
    except ModuleNotFoundError as error:
        sys.exit(
            f"training needs {error.name}, which is not installed: "
            f'`{sys.executable} -m pip install -e ".[lab]"` in the folder of the course'
        )
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(str(error))
    if trained.weights is not None:
        print(f"val mIoU {trained.metrics['miou']:.4f}; saved {trained.weights}")


def _numbers(text: Any) -> tuple[float, ...]:
    """0.5,1,1 as numbers; a field's default comes as the tuple that it is."""
    return tuple(float(word) for word in str(text).strip("()").split(",") if word)


def _flag(field: Any) -> inspect.Parameter:
    """The option of a field of Config: its name, type, default and line of help."""
    numbers = isinstance(field.default, tuple)
    option = typer.Option(help=field.metadata["help"], parser=_numbers if numbers else None)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[Any if numbers else field.type, option],
    )


def _on_command_line(context: typer.Context, name: str) -> bool:
    """Whether a flag stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


train.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        *list(inspect.signature(train).parameters.values())[:2],
        *map(_flag, fields(Config)),
    ]
)
app.command()(train)


@app.command()
def recipes(
    name: Annotated[str, typer.Argument(help="The recipe to describe in full.")] = "",
) -> None:
    """What `train --recipe` knows: networks, data, what was published, and hours as an estimate."""
    try:
        print(_recipes.describe(_recipes.read(name)) if name else _recipes.table())
    except ValueError as error:
        sys.exit(str(error))


SHIPPED = sorted(path.stem for path in shipped_checkpoints().glob("*.json"))
BEST = next((name for name in ("camvid-v3plus", "v3plus-scenes") if name in SHIPPED), None)
NAMED = f"One of {', '.join(SHIPPED)}; or the path of a .safetensors with its card."
Model = Annotated[str | None, typer.Option(help=NAMED, show_default=str(BEST))]
Scales = Annotated[
    Any, typer.Option(parser=_numbers, help="Sizes to see each image in, as 0.75,1,1.25.")
]
Fuse = Annotated[str, typer.Option(help="How scales are fused: mean, as in v3, or max, as in v2.")]
Flip = Annotated[bool, typer.Option("--flip", help="The mean of an image and its mirror image.")]
Crf = Annotated[bool, typer.Option("--crf", help="Refine by the dense CRF.")]
Tile = Annotated[int, typer.Option(help="Larger images are cut into tiles of this side.")]
Overlap = Annotated[
    int | None,
    typer.Option(help="Pixels that tiles share.", show_default="twice the field's reach"),
]
Stride = Annotated[
    int | None,
    typer.Option(help="8, 16 or 32 with the same weights.", show_default="as trained"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Threads = Annotated[int, typer.Option(help="On the CPU; 0 leaves the choice to torch.")]


@app.command()
def segment(
    photos: Annotated[
        list[str], typer.Argument(help="Files, folders, patterns as 'photos/**/*.jpg'.")
    ],
    model: Model = BEST,
    out: Annotated[str, typer.Option(help="The folder for the results.")] = "segmented",
    crf: Crf = False,
    scales: Scales = "1",
    fuse: Fuse = "mean",
    flip: Flip = False,
    output_stride: Stride = None,
    tile: Tile = 1025,
    overlap: Overlap = None,
    device: Device = "auto",
    threads: Threads = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make all results anew.")] = False,
) -> None:
    """Photographs to label maps: palette PNG, overlay, table of classes and JSON for each.

    Results that are there already are skipped. A file that cannot be read is reported and left out;
    then the exit status is 1.
    """
    with _error_as_sentence("segment"):
        from deeplab_lite.workshop.segment import Settings, segment_photos

        _set_threads(threads)
        settings = Settings(
            str(model), scales=scales, fuse=fuse, flip=flip, crf=crf, tile=tile, overlap=overlap,
            output_stride=output_stride,
        )  # fmt: skip
        report = segment_photos(photos, settings, out, device, overwrite)
    print(report)
    raise typer.Exit(report.exit_code)


@app.command()
def evaluate(
    model: Annotated[
        str | None,
        typer.Option(help=NAMED, show_default=f"{BEST} on camvid, else v3plus-scenes"),
    ] = None,
    data: Annotated[
        str, typer.Option(help="scenes, camvid, voc, or a folder with images/ and masks/.")
    ] = "scenes",
    split: Annotated[str, typer.Option(help="val or test.")] = "val",
    images: Annotated[int, typer.Option(help="The first so many; 0 for all.")] = 0,
    root: Annotated[str | None, typer.Option(help="Where camvid or voc is.")] = None,
    crf: Crf = False,
    scales: Scales = "1",
    fuse: Fuse = "mean",
    flip: Flip = False,
    output_stride: Stride = None,
    tile: Tile = 1025,
    overlap: Overlap = None,
    device: Device = "auto",
    threads: Threads = 0,
    to: Annotated[str | None, typer.Option("--json", help="Write the scores to this file.")] = None,
) -> None:
    """Score a network on labelled images: IoU of each class, mIoU, trimap mIoU, time."""
    model = model or (BEST if data == "camvid" else "v3plus-scenes")
    with _error_as_sentence("evaluate"):
        from deeplab_lite.workshop.evaluate import evaluate as score
        from deeplab_lite.workshop.segment import Settings

        _set_threads(threads)
        settings = Settings(
            str(model), scales=scales, fuse=fuse, flip=flip, crf=crf, tile=tile, overlap=overlap,
            output_stride=output_stride,
        )  # fmt: skip
        scores = score(settings, data, split, images, root, device)
        if to:
            scores.write(to)
    print(scores)


@app.command()
def export(
    out: Annotated[str, typer.Option(help="The file to write: NAME.onnx or NAME.pt2.")],
    model: Model = BEST,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="onnx, int8 (ONNX in 8-bit integers), or pt2 (torch.export)."
        ),
    ] = "onnx",
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Fix height and width.", show_default="any that fit the network"),
    ] = None,
    photos: Annotated[
        list[str] | None,
        typer.Option(help="File, folder or pattern to calibrate and verify on; scenes without."),
    ] = None,
) -> None:
    """A network as a file that runs without this package; then both are run and compared."""
    with _error_as_sentence("export", "export"):
        from deeplab_lite.workshop.export import command

        for line in command.run(str(model), form, out, size, photos or ()):
            print(line)


@contextmanager
def _error_as_sentence(what: str, extra: str = "lab") -> Iterator[None]:
    """Errors that are a sentence end the command with it."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.exit(
            f"{what} needs {error.name}, which is not installed: "
            f'`{sys.executable} -m pip install -e ".[{extra}]"` in the folder of the course'
        )
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _set_threads(threads: int) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)
