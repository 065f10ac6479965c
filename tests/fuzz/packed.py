"""DICOM images in other wrappings: compressed in each way that is decoded, deflated, and many frames in one object."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, EnhancedMRImageStorage, ExplicitVRLittleEndian

COMPRESSIONS = ("JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless")


def packed(series: dict[str, bytes], folder: Path) -> dict[str, dict[str, bytes]]:
    """The series (file name: bytes) in each wrapping, by the name of the wrapping."""
    folder.mkdir(exist_ok=True)
    found = {"deflated": {name: _deflated(data, folder / name) for name, data in series.items()}}
    for compression in COMPRESSIONS:
        found[compression] = {name: _compressed(data, folder / name, compression) for name, data in series.items()}
    found["frames"] = {"frames.dcm": _frames(folder / "frames.dcm", list(series.values()), folder)}
    found["frames j2k"] = {"a.dcm": _compressed(found["frames"]["frames.dcm"], folder / "a.dcm", "JPEG2000Lossless")}
    return found


def _deflated(data: bytes, path: Path) -> bytes:
    path.write_bytes(data)
    one = pydicom.dcmread(path)
    one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    one.save_as(path, implicit_vr=False, little_endian=True)
    return path.read_bytes()


def _compressed(data: bytes, path: Path, compression: str) -> bytes:
    path.write_bytes(data)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, compression)))
    change.SetInput(reader.GetImage())
    change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.Write()
    return path.read_bytes()


def _frames(path: Path, slices: list[bytes], folder: Path) -> bytes:
    """The slices as an enhanced object."""
    images = []
    for data in slices:
        (folder / "one.dcm").write_bytes(data)
        images.append(pydicom.dcmread(folder / "one.dcm"))
    first, one = images[0], Dataset()
    one.SOPClassUID, one.Modality, one.SOPInstanceUID = EnhancedMRImageStorage, "MR", "1.2.3"
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "Rows", "Columns", "SamplesPerPixel"):
        one[keyword] = first[keyword]
    for keyword in ("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        one[keyword] = first[keyword]
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient, measures.PixelSpacing = first.ImageOrientationPatient, first.PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    one.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for image in images:
        position, rescale, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = image.ImagePositionPatient
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "2", "-100", "US"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [rescale]
        frames.append(frame)
    one.PerFrameFunctionalGroupsSequence, one.NumberOfFrames = frames, len(frames)
    one.PixelData = np.concatenate([image.pixel_array for image in images]).tobytes()
    one["PixelData"].VR = "OW"
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
    one.save_as(path, enforce_file_format=True)
    return path.read_bytes()
