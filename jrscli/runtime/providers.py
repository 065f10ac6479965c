"""Which execution provider runs a graph: believed only when the loaded session names it.

`onnxruntime.get_available_providers` lists what the package was built with, not what works on this machine.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import onnxruntime

from jrscli.errors import Notice, ProviderError, UsageError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
FATAL = 4  # onnxruntime's log level: what goes wrong is told by us, once


def load_session(source: bytes | str, device: str, threads: int | None) -> tuple[Any, str, tuple[Notice, ...]]:
    """A session of the graph on ``device``, the device it really runs on, and what was odd.

    source: the bytes of a graph, or its path. device: "auto", "cpu", "cuda" or "cuda:N".

    Raises UsageError `usage.device`, ProviderError `provider.cuda`, and what onnxruntime raises for a bad graph.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise UsageError(f"no device named {device}", code="usage.device", hint="one of auto, cpu, cuda, cuda:N")
    if kind == "cpu" or (kind == "auto" and not gpu_is_visible()):
        return _session(source, [CPU], threads), "cpu", ()
    session, reason = _on_gpu(source, int(number or 0), threads)
    if session is not None:
        return session, f"cuda:{number or 0}", ()
    if kind == "cuda":
        raise ProviderError(
            f"{device} is not usable for networks: {reason}", code="provider.cuda", hint="see jrs doctor, or use --device cpu"
        )
    notice = Notice("provider.cpu", f"GPU present but not usable ({reason}): using the CPU")
    return _session(source, [CPU], threads), "cpu", (notice,)


def gpu_is_visible() -> bool:
    """Whether the system shows a GPU of NVIDIA's, usable or not."""
    return Path("/proc/driver/nvidia/gpus").is_dir() or shutil.which("nvidia-smi") is not None


def _on_gpu(source: bytes | str, number: int, threads: int | None) -> tuple[Any, str]:
    if CUDA not in onnxruntime.get_available_providers():
        return None, "this onnxruntime was built without CUDA"
    # the libraries may lie in the packages that pip installs beside torch
    with contextlib.suppress(Exception):
        onnxruntime.preload_dlls()
    options = {"device_id": str(number), "use_tf32": "0"}
    try:
        session = _session(source, [(CUDA, options)], threads)
    except Exception as error:
        return None, str(error).splitlines()[0][:160] or type(error).__name__
    loaded = session.get_providers()
    if loaded[:1] != [CUDA]:
        return None, f"the loaded model runs on {', '.join(name.removesuffix('ExecutionProvider') for name in loaded)}"
    return session, ""


def _session(source: bytes | str, providers: list[Any], threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    # threads that sleep while they wait: other programs share the machine
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(source, options, providers=providers)
