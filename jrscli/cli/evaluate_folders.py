"""Two folders of cases: which file belongs to which."""

from __future__ import annotations

from pathlib import Path

from jrscli.errors import InputError

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")
_CONTOURS = ("nifti", "itk", "dicom")


def paired_files(reference: Path, prediction: Path) -> dict[str, tuple[Path, Path]] | None:
    """The case names of two folders with a file each; None where the two are no folders of cases.

    Files belong together by their names without ending. A folder with one file is that file.

    Raises InputError `evaluate.cases` for folders that share no name.
    """
    if not (reference.is_dir() and prediction.is_dir()):
        return None
    found = [_by_name(folder) for folder in (reference, prediction)]
    if min(len(part) for part in found) == 0 or max(len(part) for part in found) == 1:
        return None
    shared = sorted(found[0].keys() & found[1].keys())
    if not shared:
        raise InputError(
            f"the two folders share no case: {len(found[0])} and {len(found[1])} files of different names",
            code="evaluate.cases",
            hint="name the files of a case alike in both folders, for example case1.nii.gz",
        )
    missing = len(found[0].keys() ^ found[1].keys())
    if missing:
        raise InputError(
            f"{missing} of {len(found[0].keys() | found[1].keys())} cases are in one of the two folders only",
            code="evaluate.cases",
            hint="a missing case must not be left out in silence: take it out of the other folder, too",
        )
    return {name: (found[0][name], found[1][name]) for name in shared}


def _by_name(folder: Path) -> dict[str, Path]:
    from jrscli.io.content import kind_of

    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and kind_of(path) in _CONTOURS:
            ending = next((end for end in _ENDINGS if path.name.lower().endswith(end)), "")
            files[path.name[: len(path.name) - len(ending)]] = path
    return files
