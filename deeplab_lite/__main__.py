"""The command line: `python -m deeplab_lite --help`."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

try:
    import typer

    from deeplab_lite import doctor as _doctor
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


if __name__ == "__main__":
    app(prog_name="python -m deeplab_lite")
