"""The options about patient data, and what they do to what a command says and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from jrscli.errors import Notice

_PANEL = "Patient data"

Deidentify = Annotated[
    bool,
    typer.Option(
        "--deidentify",
        help="Write DICOM de-identified (PS3.15 Basic Profile), ROIs by number; run.json says what was not done.",
        rich_help_panel=_PANEL,
    ),
]
AnonymiseRois = Annotated[
    bool, typer.Option("--anonymise-rois", help="Write ROI-1, ROI-2 … in place of the names of ROIs.", rich_help_panel=_PANEL)
]
ShowPhi = Annotated[
    bool, typer.Option("--show-phi", help="Name patients and ROIs in messages and run.json.", rich_help_panel=_PANEL)
]


@dataclass(frozen=True)
class Privacy:
    """What of the patient may be shown and written. By default DICOM objects name the patient, and nothing else does."""

    deidentify: bool = False
    anonymise_rois: bool = False
    show_phi: bool = False

    def apply(self, folder: Path) -> tuple[Notice, ...]:
        """Take out of the files below ``folder`` what is not to be written; what to tell of it."""
        if not (self.deidentify or self.anonymise_rois):
            return ()
        from jrscli.io.deidentify import deidentified_notice, deidentify_folder

        deidentify_folder(folder, rois_only=not self.deidentify)
        return (deidentified_notice(),) if self.deidentify else ()

    def shown(self) -> tuple[Notice, ...]:
        """The banner of --show-phi."""
        if not self.show_phi:
            return ()
        return (Notice("phi.shown", "patient data is shown (--show-phi): these messages and run.json are not for others"),)
