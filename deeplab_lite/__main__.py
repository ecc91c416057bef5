"""The command line: `python -m deeplab_lite --help`. Its commands stand in workshop/cli.py."""

from deeplab_lite.workshop.cli import app

if __name__ == "__main__":
    app(prog_name="python -m deeplab_lite")
