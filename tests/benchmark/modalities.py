"""CT and T1 MR of one patient: `jrs register --linear-only` from ten planted positions of the MR.

    python tests/benchmark/modalities.py DATA -o runs

DATA holds dicom/sarcoma. The MR is moved by random rigid maps (6–15 mm, 4–10°), once by its header and once resampled onto its
own grid, and registered to the CT by child processes on one thread. Distances are means over the tumour box's corners, mm:

- to the headers: from where the planted map puts the corners, taking the scanner's headers for the truth;
- to the middle: from the median of the patient's own answers, that is how much the answer depends on the start;
- by SimpleITK: how far its rigid registration (Mattes information, from the unmoved headers, CT cut to −200 … 300 HU) ends from
  the headers and from our middle, because the headers of these patients are not exact.

A start counts as worse where its answer is farther from the truth than the start was: by the headers, and by the middle.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from robustness import elsewhere, random_rigid, row  # beside this file

from jrscli.io import write_image
from jrscli.io.dicom_series import read_series
from jrscli.io.rtstruct import read_rtstruct
from jrscli.io.transforms import read_transform
from jrscli.spatial.itk import image_from_volume
from jrscli.spatial.resample import resample
from jrscli.spatial.volume import Volume

DEGREES, MILLIMETRES = (4.0, 10.0), (6.0, 15.0)
FORWARD = "from-moving_to-fixed_mode-image_xfm.h5"


def patient(folder: Path) -> tuple[Volume, Volume, np.ndarray]:
    """The CT, the MR and the corners of the tumour's box (mm)."""
    ct, header, _ = read_series(folder / "CT" / "image")
    path = next(p for p in sorted((folder / "CT" / "mask").iterdir()) if p.is_file())
    rois = read_rtstruct(path, header, ct.geometry).rois
    points = np.concatenate([contour.points for roi in rois for contour in roi.contours])
    low, high = points.min(0), points.max(0)
    corners = low + np.indices((2, 2, 2)).reshape(3, 8).T * (high - low)
    return ct, read_series(folder / "MR_T1" / "image")[0], corners


def answer(fixed: Path, moving: Path, out: Path) -> tuple[int, np.ndarray]:
    """The exit code and the map of a run, which is not done again where it is there."""
    if not (out / "code.json").exists():
        words = ["register", str(fixed), str(moving), "--model", "none", "--linear-only", "--threads", "1"]
        command = [sys.executable, "-m", "jrscli", *words, "-o", str(out), "--exist", "overwrite", "-q"]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, capture_output=True)
        (out / "code.json").write_text(json.dumps(done.returncode))
    return json.loads((out / "code.json").read_text()), read_transform(out / FORWARD).as_affine().matrix


def by_simpleitk(ct: Volume, mr: Volume, corners: np.ndarray) -> np.ndarray:
    """Where SimpleITK's rigid registration of the unmoved pair takes the corners."""
    low = Volume(np.clip(ct.array, -200, 300).astype(np.float32), ct.geometry)
    small, large = image_from_volume(Volume(mr.array.astype(np.float32), mr.geometry)), image_from_volume(low)
    found = sitk.Euler3DTransform()
    found.SetCenter(mr.geometry.centre_mm.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(40)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.3)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 300)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1, 0])
    method.SetInitialTransform(found, inPlace=True)
    method.Execute(small, large)
    return np.array([found.GetInverse().TransformPoint(corner.tolist()) for corner in corners])


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--patient", action="append")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    columns = [
        "patient",
        "planted by",
        "before",
        "to the headers: mean, ≤ 5 mm, ≤ 3 mm",
        "to the middle: mean, largest, ≤ 3 mm",
    ]
    columns += ["middle to headers", "SimpleITK to headers, to the middle", "failed", "worse by headers, by the middle"]
    row(f"| {' | '.join(columns)} |")
    row("|---|---|---|---|---|---|---|---|---|")
    for folder in sorted((given.data / "dicom" / "sarcoma").iterdir()):
        if not folder.is_dir() or (given.patient and folder.name not in given.patient):
            continue
        ct, mr, corners = patient(folder)
        fixed = given.out / f"{folder.name}.nii.gz"
        write_image(ct, fixed)
        theirs = by_simpleitk(ct, mr, corners)
        for how in ("header", "resampled"):
            starts, ends, codes = [], [], []
            for number in range(given.starts):
                seed = [int(folder.name.split("_")[1]), number]
                planted = random_rigid(seed, mr.geometry.centre_mm, DEGREES, MILLIMETRES)
                there = Volume(mr.array.astype(np.float32), elsewhere(mr.geometry, planted))
                moving = given.out / f"{folder.name}-{how}-{number}.nii.gz"
                write_image(there if how == "header" else resample(there, mr.geometry), moving)
                code, matrix = answer(fixed, moving, given.out / f"{folder.name}-{how}-{number}")
                # both ends in the place where the MR was before it was moved
                back = np.linalg.inv(planted.matrix)
                ends.append(corners @ (back @ matrix)[:3, :3].T + (back @ matrix)[:3, 3])
                starts.append(corners @ back[:3, :3].T + back[:3, 3])
                codes.append(code)
            row(_line(folder.name, how, corners, np.array(starts), np.array(ends), theirs, np.array(codes)))


def _line(
    name: str, how: str, corners: np.ndarray, starts: np.ndarray, ends: np.ndarray, theirs: np.ndarray, codes: np.ndarray
) -> str:
    def far(points: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points - other, axis=-1).mean(-1)

    middle = np.median(ends, axis=0)
    before, tre, spread = far(starts, corners), far(ends, corners), far(ends, middle)
    said = codes == 3
    worse = [tre > before, spread > far(starts, middle)]
    words = ", ".join(f"{w.sum()} ({(w & said).sum()} said)" for w in worse)
    return (
        f"| {name} | {how} | {before.mean():.1f} | {tre.mean():.2f}, {(tre <= 5).sum()}, {(tre <= 3).sum()} "
        f"| {spread.mean():.2f}, {spread.max():.2f}, {(spread <= 3).sum()} | {far(middle, corners):.2f} "
        f"| {far(theirs, corners):.2f}, {far(theirs, middle):.2f} | {said.sum()} | {words} |"
    )


if __name__ == "__main__":
    main()
