"""The course as pages that need no kernel, no server and no network: `make site`.

    python -m tools.site                          site/_build, from the notebooks as they are stored
    python -m tools.site --repository OWNER/NAME  with links that open a lesson in Colab and Binder
    python -m tools.site --out FOLDER             elsewhere

Sources are staged in a temporary folder, where Sphinx finds them (site/conf.py). MathJax comes from
npm, at the version of site/package-lock.json, and is copied beside the pages.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools import npm, playground
from tools.site import front, pages

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "site"
PACKAGES = SITE / "node_modules"
OUT = SITE / "_build"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repository", default="", help="OWNER/NAME on GitHub")
    parser.add_argument("--out", type=Path, default=OUT, help="a new folder, or one of pages")
    options = parser.parse_args()
    if options.repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", options.repository):
        parser.error(f"--repository {options.repository}: expected OWNER/NAME")
    out = options.out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / "searchindex.js").exists():
        sys.exit(f"{out} is not empty and holds no pages: choose another folder")
    if sys.version_info < (3, 11):
        sys.exit("The pages need Python 3.11 or newer, since their theme does.")
    start = time.perf_counter()
    try:
        for folder in (SITE, playground.SOURCE):
            npm.install(folder)
    except (FileNotFoundError, RuntimeError) as problem:
        sys.exit(str(problem))
    build(out, options.repository)
    print(f"{out}: open index.html ({time.perf_counter() - start:.0f} s)")


def build(out: Path, repository: str = "") -> None:
    """Stage the sources, let Sphinx write the pages, add what is not from Sphinx, move to `out`."""
    with tempfile.TemporaryDirectory(prefix="deeplab-site-") as name:
        source, html = Path(name, "source"), Path(name, "html")
        pages.stage(source, repository)
        front.stage(source)
        sphinx = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
        folders = ["-c", SITE, "-d", Path(name, "doctrees"), source, html]
        if subprocess.run([*sphinx, *folders], cwd=ROOT).returncode != 0:
            sys.exit("Sphinx found fault with a page, as it says above.")
        leave_out_icons(html / "_static")
        copy_mathjax(html / "_static" / "mathjax")
        playground.build(html / "playground", home="../index.html")
        pages.write_notebooks(html / "notebooks", repository)
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(html, out)


def leave_out_icons(static: Path) -> None:
    """The theme's script of all icons weighs 1.5 MB; site.css draws the dozen that a page shows."""
    (static / "scripts" / "fontawesome.js").write_text("")
    for source_map in static.rglob("*.map"):
        source_map.unlink()


def copy_mathjax(to: Path) -> None:
    """The part of MathJax that turns TeX into HTML, with its fonts."""
    there = PACKAGES / "mathjax" / "es5"
    for part in ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts"):
        copy = shutil.copytree if (there / part).is_dir() else shutil.copy
        (to / part).parent.mkdir(parents=True, exist_ok=True)
        copy(there / part, to / part)


if __name__ == "__main__":
    main()
