"""What the numbers of a series mean: Hounsfield units, standardised uptake, or nothing in particular."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from jrscli.errors import Notice
from jrscli.io.dicom_slice import Slice, text_of

CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_SUV = {"BW": "SUVbw", "LBM": "SUVlbm", "LBMJAMES128": "SUVlbm", "LBMJANMA": "SUVlbm", "BSA": "SUVbsa", "IBW": "SUVibw"}


def unit_of(slices: list[Slice]) -> tuple[str, float, tuple[Notice, ...]]:
    """The unit ("HU", "SUVbw", "BQML", "CNTS", … or ""), what values are to be multiplied by to get it, and notices.

    Notices: `value.cbct` for a CT that says itself that it holds no Hounsfield units, `value.suv` for a PET whose uptake cannot
    be computed.
    """
    first = slices[0]
    modality = text_of(first.header, "Modality")
    if modality == "CT":
        kind = str(first.get("RescaleType", "") or "").strip().upper()
        known = kind == "HU" or (not kind and text_of(first.header, "SOPClassUID") in CT_CLASSES)
        message = "the CT does not give its values in HU; nothing was rescaled"
        return ("HU", 1.0, ()) if known else ("", 1.0, (Notice("value.cbct", message),))
    if modality != "PT":
        return "", 1.0, ()
    units = text_of(first.header, "Units").strip().upper()
    if units == "GML":
        return _SUV.get(text_of(first.header, "SUVType").strip().upper() or "BW", "SUVbw"), 1.0, ()
    if units != "BQML":
        return units, 1.0, (Notice("value.suv", f"the PET is in {units or 'an unnamed unit'}: no uptake (SUV)"),)
    factor, missing = _suv_factor(slices)
    if factor is None:
        return units, 1.0, (Notice("value.suv", f"the PET stays in Bq/ml: {missing}, so there is no uptake (SUV)"),)
    return "SUVbw", factor, ()


def _suv_factor(slices: list[Slice]) -> tuple[float | None, str]:
    """SUV by body weight for one Bq/ml, or what is missing for it.

    SUVbw = activity · weight / dose at the time that the images are corrected to, with 1 g of tissue as 1 ml (QIBA, FDG-PET/CT
    profile; PS3.3 C.8.9.1.1.2 and C.8.9.4).
    """
    header = slices[0].header
    corrected = {str(word).upper() for word in header.get("CorrectedImage") or ()}
    decay = text_of(header, "DecayCorrection").strip().upper()
    if not {"ATTN", "DECY"} <= corrected or decay not in ("START", "ADMIN"):
        return None, "it is not corrected for decay and attenuation"
    tracers = list(header.get("RadiopharmaceuticalInformationSequence") or [])
    weight = _positive(header.get("PatientWeight"))
    dose = _positive(tracers[0].get("RadionuclideTotalDose")) if tracers else None
    half_life = _positive(tracers[0].get("RadionuclideHalfLife")) if tracers else None
    if weight is None or dose is None:
        return None, "weight or injected dose is missing"
    if decay == "ADMIN":
        return weight * 1000 / dose, ""
    injected, start = _injection(tracers[0], header), _scan_start(slices)
    if half_life is None or injected is None or start is None:
        return None, "times or half-life are missing"
    elapsed = (start - injected).total_seconds()
    if not 0 <= elapsed < 86400:
        return None, "injection and scan times do not fit together"
    return weight * 1000 / (dose * 2 ** (-elapsed / half_life)), ""


def _injection(tracer: Dataset, header: Dataset) -> datetime | None:
    """When the tracer was given: the date and time where it is there, else the time on the day of the series."""
    moment = _moment(text_of(tracer, "RadiopharmaceuticalStartDateTime"))
    if moment is not None:
        return moment
    time = text_of(tracer, "RadiopharmaceuticalStartTime")
    found = _moment(text_of(header, "SeriesDate") + time) if time else None
    series = _moment(text_of(header, "SeriesDate") + text_of(header, "SeriesTime"))
    # given before midnight, scanned after it
    return found - timedelta(days=1) if found and series and found > series else found


def _scan_start(slices: list[Slice]) -> datetime | None:
    """What the images are corrected to: the start of the series, unless that was rewritten after the first acquisition."""
    header = slices[0].header
    series = _moment(text_of(header, "SeriesDate") + text_of(header, "SeriesTime"))
    moments = [_moment(text_of(s.header, "AcquisitionDate") + text_of(s.header, "AcquisitionTime")) for s in slices]
    known = [moment for moment in moments if moment is not None]
    if series is None or not known:
        return None
    return series if series <= min(known) else None


def _moment(text: str) -> datetime | None:
    """A DICOM date and time run together, without its time zone."""
    digits = text.split("+")[0].split("-")[0].split(".")[0].strip()
    try:
        return datetime.strptime(digits.ljust(14, "0")[:14], "%Y%m%d%H%M%S") if len(digits) >= 10 else None
    except ValueError:
        return None


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number > 0 and np.isfinite(number) else None
