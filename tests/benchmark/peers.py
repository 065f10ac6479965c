"""Other registration tools behind one call: ``python peers.py NAME FIXED MOVING FIELD.nii.gz KIND``.

KIND is "affine" or "rigid": the linear start that every tool gets, SimpleITK's registration by Mattes mutual information.
Each writes the whole displacement on the fixed grid (mm, LPS, pull). Settings are the tools' own where they have any; what was
chosen here stands in the code. greedy comes from the package picsl-greedy, plastimatch from Debian; ants_syn (antspyx) and
elastix (itk-elastix) run with their default parameter maps from their own linear stage, on as many threads as they are told;
convexadam (convexAdam, with torch) with its defaults.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def linear_start(fixed: sitk.Image, moving: sitk.Image, kind: str) -> sitk.Transform:
    """The best of a start by header and a start by centres, refined by mutual information."""
    best: tuple[float, sitk.Transform] | None = None
    mode = sitk.CenteredTransformInitializerFilter.GEOMETRY
    for centred in (False, True):
        transform: sitk.Transform = sitk.Euler3DTransform()
        if centred:
            transform = sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), mode)
        else:
            middle = [(n - 1) / 2 for n in fixed.GetSize()]
            transform.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint(middle))
        transform, value = _refined(fixed, moving, sitk.Euler3DTransform(transform))
        if best is None or value < best[0]:
            best = value, transform
    assert best is not None
    if kind == "rigid":
        return best[1]
    rigid = sitk.Euler3DTransform(best[1])
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    affine.SetCenter(rigid.GetCenter())
    return _refined(fixed, moving, affine)[0]


def _refined(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> tuple[sitk.Transform, float]:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.2)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1, 0])
    method.SetInitialTransform(start, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # no overlap at this start
        return start, float("inf")
    return start, method.GetMetricValue()


def demons(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Image:
    """SimpleITK's diffeomorphic demons after histogram matching, three levels of 40 steps."""
    moved = sitk.Resample(moving, fixed, start, sitk.sitkLinear, float(sitk.GetArrayViewFromImage(moving).min()))
    moved = sitk.HistogramMatching(moved, fixed, 128, 10, True)
    field = None
    for shrink in (4, 2, 1):
        factors = [max(1, min(shrink, n // 16)) for n in fixed.GetSize()]
        small = [
            sitk.Shrink(sitk.SmoothingRecursiveGaussian(i, 0.5 * shrink * min(i.GetSpacing())), factors) for i in (fixed, moved)
        ]
        method = sitk.DiffeomorphicDemonsRegistrationFilter()
        method.SetNumberOfIterations(40)
        method.SetStandardDeviations(1.5)
        if field is None:
            field = method.Execute(*small)
        else:
            field = method.Execute(*small, sitk.Resample(field, small[0], sitk.Transform(), sitk.sitkLinear))
    assert field is not None
    whole = sitk.Resample(field, fixed, sitk.Transform(), sitk.sitkLinear)
    return _total(fixed, start, sitk.DisplacementFieldTransform(sitk.Cast(whole, sitk.sitkVectorFloat64)))


def greedy(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Image:
    """greedy with local correlation (radius 2) and its own smoothing, 100, 50 and 20 steps; thick slices made thin first."""
    from picsl_greedy import Greedy3D

    original, fixed = fixed, _thin(fixed)  # it refuses levels of fewer than four slices
    lowest = float(sitk.GetArrayViewFromImage(moving).min())
    moved = sitk.Resample(moving, fixed, start, sitk.sitkLinear, lowest)
    tool = Greedy3D()
    tool.execute(
        "-i fixed moving -o warp -m NCC 2x2x2 -n 100x50x20 -threads 1",
        fixed=fixed - float(sitk.GetArrayViewFromImage(fixed).min()),
        moving=moved - lowest,
        warp=None,
    )
    field = sitk.Cast(tool["warp"], sitk.sitkVectorFloat64)
    return _total(original, start, sitk.DisplacementFieldTransform(field))


def _thin(image: sitk.Image) -> sitk.Image:
    """The image on slices at most twice as thick as its pixels are wide."""
    spacing, size = list(image.GetSpacing()), list(image.GetSize())
    target = 2 * min(spacing)
    for axis in range(3):
        if spacing[axis] > target:
            extent = (size[axis] - 1) * spacing[axis]
            size[axis] = int(np.ceil(extent / target)) + 1
            spacing[axis] = extent / (size[axis] - 1)
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(
        image, size, identity, sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection(), 0.0, image.GetPixelID()
    )


def plastimatch(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Image:
    """plastimatch B-splines, three stages of mean squares on images of matched histograms."""
    moved = sitk.Resample(moving, fixed, start, sitk.sitkLinear, float(sitk.GetArrayViewFromImage(moving).min()))
    moved = sitk.HistogramMatching(moved, fixed, 128, 10, True)
    finest = min(fixed.GetSpacing())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for image, stem in ((fixed, "fixed"), (moved, "moving")):
            scaled = sitk.RescaleIntensity(image, 0, 100)
            sitk.WriteImage(scaled, str(folder / f"{stem}.nii.gz"))
        lines = ["[GLOBAL]", "fixed=fixed.nii.gz", "moving=moving.nii.gz", "vf_out=field.nrrd"]
        for shrink, knots in ((4, 12), (2, 8), (1, 5)):
            steps = [max(1, round(shrink * finest / s)) for s in fixed.GetSpacing()]
            lines += ["[STAGE]", "xform=bspline", "optim=lbfgsb", "impl=plastimatch", "metric=mse", "max_its=40"]
            lines += [
                "regularization_lambda=0.01",
                f"grid_spac={' '.join([str(knots * finest)] * 3)}",
                f"res={steps[0]} {steps[1]} {steps[2]}",
            ]
        (folder / "command.txt").write_text("\n".join(lines))
        subprocess.run(["plastimatch", "register", "command.txt"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        field = sitk.ReadImage(str(folder / "field.nrrd"), sitk.sitkVectorFloat64)
    field = sitk.Resample(field, fixed, sitk.Transform(), sitk.sitkLinear)
    return _total(fixed, start, sitk.DisplacementFieldTransform(field))


def linear(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Image:
    """The linear start alone."""
    return _total(fixed, start, sitk.Transform(3, sitk.sitkIdentity))


def identity(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Image:
    """Nothing done."""
    return _total(fixed, sitk.Transform(3, sitk.sitkIdentity), sitk.Transform(3, sitk.sitkIdentity))


def ants_syn(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Image:
    """ANTs' affine and SyN, default parameter map (mutual information, 40, 20 and 0 steps); ``start`` is not used."""
    import ants

    with tempfile.TemporaryDirectory() as name:
        images = []
        for image, stem in ((fixed, "fixed"), (moving, "moving")):
            sitk.WriteImage(image, f"{name}/{stem}.nii.gz")
            images.append(ants.image_read(f"{name}/{stem}.nii.gz"))
        found = ants.registration(*images, "SyN", outprefix=f"{name}/", random_seed=1)["fwdtransforms"]
        field = sitk.DisplacementFieldTransform(sitk.ReadImage(found[0], sitk.sitkVectorFloat64))
        return _total(fixed, sitk.ReadTransform(found[1]), field)


def elastix(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Image:
    """elastix, default parameter maps "affine" and "bspline"; ``start`` is not used."""
    import itk

    with tempfile.TemporaryDirectory() as name:
        images = []
        for image, stem in ((fixed, "fixed"), (moving, "moving")):
            sitk.WriteImage(image, f"{name}/{stem}.nii.gz")
            images.append(itk.imread(f"{name}/{stem}.nii.gz", itk.F))
        maps = itk.ParameterObject.New()
        for kind in ("affine", "bspline"):
            maps.AddParameterMap(itk.ParameterObject.GetDefaultParameterMap(kind))
        _, found = itk.elastix_registration_method(*images, parameter_object=maps, log_to_console=False)
        field = itk.transformix_deformation_field(images[1], found)
        itk.imwrite(field, f"{name}/field.nii.gz")
        return sitk.ReadImage(f"{name}/field.nii.gz", sitk.sitkVectorFloat32)


def convexadam(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Image:
    """convexAdam on MIND features, its defaults; sides padded to multiples of 12 voxels, which its grids want."""
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(1)
    original, fixed = fixed, _thin(fixed)
    lowest = max(float(sitk.GetArrayViewFromImage(moving).min()), -500.0)
    grid = sitk.ConstantPad(fixed, [0, 0, 0], [-n % 12 for n in fixed.GetSize()], 0.0)
    maps = sitk.Transform(3, sitk.sitkIdentity), start
    images = [
        sitk.Clamp(sitk.Resample(image, grid, by, sitk.sitkLinear, lowest), sitk.sitkFloat32, -500.0, _highest(image))
        for image, by in zip((fixed, moving), maps, strict=True)
    ]
    arrays = [sitk.GetArrayFromImage(image) for image in images]
    found = np.asarray(convex_adam_pt(*arrays, dtype=torch.float32, device=torch.device("cpu")), np.float64)
    # components come in the order of the array's axes (z, y, x), in voxels
    axes = np.array(grid.GetDirection()).reshape(3, 3)
    field = sitk.GetImageFromArray((found[..., ::-1] * np.array(grid.GetSpacing())) @ axes.T, isVector=True)
    field.CopyInformation(grid)
    return _total(original, start, sitk.DisplacementFieldTransform(field))


def _highest(image: sitk.Image) -> float:
    """What bright voxels are cut at: 1500 in a CT (which has air below -500), nowhere in an MR."""
    array = sitk.GetArrayViewFromImage(image)
    return 1500.0 if array.min() < -500 else float(array.max())


OWN_START = {"ants_syn": "ants", "elastix": "itk"}
"""Tools with a linear stage of their own, and the module they need."""
PEERS: dict[str, Callable[[sitk.Image, sitk.Image, sitk.Transform], sitk.Image]] = {
    f.__name__: f for f in (identity, linear, demons, greedy, plastimatch, ants_syn, elastix, convexadam)
}


def _total(fixed: sitk.Image, start: sitk.Transform, field: sitk.Transform) -> sitk.Image:
    """Displacement of "field, then linear start" (ITK applies the last added first)."""
    whole = sitk.CompositeTransform([start, field])
    return sitk.TransformToDisplacementField(
        whole, sitk.sitkVectorFloat32, fixed.GetSize(), fixed.GetOrigin(), fixed.GetSpacing(), fixed.GetDirection()
    )


def main(name: str, fixed: str, moving: str, out: str, kind: str) -> None:
    """Run one peer on two files."""
    if find_spec(OWN_START.get(name, "numpy")) is None:
        raise SystemExit(f"skipped: {name} needs the module {OWN_START[name]}, which is not installed")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    images = [sitk.ReadImage(path, sitk.sitkFloat32) for path in (fixed, moving)]
    start = sitk.Transform(3, sitk.sitkIdentity) if name in ("identity", *OWN_START) else linear_start(*images, kind)
    field = PEERS[name](images[0], images[1], start)
    if not np.isfinite(sitk.GetArrayViewFromImage(field)).all():
        raise SystemExit("the field holds values that are not finite")
    sitk.WriteImage(field, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
