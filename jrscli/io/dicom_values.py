"""Small values as DICOM writes them: decimal strings, UIDs, dates."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pydicom.valuerep import format_number_as_ds

IMPLEMENTATION_UID = UID("2.25.214071905436131287420319463711920245101")
"""Names this writer in the file meta information; made once at random."""


def decimal_string(value: float, decimals: int = 3) -> str:
    """A number as DS: at most 16 characters (longer ones are refused by planning systems), no trailing zeros."""
    text = f"{value:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return format_number_as_ds(float(value)) if len(text) > 16 else ("0" if text in ("-0", "") else text)


def exact_decimal(value: float) -> str:
    """A number as DS with all the digits that 16 characters hold."""
    return format_number_as_ds(float(value) + 0.0)


def new_uid(seed: str | None, *content: str) -> UID:
    """A new UID: at random, or with a seed one that depends on the seed and the content alone."""
    if seed is None:
        return UID(f"2.25.{uuid.uuid4().int}")
    digest = hashlib.sha256("\x1f".join((seed, *content)).encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}")


def date_and_time(seed: str | None, template: Dataset | None) -> tuple[str, str]:
    """DA and TM of what is written now; with a seed those of the study, so that equal runs give equal files."""
    if seed is None:
        now = datetime.now()
        return now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    date = str(template.get("StudyDate", "") or "") if template is not None else ""
    return date or "20000101", "000000"


def file_meta(sop_class: str, sop_instance: str, transfer_syntax: str) -> FileMetaDataset:
    """The file meta information of an object to write."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_instance
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "JRSCLI"
    return meta
