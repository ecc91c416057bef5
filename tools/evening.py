"""Line counts in deeplab_lite/README.md: python -m tools.evening

The README has two tables of the core's files, `| file | lesson | lines |`: what one reads in an
evening, and what stands apart. Their counts and sums are written here; files and lessons by hand.
"""

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "deeplab_lite"
README = PACKAGE / "README.md"
HEADER = "| file | lesson | lines |"
ROW = re.compile(r"^\| \[?`([\w/]+\.py)`[^|]*\|[^|]*\|[^|]*\|$")
SUM = re.compile(r"^\| \*\*[^|]*\|[^|]*\|[^|]*\|$")


def core(package: Path = PACKAGE) -> list[str]:
    """The files of the core: deeplab_lite/*.py, models/ and crf/."""
    folders = (package, package / "models", package / "crf")
    return [str(p.relative_to(package)) for folder in folders for p in sorted(folder.glob("*.py"))]


def lines(file: str, package: Path = PACKAGE) -> int:
    """Lines of a file, as wc -l counts them."""
    return (package / file).read_bytes().count(b"\n")


def tables(text: str) -> list[list[str]]:
    """The files that each table lists."""
    files: list[list[str]] = []
    for line in text.splitlines():
        if line == HEADER:
            files.append([])
        elif row := ROW.match(line):
            files[-1].append(row[1])
    return files


def rewritten(text: str, package: Path = PACKAGE) -> str:
    """The README's text with all counts and sums as they are now.

    Raises FileNotFoundError for a listed file that the package lacks.
    """
    result, total = [], 0
    for line in text.splitlines():
        if line == HEADER:
            total = 0
        elif row := ROW.match(line):
            count = lines(row[1], package)
            total += count
            line = with_last_cell(line, f"{count:,}")
        elif SUM.match(line):
            line = with_last_cell(line, f"**{total:,}**")
        result.append(line)
    return "\n".join(result) + "\n"


def with_last_cell(row: str, cell: str) -> str:
    return f"{row.rsplit('|', 2)[0]}| {cell} |"


def main() -> int:
    old = README.read_text(encoding="utf-8")
    new = rewritten(old)
    README.write_text(new, encoding="utf-8", newline="\n")
    print("unchanged" if new == old else "saved", README.relative_to(PACKAGE.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
