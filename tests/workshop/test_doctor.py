"""The doctor: what it says where something is missing, and what it costs to ask."""

import json
import os
import subprocess
import sys
from importlib import metadata

import psutil
import pytest
from typer.testing import CliRunner

from deeplab_lite.workshop import doctor
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.doctor import GIB, Check


def named(checks: list[Check], name: str, group: str = "") -> Check:
    (check,) = [c for c in checks if c.name == name and group in ("", c.group)]
    return check


@pytest.fixture
def without(monkeypatch):
    """without("timm") hides that distribution, as if it had never been installed."""

    def hide(*names: str) -> None:
        for of in ("version", "requires", "distribution"):
            real = getattr(metadata, of)

            def look(name, real=real):
                if name.lower() in names:
                    raise metadata.PackageNotFoundError(name)
                return real(name)

            monkeypatch.setattr(metadata, of, look)

    return hide


def test_this_environment_runs_the_lessons():
    checks = doctor.report()
    assert doctor.healthy(checks), doctor.table(checks)
    assert doctor.table(checks).endswith("All that the lessons need is here.")
    assert named(checks, "torch").value == metadata.version("torch")
    assert named(checks, "EfficientNet-Lite0").value == "18 MiB"


def test_each_missing_thing_says_what_it_means_and_what_fixes_it(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: "0.2.0" * (name == "deeplab-lite"))
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    checks = doctor.report()
    for check in checks:
        assert check.ok or (check.problem and check.fix), check
        assert check.ok == bool(check.value) or check.name == "memory", check
    missing = {check.name for check in checks if not check.ok}
    assert missing > {"torch", "timm", "EfficientNet-Lite0", "test packages", "Chromium", "Node"}


@pytest.mark.parametrize("name", ["torch", "timm", "jupyterlab", doctor.LITE0])
def test_a_missing_requirement_stops_the_lessons(without, name):
    without(name)
    check = named(doctor.report(), name)
    assert (check.value, check.needed, check.ok) == ("", True, False)
    assert check.problem.startswith(f"the course needs {name}")
    assert check.fix.startswith(f'{sys.executable} -m pip install "{name}')
    assert not doctor.healthy([check])
    assert doctor.table([check]).endswith(f"The lessons cannot run: fix {name}.")


def test_a_requirement_that_is_too_old_names_the_range(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "0.4.1" if n == "timm" else real(n))
    check = named(doctor.report(), "timm")
    assert (check.value, check.ok) == ("0.4.1", False)
    assert check.problem.startswith("the course needs timm>=1")


def test_a_development_build_within_the_range_will_do(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "2.9.0.dev20250901+cu128")
    assert named(list(doctor._versions()), "torch").ok


def test_running_from_a_folder_that_was_not_installed(without):
    without("deeplab-lite")
    checks = doctor.report()
    assert named(checks, "deeplab-lite").fix.endswith('-m pip install -e ".[lab]" in that folder')
    assert not doctor.healthy(checks)


@pytest.mark.parametrize(
    "error, reason",
    [
        (OSError("libcudnn.so.9: cannot open\nmore"), "libcudnn.so.9: cannot open"),
        (ImportError(), "ImportError"),
    ],
)
def test_a_torch_that_does_not_load(monkeypatch, error, reason):
    def fail(name):
        raise error

    monkeypatch.setattr(doctor, "import_module", fail)
    check = named(doctor.report(), "torch", "devices")
    assert check.problem == f"it cannot be loaded: {reason}"
    assert not doctor.healthy([check])


@pytest.mark.parametrize(
    "version, fix",
    [("", "needs a C++ compiler"), ("1.1", "--force-reinstall --no-deps pydensecrf2")],
)
def test_a_missing_crf_never_stops_the_lessons(monkeypatch, version, fix):
    def fail(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(doctor, "import_module", fail)
    monkeypatch.setattr(doctor, "_version", lambda name: version)
    check = doctor._crf()
    assert fix in check.fix
    assert doctor.healthy([check])


def test_weights_of_a_damaged_package_are_missed(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(doctor, "find_spec", lambda name: Spec)
    check = named(list(doctor._weights()), "EfficientNet-Lite0")
    assert not doctor.healthy([check])
    assert f"--force-reinstall --no-deps {doctor.LITE0}" in check.fix


def test_vgg16_is_found_where_torch_keeps_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    check = named(list(doctor._weights()), "VGG-16")
    assert not check.ok and doctor.healthy([check])
    file = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(3 * 2**20))
    check = named(list(doctor._weights()), "VGG-16")
    assert (check.value, check.ok) == ("3 MiB", True)


def test_doctor_and_torch_agree_on_where_weights_are_kept(monkeypatch, tmp_path):
    import torch
    from torchvision.models import VGG16_Weights

    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert torch.hub.get_dir() == str(tmp_path / "torch" / "hub")
    assert VGG16_Weights.DEFAULT.url.endswith("/" + doctor.VGG16)


def test_a_chromium_off_the_path_is_named_in_a_variable(monkeypatch, tmp_path):
    browser = tmp_path / "Chromium.app"
    browser.touch(mode=0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CHROMIUM", str(browser))
    assert named(list(doctor._tests()), "Chromium").value == str(browser)
    monkeypatch.delenv("CHROMIUM")
    assert not named(list(doctor._tests()), "Chromium").ok


@pytest.mark.parametrize(
    "total, free, ok, lessons_run",
    [(8, 5, True, True), (8, 1, False, True), (1, 1, False, False)],
)
def test_memory(monkeypatch, total, free, ok, lessons_run):
    class Memory:
        pass

    Memory.total, Memory.available = total * GIB, free * GIB
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    monkeypatch.setattr(doctor, "CGROUP_LIMIT", doctor.Path("/nowhere"))
    check = doctor._memory()
    assert check.value == f"{total}.0 GiB, {free}.0 GiB of it free"
    assert (check.ok, doctor.healthy([check])) == (ok, lessons_run)


@pytest.mark.parametrize("text, total", [("max\n", "64.0 GiB"), (f"{GIB * 3}\n", "3.0 GiB")])
def test_memory_of_a_container_is_its_limit(monkeypatch, tmp_path, text, total):
    class Memory:
        total = available = 64 * GIB

    limit = tmp_path / "memory.max"
    limit.write_text(text)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    monkeypatch.setattr(doctor, "CGROUP_LIMIT", limit)
    assert doctor._memory().value.startswith(total)


def test_exit_codes(monkeypatch):
    good, bad = Check("g", "a", "1"), Check("g", "b", "", False, "lost", "do it", needed=True)
    optional = Check("g", "c", "", False, "optional", "do it")
    for checks, code in (([good, optional], 0), ([good, bad], 1)):
        monkeypatch.setattr(doctor, "report", lambda checks=checks: checks)
        assert CliRunner().invoke(app, ["doctor"]).exit_code == code
        assert CliRunner().invoke(app, ["doctor", "--json"]).exit_code == code


def test_text_and_json_on_the_command_line_within_six_seconds():
    command = [sys.executable, "-m", "deeplab_lite", "doctor"]
    before = os.times()
    text = subprocess.run(command, capture_output=True, text=True)
    after = os.times()
    assert (text.returncode, text.stderr) == (0, "")
    # Processor time, since the machine may have other things to do.
    assert after.children_user + after.children_system < 6 + (
        before.children_user + before.children_system
    )
    printed = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    checks = json.loads(printed.stdout)
    assert [check["name"] for check in checks] == [check.name for check in doctor.report()]
    assert set(checks[0]) == {"group", "name", "value", "ok", "problem", "fix", "needed"}


def test_the_command_line_without_its_libraries_is_one_sentence():
    code = "import sys, runpy; sys.modules['typer'] = None; runpy.run_module('deeplab_lite')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("deeplab_lite needs typer, which is not installed: run `make lab`")
    assert run.stderr.count("\n") == 1
