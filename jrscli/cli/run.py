"""One run of a command: what is read is recorded, what is odd is said, what is written is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.privacy import Privacy
from jrscli.cli.talk import Talk
from jrscli.errors import GateFailed, InputError, Notice

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.io.output import Exist, OutputFolder
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap


@dataclass(frozen=True)
class Reading:
    """What of DICOM images to repair while they are read."""

    resample_irregular: bool = False
    assign_uids: bool = False


class Run:
    """Reads inputs for a command and keeps its record.

    options: what the user asked for, without paths; written to run.json. reading: what to repair in DICOM images.
    privacy: what of the patient is shown and written. deterministic: whether equal runs have to give equal files.
    """

    def __init__(
        self,
        command: str,
        talk: Talk,
        options: Mapping[str, Any],
        threads: int | None = None,
        *,
        reading: Reading = Reading(),
        privacy: Privacy = Privacy(),
        deterministic: bool = False,
    ) -> None:
        from jrscli.cli.given import given_to
        from jrscli.io.run_record import RunRecord

        self.talk = talk
        self.reading = reading
        self.privacy = privacy
        self.deterministic = deterministic
        # what is written in DICOM has UIDs and dates of its own, or with a seed those that follow from its content
        self.uid_seed = "jrs" if deterministic else None
        given, fingerprint = given_to(command)
        resolved = {**options, **asdict(reading), **asdict(privacy), "threads": threads}
        if deterministic:
            resolved["deterministic"] = True
        self.record = RunRecord(command, resolved, given, fingerprint)
        self.note(privacy.shown())
        self._new_uids: list[tuple[str, Path, str | None]] = []
        if threads:
            import SimpleITK as sitk

            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)

    def note(self, notices: tuple[Notice, ...] | list[Notice]) -> None:
        """Say and record what was odd."""
        self.talk.warn(notices)
        self.record.notices.extend(notices)

    def name_of(self, number: int, name: str) -> str:
        """How an ROI is called in messages: by its number, or with --show-phi by its name."""
        return name if self.privacy.show_phi else f"ROI {number}"

    def image(self, role: str, path: Path, *, select: str | None = None, referred_by: str = "") -> ImageFile:
        """Read an image.

        referred_by: what is going to refer to it ("a structure set"); a series that nothing can refer to is refused at once.
        """
        from jrscli.io import read_image

        found = read_image(path, select=select, **asdict(self.reading))
        self.note(found.notices)
        if referred_by and found.series:
            from jrscli.io.dicom_references import check_referable

            check_referable(found.series, referred_by)
        if self.got_new_uids(found):
            self._new_uids.append((role, path, select))
        self.record.add_input(role, path, found.kind, found.volume.geometry, found.modality)
        return found

    def with_contrasts(self, role: str, image: ImageFile, further: list[Path] | None) -> ImageFile:
        """The image together with further contrasts of the same visit."""
        if not further:
            return image
        others = tuple(self.image(f"{role} contrast", path).volume for path in further)
        return replace(image, volume=replace(image.volume, others=others))

    def got_new_uids(self, image: ImageFile) -> bool:
        """Whether the image refers to UIDs that its files do not have."""
        if not self.reading.assign_uids or image.series is None:
            return False
        from jrscli.io.dicom_repair import ASSIGNED

        return any(notice.code in ASSIGNED for notice in image.notices)

    def labels(self, role: str, path: Path) -> LabelMap:
        """Read a label map that has at least one label.

        Raises InputError `labels.empty`, `labels.contours`.
        """
        from jrscli.spatial.volume import LabelMap

        found = self.contours(role, path)
        if not isinstance(found, LabelMap):
            raise InputError(
                f"{path.name} is an RTSTRUCT where a label image is needed",
                code="labels.contours",
                hint="contours are carried by jrs propagate-contours; or first: jrs convert contours",
            )
        return found

    def contours(
        self, role: str, path: Path, reference: ImageFile | None = None, *, assume_aligned: bool = False
    ) -> StructureSet | LabelMap:
        """Read an RTSTRUCT or a label map that is not empty.

        Raises InputError `labels.empty`, `rs.empty`.
        """
        from jrscli.io import read_contours
        from jrscli.spatial.volume import LabelMap

        found = read_contours(path, reference=reference, assume_aligned=assume_aligned)
        if isinstance(found, LabelMap):
            if not found.array.any():
                raise InputError(
                    f"{path.name} is empty: every voxel is background",
                    code="labels.empty",
                    hint="check that it is the right file",
                )
            self.record.add_input(role, path, "labels", found.geometry)
            return found
        if not any(roi.contours for roi in found.rois):
            raise InputError(
                "no ROI of the structure set has a contour", code="rs.empty", hint="check that it is the right file"
            )
        self.note(found.notices)
        self.record.add_input(role, path, "rtstruct")
        return found

    def mask(self, role: str, path: Path | None, geometry: Geometry) -> LabelMap | None:
        """Read a mask, brought onto ``geometry`` by nearest neighbour where it has another grid."""
        if path is None:
            return None
        from jrscli.spatial.resample import resample_labels

        labels = self.labels(role, path)
        if labels.geometry.matches(geometry):
            return labels
        moved = resample_labels(labels, geometry)
        if not moved.array.any():
            raise InputError(
                f"the {role} does not overlap its image",
                code="overlap.none",
                hint="check that both belong to one patient: jrs info",
            )
        self.note([Notice("mask.grid", f"the {role} has another grid than its image; resampled (nearest)")])
        return moved

    @contextmanager
    def results(self, folder: Path, exist: Exist) -> Iterator[Results]:
        """The folder that results are written to; they appear, with run.json, when the block ends well."""
        from jrscli.io.output import OutputFolder
        from jrscli.io.run_record import RUN_FILE, recorded_kinds

        with OutputFolder(folder, exist=exist) as out:
            results = Results(out)
            yield results
            if not out.skipped:
                self._write_repaired(results)
                self.note(self.privacy.apply(out.path(RUN_FILE).parent))
                for kind, name in results.files:
                    self.record.add_output(kind, out.path(name))
                self.record.write(out.path(RUN_FILE))
        if out.skipped:
            self.talk.say(f"{folder} holds a result already: skipped")
            for kind, path in recorded_kinds(folder):
                self.talk.output(kind, path)
        else:
            for kind, name in results.files:
                self.talk.output(kind, out.final(name))
            self.talk.output("run", out.final(RUN_FILE))

    def _write_repaired(self, results: Results) -> None:
        """A copy of each series that got UIDs: what is written may refer to them, and the files at hand do not have them."""
        for number, (role, path, select) in enumerate(self._new_uids):
            from jrscli.io.dicom_repair import write_repaired

            name = f"{role.replace(' ', '-')}-repaired" + (f"-{number + 1}" if len(self._new_uids) > 1 else "")
            write_repaired(path, results.add("series", name), select=select)

    def finish(self, *, next_step: str | None = None, failure: GateFailed | None = None) -> None:
        """Print the outputs; then raise what the run failed by, if it did."""
        self.talk.finish({**self.record.document(), "inputs": self.record.inputs}, next_step=next_step)
        if failure:
            raise failure


class Results:
    """The files of one result folder: ``write(results.add("warped", "warped.nii.gz"))``."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self.files: list[tuple[str, str]] = []

    @property
    def skipped(self) -> bool:
        """Whether a result was there already and nothing is to be done."""
        return self._folder.skipped

    @property
    def folder(self) -> Path:
        """Where the results will be."""
        return self._folder.folder

    def add(self, kind: str, name: str) -> Path:
        """Where to write an output of this kind and name."""
        self.files.append((kind, name))
        return self._folder.path(name)

    def written(self, name: str) -> Path:
        """Where an output lies for now, to be read again."""
        return self._folder.path(name)


def default_folder(output: Path | None, stem: str) -> Path:
    """The folder asked for, or ``jrs-out/STEM``."""
    if output is not None:
        return output
    from jrscli.io.output import safe_stem

    return Path("jrs-out") / safe_stem(stem)


def stem_of(path: Path, word: str) -> str:
    """A name for results made from a file: its stem, but only ``word`` for DICOM, whose file names can name a patient."""
    from jrscli.io.content import existing, kind_of

    if kind_of(existing(path)) in ("dicom", "folder", "zip"):
        return word
    return f"{word}-{path.name.split('.')[0]}"


def choose(path: Path, select: list[str] | None, number: int) -> str | None:
    """Which of the selections is meant for the input at this place: its own, or a single one where it holds several series."""
    from jrscli.io.content import existing, kind_of

    if not select or kind_of(existing(path)) not in ("folder", "zip", "dicom"):
        return None
    if len(select) > 1:
        return select[number] if number < len(select) else None
    from jrscli.io.dicom_series import needs_selection

    return select[0] if needs_selection(path) else None
