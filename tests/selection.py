"""Which test files a run reads, and in which order two workers take them: used by conftest.py."""

import re
from collections.abc import Iterable
from pathlib import Path

# Seconds of the slow files. They come first, so that no worker ends with a long one.
SECONDS = {
    "notebooks/09_your_own_data.ipynb": 92,
    "tests/course/test_page_playground.py": 90,
    "notebooks/07_deeplab_v3plus.ipynb": 87,
    "tests/classroom/test_browser.py": 84,
    "tests/course/test_site.py": 80,
    "notebooks/04_dense_crf.ipynb": 72,
    "notebooks/05_deeplab_v2.ipynb": 66,
    "tests/course/test_repo.py": 57,
    "tests/workshop/test_torchrun.py": 50,
    "tests/workshop/test_export.py": 45,
    "notebooks/08_the_family.ipynb": 43,
    "tests/core/test_output_stride.py": 43,
    "notebooks/03_deeplab_v1.ipynb": 42,
    "tests/workshop/test_train.py": 35,
    "tests/core/test_scenes.py": 33,
    "notebooks/06_deeplab_v3.ipynb": 29,
    "tests/workshop/test_camvid.py": 29,
    "tests/workshop/test_shipped.py": 28,
    "tests/classroom/test_output_stride_lab.py": 26,
    "tests/classroom/test_crf_playground.py": 21,
    "tests/course/test_harness.py": 20,
    "tests/workshop/test_app.py": 17,
    "tests/core/test_receptive_field.py": 15,
    "tests/classroom/test_rates_lab.py": 15,
    "tests/classroom/test_architecture_explorer.py": 14,
}


def seconds(nodeid: str) -> float:
    """Of the file of a test; 0 for a fast one."""
    return SECONDS.get(nodeid.split("::")[0], 0)


def skipped(keyword: str, files: Iterable[Path]) -> set[Path]:
    """The files that need not be read, since -k's expression `keyword` names nothing in them.

    A file of tests is read if a word of the expression is anywhere in its path or text, a notebook
    if one is in its path. Some parameters are computed, and in no text. So all files of tests are
    read where no path and no test's name has the word, and all files where "not" is a word.
    """
    words = set(re.findall(r"[^\s()]+", keyword.lower())) - {"and", "or"}
    if not words or "not" in words:
        return set()
    names: dict[Path, str] = {}  # where a word must be for the file to be read
    titles = []  # of files and tests
    for file in files:
        path = "/".join([*file.parts[-3:], "cell" * (file.suffix == ".ipynb")])
        text = file.read_text(encoding="utf-8") if file.suffix == ".py" else ""
        names[file] = f"{path} {text}".lower()
        titles.append(" ".join([path, *re.findall(r"(?:def|class) (test\w*)", text, re.I)]).lower())
    known = all(any(word in title for title in titles) for word in words)
    return {
        file
        for file, text in names.items()
        if not any(word in text for word in words) and (known or file.suffix == ".ipynb")
    }
