"""How the files beside this one were thinned from the public data sets.

python tests/data/make.py FOLDER
FOLDER holds hippocampus/{images,labels} (Medical Segmentation Decathlon, task 4) and sarcoma/STS_002/CT/{image,mask} (IBSI).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

HERE = Path(__file__).parent
HIPPOCAMPUS = ("006", "007", "008")
STEP = 2
CT_ELEMENTS = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDate", "StudyTime", "AccessionNumber",
    "Modality", "Manufacturer", "ReferringPhysicianName", "SeriesDescription", "PatientName", "PatientID", "PatientBirthDate",
    "PatientSex", "PatientIdentityRemoved", "DeidentificationMethod", "SliceThickness", "KVP", "PatientPosition",
    "StudyInstanceUID", "SeriesInstanceUID", "StudyID", "SeriesNumber", "AcquisitionNumber", "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient", "FrameOfReferenceUID", "PositionReferenceIndicator", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept",
    "RescaleSlope",
)  # fmt: skip


def thin_slice(source: Path, target: Path) -> None:
    """Keep every second pixel of every second row, so the first pixel stays where it is, and the elements named above."""
    full = pydicom.dcmread(source)
    thin = Dataset()
    for keyword in CT_ELEMENTS:
        if keyword in full:
            thin[keyword] = full[keyword]
    pixels = np.ascontiguousarray(full.pixel_array[::STEP, ::STEP])
    thin.Rows, thin.Columns = pixels.shape
    thin.PixelSpacing = [round(float(s) * STEP, 6) for s in full.PixelSpacing]
    thin.PixelData = pixels.tobytes()
    thin["PixelData"].VR = "OW"
    thin.file_meta = full.file_meta
    thin.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    thin.save_as(target, enforce_file_format=True, implicit_vr=False, little_endian=True)


def main(folder: Path) -> None:
    """Write hippocampus/ and sarcoma-ct/ here."""
    for part in ("images", "labels"):
        (HERE / "hippocampus" / part).mkdir(parents=True, exist_ok=True)
        for case in HIPPOCAMPUS:
            name = f"hippocampus_{case}.nii.gz"
            shutil.copyfile(folder / "hippocampus" / part / name, HERE / "hippocampus" / part / name)
    series = folder / "sarcoma" / "STS_002" / "CT"
    (HERE / "sarcoma-ct" / "image").mkdir(parents=True, exist_ok=True)
    for n, source in enumerate(sorted((series / "image").iterdir())):
        thin_slice(source, HERE / "sarcoma-ct" / "image" / f"{n:04d}.dcm")
    structures = next((series / "mask").iterdir())
    shutil.copyfile(structures, HERE / "sarcoma-ct" / "structures.dcm")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
