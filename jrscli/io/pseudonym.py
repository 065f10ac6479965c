"""Pseudonyms: how a patient is named in logs, reports and file names."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sys
from functools import cache
from pathlib import Path


def pseudonym(patient_id: str) -> str:
    """``P-`` and six hexadecimal digits: the same for one patient on one account, and no way back without its salt."""
    digest = hmac.new(own_salt(), patient_id.strip().encode(), hashlib.sha256).hexdigest()
    return f"P-{digest[:6]}"


def own_salt() -> bytes:
    """The secret of this account, without which pseudonyms cannot be followed back."""
    return _salt(_state_folder())


def _state_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "jrscli"
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / "jrscli"


@cache
def _salt(folder: Path) -> bytes:
    path = folder / "salt"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            # exclusive: of two first runs at once, the later reads what the earlier wrote
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
        except FileExistsError:
            pass
        salt = path.read_bytes()
    except OSError:
        salt = b""
    # without a writable state folder names hold for this run only
    return salt or secrets.token_bytes(32)
