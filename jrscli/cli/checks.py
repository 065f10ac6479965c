"""The checks of ``jrs doctor``: each says what it found and, if that is bad, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from jrscli import __version__

TOOLS = {
    "plastimatch": "reads structure sets and deformable registrations: an independent check of outputs",
    "dciodvfy": "validates DICOM objects (Debian: dicom3tools)",
}
PACKAGES = ("numpy", "scipy", "scikit-image", "SimpleITK", "nibabel", "pydicom", "torch", "typer", "rich")
_LOW_MEMORY_GIB = 4.0
_LOW_SCRATCH_GIB = 2.0


@dataclass(frozen=True)
class Check:
    """One line of the doctor."""

    state: Literal["ok", "note", "warn", "bad"]
    name: str
    found: str
    hint: str = ""

    def document(self) -> dict[str, str]:
        """The check as a JSON object."""
        return asdict(self)


def checks() -> list[Check]:
    """Everything that the doctor looks at."""
    return [
        _python(),
        Check("ok", "platform", f"{platform.platform()}, {os.cpu_count()} cores"),
        *(_package(name) for name in PACKAGES),
        *_onnxruntime(),
        _gpu(),
        _memory(),
        _scratch(),
        *(_tool(name, use) for name, use in TOOLS.items()),
    ]


def _python() -> Check:
    return Check("ok", "python", f"{platform.python_version()}, jrs {__version__}")


def _package(name: str) -> Check:
    version = _version(name)
    return Check("ok", name, version) if version else Check("bad", name, "not installed", "install again: pip install jrscli")


def _onnxruntime() -> list[Check]:
    """Two packages that install the same module: together, whichever came last wins, and the GPU is lost without a word."""
    plain, gpu = _version("onnxruntime"), _version("onnxruntime-gpu")
    if plain and gpu:
        hint = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        return [Check("warn", "onnxruntime", f"{plain} beside onnxruntime-gpu {gpu}: one overwrites the other", hint)]
    if not plain and not gpu:
        return [Check("warn", "onnxruntime", "not installed", "install again: pip install jrscli")]
    name = "onnxruntime-gpu" if gpu else "onnxruntime"
    try:
        import onnxruntime

        providers = ", ".join(provider.removesuffix("ExecutionProvider") for provider in onnxruntime.get_available_providers())
    except Exception as error:
        return [Check("warn", name, f"{gpu or plain} does not load: {type(error).__name__}", "install it again")]
    return [Check("ok", name, f"{gpu or plain}, providers built in: {providers}")]


def _gpu() -> Check:
    try:
        import torch

        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
            return Check("ok", "GPU", f"{', '.join(names)} (CUDA {torch.version.cuda})")
        if torch.version.cuda is None:
            present = shutil.which("nvidia-smi") is not None
            hint = "install a CUDA build of torch to use it" if present else ""
            return Check(
                "warn" if present else "note",
                "GPU",
                "torch is a CPU build" + (", but a GPU driver is here" if present else ""),
                hint,
            )
        return Check("note", "GPU", f"none that torch (CUDA {torch.version.cuda}) can use; computing on the CPU")
    except Exception as error:
        return Check("bad", "GPU", f"torch does not load: {type(error).__name__}: {error}", "install torch again")


def _memory() -> Check:
    free = free_memory_gib()
    if free is None:
        return Check("note", "memory", "this system does not say how much is free")
    if free < _LOW_MEMORY_GIB:
        return Check(
            "warn", "memory", f"{free:.1f} GiB free", "a full CT needs about 4 GiB; close other programs or use --preset fast"
        )
    return Check("ok", "memory", f"{free:.1f} GiB free")


def free_memory_gib() -> float | None:
    """Memory that can be had without swapping, GiB; None where the system does not say."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) / 1024**2
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    except (ValueError, OSError, AttributeError):
        return None


def _scratch() -> Check:
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile():
            free = shutil.disk_usage(folder).free / 1024**3
    except OSError as error:
        return Check(
            "warn", "scratch space", f"{folder} cannot be written: {error.strerror}", "set TMPDIR to a folder that can"
        )
    if free < _LOW_SCRATCH_GIB:
        return Check("warn", "scratch space", f"{free:.1f} GiB free in {folder}", "free some space, or set TMPDIR")
    return Check("ok", "scratch space", f"{free:.1f} GiB free in {folder}")


def _tool(name: str, use: str) -> Check:
    path = shutil.which(name)
    return Check("ok", name, path) if path else Check("note", name, f"not installed (optional: {use})")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
