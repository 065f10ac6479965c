"""``import jrscli`` and ``jrs --help`` stay light, told by the modules that were imported and not by a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "numpy",
    "torch",
    "SimpleITK",
    "nibabel",
    "pydicom",
    "scipy",
    "skimage",
    "PIL",
    "onnxruntime",
    "jaxtyping",
    "matplotlib",
}
PACKAGE = Path(__file__).resolve().parent.parent / "jrscli"
HELP = "import sys; from jrscli.cli import app; sys.argv = ['jrs'{}, '--help']\ntry:\n    app()\nexcept SystemExit:\n    pass"


def heavy_after(program: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported after this program."""
    program += (
        "\nimport sys; sys.stderr.write('\\nmodules ' + ' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return HEAVY & set(done.stderr.rpartition("modules ")[2].split())


def test_importing_the_package_imports_nothing_heavy():
    assert heavy_after("import jrscli") == set()


@pytest.mark.parametrize("package", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_importing_a_part_imports_nothing_heavy(package):
    assert heavy_after(f"import jrscli.{package}") == set()


def test_help_imports_nothing_heavy():
    assert heavy_after(HELP.format("")) == set()


@pytest.mark.parametrize(
    "command",
    [
        "register",
        "propagate-contours",
        "segment",
        "evaluate",
        "warp",
        "convert",
        "info",
        "demo",
        "batch",
        "watch",
        "node",
        "rerun",
        "report",
        "doctor",
        "models",
        "train",
        "export",
    ],
)
def test_help_of_a_command_imports_nothing_heavy(command):
    assert heavy_after(HELP.format(f", '{command}'")) == set()


@pytest.mark.parametrize("heavy", ["numpy", "SimpleITK", "torch"])
def test_a_heavy_import_would_be_seen(heavy):
    assert heavy in heavy_after(f"import jrscli\nimport {heavy}")


def test_a_heavy_import_behind_help_would_be_seen():
    assert "numpy" in heavy_after("import jrscli.cli.main\nimport jrscli.spatial.geometry\n" + HELP.format(""))


def test_every_command_is_asked_for_its_help():
    """The list above is the list of the command tree."""
    from jrscli.cli.main import command

    listed = next(
        mark.args[1] for mark in test_help_of_a_command_imports_nothing_heavy.pytestmark if mark.name == "parametrize"
    )
    assert sorted(listed) == sorted(command().commands)


def test_a_registration_leaves_torch_compiler_alone():
    program = (
        "import numpy as np, sys\nfrom jrscli.spatial.geometry import Geometry\nfrom jrscli.spatial.volume import Volume\n"
        "from jrscli.workflows.register import register\n"
        "array = np.random.default_rng(0).random((12, 12, 12), np.float32)\n"
        "image = Volume(array, Geometry((12, 12, 12), np.eye(4)))\n"
        "register(image, image, preset='fast')\nsys.stdout.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    modules = done.stdout.split()
    assert "torch" in modules
    assert "torch._dynamo" not in modules
    assert "sympy" not in modules
