"""The command line: `python -m deeplab_lite --help`."""

import inspect
import json
import sys
from dataclasses import asdict, fields
from typing import Annotated, Any

try:
    import typer

    from deeplab_lite import doctor as _doctor
    from deeplab_lite.train.config import Config
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
    """What is installed, what is missing and how to mend it; exits with 1 if lessons cannot run."""
    checks = _doctor.report()
    if as_json:
        print(json.dumps([asdict(check) | {"ok": check.ok} for check in checks], indent=2))
    else:
        print(_doctor.table(checks))
    raise typer.Exit(0 if _doctor.healthy(checks) else 1)


@app.command("app")
def serve(
    port: Annotated[int, typer.Option(help="Where to listen; the next free one is taken.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """The playground of lesson 08 in a browser, on this machine only; Ctrl+C ends it."""
    try:
        from deeplab_lite.app import run
    except ModuleNotFoundError as error:
        sys.exit(
            f"the app needs {error.name}, which is not installed: run `make lab`, or "
            f'`{sys.executable} -m pip install -e ".[lab]"` in the folder of the course'
        )
    run(port, browser)


def train(**choices: Any) -> None:
    """Train a network of the family. The flags are the fields of deeplab_lite.train.Config.

    A run that was stopped goes on with --resume, to the same weights. On several GPUs:
    torchrun --nproc-per-node 4 -m deeplab_lite train ...
    """
    try:
        config = Config(**choices)
        from deeplab_lite.train import train as run

        trained = run(config)
    except ModuleNotFoundError as error:
        sys.exit(
            f"training needs {error.name}, which is not installed: "
            f'`{sys.executable} -m pip install -e ".[lab]"` in the folder of the course'
        )
    except (ValueError, FileNotFoundError, FileExistsError, FloatingPointError) as error:
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


train.__signature__ = inspect.Signature([_flag(f) for f in fields(Config)])  # type: ignore[attr-defined]
app.command()(train)


if __name__ == "__main__":
    app(prog_name="python -m deeplab_lite")
