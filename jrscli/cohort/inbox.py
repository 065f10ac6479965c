"""The queue of a DICOM node: what arrived, what is to be done and what is to be sent, in SQLite and in folders beside it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

QUEUE = "node.sqlite"
INCOMING = "incoming"
RESULTS = "results"
_KEPT_FREE = 2**30
"""Bytes of the disk that stay free: the results have to go somewhere."""
_TABLES = """
CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS patients (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('received', 'quiet', 'running', 'sending', 'done', 'quarantine')),
    changed REAL NOT NULL,
    arrivals INTEGER NOT NULL,
    code TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS outgoing (
    number INTEGER PRIMARY KEY,
    patient TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL UNIQUE,
    object TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'refused', 'replaced')),
    tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS outgoing_object ON outgoing (object);
"""
_SETTLED = """
SELECT key, iif(code != '', code, iif(EXISTS
     (SELECT 1 FROM outgoing WHERE patient = key AND state = 'refused'), 'node.refused', ''))
FROM patients
WHERE state = 'sending' AND NOT EXISTS (SELECT 1 FROM outgoing WHERE patient = key AND state = 'waiting')
"""


@dataclass(frozen=True)
class Outgoing:
    """An object to be sent. path: below the node's folder. tries: how often it was tried."""

    number: int
    patient: str
    path: Path
    sha256: str
    tries: int


class Inbox:
    """The queue in a folder; several threads may use it.

    A patient is received → quiet (nothing arrived for a while) → running → sending → done, or quarantine. What arrives in
    between makes it received again. Names of folders and files are keyed hashes, with a key that lies in the queue.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / INCOMING).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()
        self._database = sqlite3.connect(folder / QUEUE, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")  # what was acknowledged outlives a power cut
        self._database.executescript(_TABLES)
        with self._transaction() as database:
            database.execute("INSERT INTO secret SELECT ? WHERE NOT EXISTS (SELECT * FROM secret)", (secrets.token_bytes(32),))
            (self._secret,) = database.execute("SELECT value FROM secret").fetchone()
            database.execute("UPDATE patients SET state = 'received' WHERE state = 'running'")
        self._tidy()

    def close(self) -> None:
        """Let go of the queue."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _tidy(self) -> None:
        """Take away what was cut off half-written; note folders that a crash left out of the queue."""
        for folder in (self.folder / INCOMING).iterdir():
            for path in folder.glob(".*.part"):
                path.unlink(missing_ok=True)
            with self._transaction() as database:
                database.execute("INSERT OR IGNORE INTO patients VALUES (?, 'received', ?, 1, '')", (folder.name, time.time()))

    def _hashed(self, kind: str, text: str, digits: int) -> str:
        return hmac.new(self._secret, f"{kind}:{text}".encode(), hashlib.sha256).hexdigest()[:digits]

    def incoming(self, key: str) -> Path:
        """The folder of what arrived for a patient."""
        return self.folder / INCOMING / key

    def results(self, key: str) -> Path:
        """The folder of a patient's results."""
        return self.folder / RESULTS / key

    def keep(self, patient: str, uid: str, content: bytes) -> bool:
        """Whether the object is on disk and in the queue, for good; it is not where the disk is (nearly) full or fails.

        What this node itself sent and gets back is passed over.
        """
        name, key = self._hashed("object", uid, 32), "N-" + self._hashed("patient", patient.strip(), 16)
        try:
            with self._lock:
                if self._database.execute("SELECT 1 FROM outgoing WHERE object = ?", (name,)).fetchone():
                    return True
            if shutil.disk_usage(self.folder).free < len(content) + _KEPT_FREE:
                return False
            folder = self.incoming(key)
            partial = folder / f".{secrets.token_hex(8)}.part"
            with self._lock:
                folder.mkdir(exist_ok=True, mode=0o700)
                partial.touch(0o600)
            try:
                with partial.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                with self._transaction() as database:
                    partial.replace(folder / f"{name}.dcm")
                    _on_disk(folder)
                    database.execute(
                        "INSERT INTO patients VALUES (?, 'received', ?, 1, '') ON CONFLICT (key) DO UPDATE SET changed = "
                        "excluded.changed, arrivals = arrivals + 1, state = iif(state = 'running', state, 'received')",
                        (key, time.time()),
                    )
            finally:
                partial.unlink(missing_ok=True)
        except (OSError, sqlite3.Error):
            return False
        return True

    def take(self, quiet_seconds: float) -> tuple[str, int] | None:
        """The patient that has been waiting longest, now running, and a mark for `finish`; None where none is quiet."""
        with self._transaction() as database:
            before = time.time() - quiet_seconds
            database.execute("UPDATE patients SET state = 'quiet' WHERE state = 'received' AND changed <= ?", (before,))
            found = database.execute(
                "SELECT key, arrivals FROM patients WHERE state = 'quiet' ORDER BY changed LIMIT 1"
            ).fetchone()
            if found is not None:
                database.execute("UPDATE patients SET state = 'running' WHERE key = ?", (found[0],))
        return found

    def put_back(self, key: str) -> None:
        """A patient whose run was broken off waits again."""
        with self._transaction() as database:
            database.execute("UPDATE patients SET state = 'received' WHERE key = ? AND state = 'running'", (key,))

    def finish(self, key: str, mark: int, objects: Iterable[tuple[Path, str, str]], code: str = "") -> None:
        """The run is over: its objects (path, sha256, UID) are to be sent, each once. code: why a case was not done.

        A patient for whom something arrived since is received again.
        """
        with self._transaction() as database:
            for path, sha256, uid in objects:
                database.execute(
                    "INSERT OR IGNORE INTO outgoing (patient, path, sha256, object) VALUES (?, ?, ?, ?)",
                    (key, path.relative_to(self.folder).as_posix(), sha256, self._hashed("object", uid, 32)),
                )
            database.execute(
                "UPDATE patients SET state = iif(arrivals = ?, 'sending', 'received'), code = ? WHERE key = ?",
                (mark, code, key),
            )
        self.settle()

    def due(self) -> list[Outgoing]:
        """The objects to be sent now."""
        with self._lock:
            rows = self._database.execute(
                "SELECT number, patient, path, sha256, tries FROM outgoing "
                "WHERE state = 'waiting' AND due <= ? ORDER BY number",
                (time.time(),),
            ).fetchall()
        return [Outgoing(number, patient, self.folder / path, sha256, tries) for number, patient, path, sha256, tries in rows]

    def sent(self, one: Outgoing, state: str = "sent") -> None:
        """An object is done with: "sent", "refused" by the destination, or "replaced" by a later result."""
        with self._transaction() as database:
            database.execute("UPDATE outgoing SET state = ? WHERE number = ?", (state, one.number))

    def later(self, one: Outgoing, seconds: float) -> None:
        """An object is tried again after a while."""
        with self._transaction() as database:
            words = "UPDATE outgoing SET tries = tries + 1, due = ? WHERE number = ?"
            database.execute(words, (time.time() + seconds, one.number))

    def settle(self) -> list[tuple[str, str, str]]:
        """Patients of whom everything is sent are done, or in quarantine; their keys, new states and codes."""
        with self._transaction() as database:
            rows = database.execute(_SETTLED).fetchall()
            for key, code in rows:
                state = "quarantine" if code else "done"
                database.execute("UPDATE patients SET state = ?, code = ? WHERE key = ?", (state, code, key))
        return [(key, "quarantine" if code else "done", code) for key, code in rows]

    def forget(self, seconds: float) -> list[str]:
        """Remove what arrived for patients who are done and of whom nothing came for so long; their keys."""
        with self._transaction() as database:
            rows = database.execute(
                "SELECT key FROM patients WHERE state IN ('done', 'quarantine') AND changed < ?", (time.time() - seconds,)
            ).fetchall()
            for (key,) in rows:
                shutil.rmtree(self.incoming(key), ignore_errors=True)
                database.execute("DELETE FROM patients WHERE key = ?", (key,))
        return [key for (key,) in rows]

    def unsent(self) -> int:
        """How many objects are still to be sent."""
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM outgoing WHERE state = 'waiting'").fetchone()[0])

    def states(self) -> dict[str, tuple[str, str]]:
        """State and code of each patient."""
        with self._lock:
            return {key: (state, code) for key, state, code in self._database.execute("SELECT key, state, code FROM patients")}


def _on_disk(folder: Path) -> None:
    """A rename outlives a power cut once the folder is on disk, too."""
    if os.name == "nt":
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
