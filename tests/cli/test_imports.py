"""Help is quick because nothing heavy is imported for it. Modules are looked at, not the clock."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "torch", "onnxruntime", "SimpleITK", "nibabel", "pydicom", "scipy", "skimage", "PIL")
COMMANDS = (
    "register",
    "propagate-contours",
    "segment",
    "evaluate",
    "warp",
    "info",
    "demo",
    "doctor",
    "batch register",
    "convert series",
    "models list",
)


def _imported(statement: str) -> list[str]:
    """The heavy modules that a fresh interpreter holds after a statement."""
    code = f"import sys\n{statement}\nprint('\\n' + ' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_importing_the_package_is_light() -> None:
    assert _imported("import jrscli") == []


def test_help_is_light() -> None:
    assert _imported("from jrscli.cli import app; assert app(['--help']) == 0") == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_light(command: str) -> None:
    assert _imported(f"from jrscli.cli import app; assert app({[*command.split(), '--help']!r}) == 0") == []


@pytest.mark.parametrize("option", ["--version", "--help-codes"])
def test_what_needs_no_image_is_light(option: str) -> None:
    assert _imported(f"from jrscli.cli import app; assert app([{option!r}]) == 0") == []


def test_the_check_can_fail() -> None:
    assert _imported("import jrscli.spatial.volume") == ["numpy"]
    assert "SimpleITK" in _imported("import jrscli.spatial.itk")
