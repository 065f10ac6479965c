"""The import contracts hold, and each of them can fail."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jrscli"
CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
}

# contract -> a file that breaks it
INTRUDERS = {
    "layers": ("spatial/intruder.py", "import jrscli.io"),
    "no-torch": ("io/intruder.py", "import torch"),
    "torch-in-engine": ("workflows/intruder.py", "def late():\n    import torch"),
    "files-in-io": ("workflows/intruder.py", "import pydicom"),
    "words-in-cli": ("metrics/intruder.py", "from rich.console import Console"),
    "light-ground": ("errors.py", "import numpy"),
    "methods-apart": ("methods/intruder.py", "import jrscli.methods.deepatlas"),
}


def _lint(root: Path) -> tuple[int, str]:
    program = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that a test may spoil."""
    shutil.copytree(PACKAGE, tmp_path / "jrscli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold():
    code, said = _lint(ROOT)
    assert code == 0, said
    for name in CONTRACTS.values():
        assert f"{name} KEPT" in said


def test_every_contract_has_an_intruder():
    assert set(INTRUDERS) == set(CONTRACTS)


@pytest.mark.parametrize("contract", INTRUDERS)
def test_an_intruder_breaks_its_contract(copy, contract):
    path, line = INTRUDERS[contract]
    with (copy / "jrscli" / path).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    code, said = _lint(copy)
    assert code == 1, said
    assert f"{CONTRACTS[contract]} BROKEN" in said


def test_a_new_package_needs_a_floor(copy):
    (copy / "jrscli" / "attic.py").write_text("", encoding="utf-8")
    code, said = _lint(copy)
    assert code == 1, said
    assert "attic" in said


def imported_at_top(source: str) -> set[str]:
    """The modules that a file imports when it is imported itself: not in function bodies, not for type checkers only."""
    found: set[str] = set()

    def walk(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, "imports are absolute"
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                walk(node.orelse)
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for name in ("body", "orelse", "finalbody"):
                    walk(getattr(node, name, []))
                for handler in getattr(node, "handlers", []):
                    walk(handler.body)

    walk(ast.parse(source).body)
    return found


def _reaches_engine(source: str) -> set[str]:
    return {name for name in imported_at_top(source) if f"{name}.".startswith(("jrscli.engine.", "jrscli.nn."))}


def test_workflows_reach_the_engine_inside_function_bodies_only():
    files = list((PACKAGE / "workflows").rglob("*.py"))
    assert files
    for path in files:
        assert not _reaches_engine(path.read_text("utf-8")), path.name


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import jrscli.engine.linear", True),
        ("from jrscli import engine", True),
        ("from jrscli.nn.warp import warp", True),
        ("try:\n    import jrscli.engine\nexcept ImportError:\n    pass", True),
        ("class A:\n    import jrscli.engine", True),
        ("def f():\n    import jrscli.engine", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from jrscli.engine import linear", False),
        ("import jrscli.engineering", False),
    ],
)
def test_an_engine_import_at_the_top_is_found(source, found):
    assert bool(_reaches_engine(source)) is found
