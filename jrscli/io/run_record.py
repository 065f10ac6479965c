"""run.json: what was run on what, with which result. It holds hashes in place of names and paths, so no patient data."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from jrscli.errors import Notice
from jrscli.io.hashes import input_sha256
from jrscli.io.sidecar import write_json
from jrscli.io.software import software_version
from jrscli.spatial.geometry import Geometry

RUN_FILE = "run.json"
_PACKAGES = (
    "numpy", "scipy", "scikit-image", "SimpleITK", "nibabel", "pydicom", "highdicom", "torch", "onnxruntime-gpu", "onnxruntime",
)  # fmt: skip


@dataclass
class RunRecord:
    """The record of one run, filled while it goes on and written last.

    given: what the user gave on the command line, with hashes in place of paths; fingerprint: the hash of that, of the command
    and of the version: what has the same fingerprint need not be computed again. steps: of the registration; stages: of the
    whole run, from reading to the report.
    """

    command: str
    options: Mapping[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    step_seconds: list[float] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    status: str = "ok"
    code: str | None = None
    _start: float = field(default_factory=time.perf_counter)
    _lap: float = field(default_factory=time.perf_counter)

    def add_input(
        self, role: str, path: Path, kind: str, geometry: Geometry | None = None, modality: str | None = None
    ) -> None:
        """Note an input by its role, kind and hashes; its name and path are left out."""
        entry: dict[str, Any] = {"role": role, "kind": kind, "sha256": input_sha256(path)}
        if geometry is not None:
            entry |= {
                "size": list(geometry.shape),
                "spacing_mm": [round(s, 6) for s in geometry.spacing_mm],
                "geometry_sha256": geometry.sha256,
            }
        if modality:
            entry["modality"] = modality
        self.inputs.append(entry)

    def add_output(self, kind: str, path: Path, name: str | None = None) -> None:
        """Note an output file, by its name in the result folder."""
        self.outputs.append({"kind": kind, "file": name or path.name, "sha256": sha256_of(path)})

    def add_step(self, name: str, seconds: float, facts: Mapping[str, Any] | None = None) -> None:
        """Note a step of the computation."""
        self.steps.append({"step": name, **{key: plain(value) for key, value in (facts or {}).items()}})
        self.step_seconds.append(round(seconds, 3))

    def lap(self, stage: str) -> None:
        """Note that a stage of the whole run has ended now: what went on since the last one ended."""
        now = time.perf_counter()
        self.stages[stage] = round(self.stages.get(stage, 0.0) + now - self._lap, 3)
        self._lap = now

    def seconds(self) -> float:
        """Time since the record was opened."""
        return time.perf_counter() - self._start

    def document(self) -> dict[str, Any]:
        """The record as it is written."""
        return {
            "jrs": software_version(),
            "command": self.command,
            "status": self.status,
            **({"code": self.code} if self.code else {}),
            "options": plain(dict(self.options)),
            **({"given": plain(self.given), "fingerprint": self.fingerprint} if self.fingerprint else {}),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "steps": self.steps,
            **{key: plain(value) for key, value in self.facts.items()},
            "notices": [{"code": notice.code, "message": notice.message} for notice in self.notices],
            "repairs": sorted({notice.code for notice in self.notices}),
            "timing": {
                "seconds": round(self.seconds(), 3),
                "steps": self.step_seconds,
                **({"stages": self.stages} if self.stages else {}),
                "peak_memory_mib": peak_memory_mib(),
            },
            "system": {"python": platform.python_version(), "platform": platform.platform(), "machine": platform.machine()},
            "packages": package_versions(),
            "use": "research use, not a medical device",
        }

    def write(self, path: Path) -> None:
        """Write the record.

        Raises WriteError `output.unwritable`.
        """
        write_json(self.document(), path)


def recorded_outputs(folder: Path) -> dict[str, str]:
    """The outputs that the record in ``folder`` names, with their hashes; none where there is no readable record."""
    try:
        outputs = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["outputs"]
        return {str(entry["file"]): str(entry["sha256"]) for entry in outputs}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def recorded_kinds(folder: Path) -> list[tuple[str, Path]]:
    """(kind, path) of each output that the record in ``folder`` names."""
    try:
        outputs = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["outputs"]
        return [(str(entry["kind"]), folder / str(entry["file"])) for entry in outputs]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def sha256_of(path: Path) -> str:
    """The hash of a file, or of the sorted hashes of all files in a folder (their names do not count)."""
    if path.is_dir():
        hashes = sorted(sha256_of(file) for file in path.rglob("*") if file.is_file())
        return hashlib.sha256("".join(hashes).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_memory_mib() -> int | None:
    """The most memory this process has held, MiB; None where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):
        # getrusage would count what the parent process held when it forked; Linux says what this program held
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024
    with contextlib.suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak // (1024 * 1024 if platform.system() == "Darwin" else 1024))
    return None


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    return dict(_package_versions())


@cache
def _package_versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def plain(value: Any) -> Any:
    """``value`` as JSON holds it: no paths (they may name a patient), no infinities, no arrays."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return "FILE"
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)
