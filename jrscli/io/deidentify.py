"""De-identification of written DICOM objects after the Basic Application Level Confidentiality Profile (PS3.15, Annex E).

The table of what happens to which attribute is that of `dicom-anonymizer` (edition 2026c of PS3.15, Table E.1-1); here it is
applied at every depth of sequences, which the package itself does not do.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from functools import cache
from pathlib import Path

import pydicom
from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from jrscli.errors import Notice, WriteError
from jrscli.io.dicom_values import IMPLEMENTATION_UID
from jrscli.io.dicom_walk import quiet
from jrscli.io.pseudonym import own_salt, pseudonym
from jrscli.io.sidecar import write_json
from jrscli.io.software import software_version

EDITION = "2026c"
NOT_DONE = (
    "text burned into pixels was not looked for",
    "faces and other features that a rendering would show were not removed",
    "descriptions were removed, not cleaned; structured content was not searched",
    "the shape, order and size of structures were kept",
    "files of other formats hold no header data, and were not changed otherwise",
)
"""What the profile asks for, or its options offer, and this does not do."""
_REMOVED = "REMOVED"
_DUMMIES = {"DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "UR": "http://removed.invalid"}
_DUMMIES |= dict.fromkeys(("DS", "IS"), "0") | dict.fromkeys(("FD", "FL", "SS", "US", "SL", "UL"), 0)  # type: ignore[arg-type]
_DUMMIES |= dict.fromkeys(("OB", "OW", "UN"), b"")  # type: ignore[arg-type]
_ALSO_REMOVED = (0x30040006, 0x00620006, 0x00181400)
"""Free text that the table leaves: DoseComment, SegmentDescription, AcquisitionDeviceProcessingDescription."""
_STANDARD_ROOT = "1.2.840.10008."


def deidentified_notice() -> Notice:
    """What to tell the user after de-identification: what was done, and what was not."""
    return Notice("phi.deidentified", f"DICOM objects de-identified (PS3.15 Basic Profile, {EDITION}); " + "; ".join(NOT_DONE))


def deidentify_folder(folder: Path, *, rois_only: bool = False) -> int:
    """How many files below ``folder`` were de-identified: every DICOM object, and the names in label tables (.json).

    rois_only: replace the names of ROIs alone.

    Raises WriteError `output.unwritable`.
    """
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            count += _table(path)
        elif path.suffix == ".dcm":
            deidentify_file(path, rois_only=rois_only)
            count += 1
    return count


@quiet()
def deidentify_file(path: Path, *, rois_only: bool = False) -> None:
    """De-identify one DICOM file in its place.

    Raises WriteError `output.unwritable`.
    """
    try:
        dataset = pydicom.dcmread(path)
        anonymise_rois(dataset)
        if not rois_only:
            deidentify(dataset)
        dataset.preamble = bytes(128)
        dataset.save_as(path, enforce_file_format=True)
    except OSError as error:
        raise WriteError(
            f"{path.name} cannot be written", code="output.unwritable", hint="check the free space and the permissions"
        ) from error


def deidentify(dataset: Dataset) -> None:
    """Take out of a data set, in its place, what the Basic Profile takes out; UIDs become others, always the same ones."""
    patient = pseudonym(str(dataset.get("PatientID", "") or ""))
    _clean(dataset)
    meta = getattr(dataset, "file_meta", None)
    if meta is not None:
        _clean(meta)
        for keyword in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "ReceivingApplicationEntityTitle"):
            if keyword in meta:
                del meta[keyword]
    # "Z" allows a dummy: the pseudonym keeps a patient's objects together
    dataset.PatientName = dataset.PatientID = patient
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [f"PS3.15 Basic Profile {EDITION}", f"jrs {software_version()}"[:64]]
    profile = Dataset()
    profile.CodeValue, profile.CodingSchemeDesignator = "113100", "DCM"
    profile.CodeMeaning = "Basic Application Confidentiality Profile"
    dataset.DeidentificationMethodCodeSequence = [profile]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


def anonymise_rois(dataset: Dataset) -> None:
    """Name ROIs and segments after their numbers, and take their descriptions out."""
    for item in dataset.get("StructureSetROISequence") or ():
        item.ROIName = roi_name(int(item.get("ROINumber") or 0))
    for item in dataset.get("RTROIObservationsSequence") or ():
        for keyword in ("ROIObservationLabel", "ROIObservationDescription"):
            if keyword in item:
                del item[keyword]
    for item in dataset.get("SegmentSequence") or ():
        item.SegmentLabel = roi_name(int(item.get("SegmentNumber") or 0))
        for keyword in ("SegmentDescription", "TrackingID"):
            if keyword in item:
                item[keyword].value = item.SegmentLabel


def roi_name(number: int) -> str:
    """What stands in the place of a name."""
    return f"ROI-{number}"


def _table(path: Path) -> int:
    """The names in a label table replaced; 0 for other JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        return 0
    content["labels"] = {number: roi_name(int(number)) for number in content["labels"]}
    write_json(content, path)
    return 1


def _clean(dataset: Dataset) -> None:
    # tag by tag, for a raw element (contours are long) is only decoded where something is done to it
    for tag in list(dataset.keys()):
        action = _action(tag)
        if action == "X":
            del dataset[tag]
            continue
        vr = _vr(dataset.get_item(tag), tag)
        if vr == "SQ":
            if action in ("Z", "D"):
                dataset[tag].value = []
            else:
                for item in dataset[tag].value:
                    _clean(item)
        elif vr == "UI":
            element = dataset[tag]
            element.value = [_other_uid(uid) for uid in element.value] if element.VM > 1 else _other_uid(element.value)
        elif action == "Z":
            dataset[tag] = DataElement(tag, vr, None)
        elif action == "D":
            dataset[tag] = DataElement(tag, vr, _DUMMIES.get(vr, _REMOVED))


def _vr(element: DataElement | RawDataElement, tag: BaseTag) -> str:
    try:
        return str(element.VR or dictionary_VR(tag))
    except KeyError:
        return "UN"


@cache
def _actions() -> dict[tuple[int, int], str]:
    """The action of each attribute. Where the table leaves a choice, the one that any kind of object allows.

    ``X/Z`` is emptied, and ``X/D``, ``Z/D`` and ``X/Z/D`` get a dummy: an attribute that was there may be required.
    """
    table = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")
    kinds = {"X_TAGS": "X", "Z_TAGS": "Z", "X_Z_TAGS": "Z", "D_TAGS": "D", "Z_D_TAGS": "D", "X_D_TAGS": "D", "X_Z_D_TAGS": "D"}
    return {(tag[0], tag[1]): action for name, action in kinds.items() for tag in table[name] if len(tag) == 2}


def _action(tag: BaseTag) -> str | None:
    """X (remove), Z (empty), D (dummy), or None: keep, but for UIDs."""
    if tag.is_private or tag in _ALSO_REMOVED:
        return "X"
    # curves, and overlays with their comments
    if tag.group & 0xFF00 == 0x5000 or (tag.group & 0xFF00 == 0x6000 and tag.element in (0x3000, 0x4000)):
        return "X"
    if tag in (0x3006_0026, 0x0012_0062, 0x0012_0063, 0x0012_0064):
        return None  # names of ROIs have been replaced before; the others tell of de-identification
    return _actions().get((tag.group, tag.element))


def _other_uid(value: object) -> str:
    """The UID that stands for ``value`` on this account; those of the standard (classes, encodings) stay."""
    uid = str(value or "")
    if not uid or uid.startswith(_STANDARD_ROOT) or uid == IMPLEMENTATION_UID:
        return uid
    digest = hmac.new(own_salt(), f"uid {uid}".encode(), hashlib.sha256).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}")
