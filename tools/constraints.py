"""Write constraints.txt from what is installed here: run it when the tests pass on a new set.

    .venv/bin/python tools/constraints.py

It follows the requirements of deeplab-lite[lab,export,test,site,crf] through the environment. What
only some platforms have (CUDA's libraries) is left to the resolver, and a release that does not
install on the oldest Python of pyproject.toml gets a marker, so that there the ranges hold.
"""

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOTS = ("deeplab-lite", {"", "lab", "export", "test", "site", "crf"})
LEFT_OUT = ("cuda-", "nvidia-", "triton", "setuptools", "deeplab-lite")
OLDEST_PYTHON = Version("3.10")
HEAD = """\
# The set that the tests passed with; `make lab` and `make test` install it. pyproject.toml has the
# ranges. Written by tools/constraints.py. A line with a marker does not install on an older Python:
# there pip takes the newest release in range.
"""


def closure(name: str, extras: set[str]) -> dict[str, Distribution]:
    """Every installed distribution that `name` with these extras needs, by canonical name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(name, extra) for extra in extras]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # another platform's
            continue
        for text in found[name].requires or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                child = canonicalize_name(need.name)
                todo += [(child, wanted) for wanted in {"", *need.extras}]
    return found


def marker(requires_python: str | None) -> str:
    """'; python_version >= "3.11"' where the release has dropped OLDEST_PYTHON, else ''."""
    lows = [Version(s.version) for s in SpecifierSet(requires_python or "") if s.operator == ">="]
    low = max(lows, default=OLDEST_PYTHON)
    if low <= OLDEST_PYTHON:
        return ""
    variable = "python_full_version" if low.micro else "python_version"
    return f'; {variable} >= "{low}"'


def main() -> None:
    lines = [
        f"{name}=={Version(found.version).public}{marker(found.metadata['Requires-Python'])}"
        for name, found in sorted(closure(*ROOTS).items())
        if not name.startswith(LEFT_OUT)
    ]
    path = Path(__file__).resolve().parents[1] / "constraints.txt"
    path.write_text(HEAD + "\n".join(lines) + "\n")
    print(f"{path.name}: {len(lines)} pins")


if __name__ == "__main__":
    main()
