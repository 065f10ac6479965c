"""``jrs demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli import options
from jrscli.cli.talk import Talk

if TYPE_CHECKING:
    from jrscli.metrics.evaluation import Evaluation
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.simulate import Simulation


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the study and the results.", rich_help_panel="Common options")
    ] = Path("jrs-demo"),
    preset: options.Preset = options.PresetName.balanced,
    exist: options.Exist = options.ExistRule.suffix,
    device: options.Device = "auto",
    threads: options.Threads = None,
    seed: options.Seed = 0,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Make a small pelvis study, carry its contours to a second day whose motion is known, and score them.

    Examples:

      jrs demo

      jrs demo -o my-demo --preset fast
    """
    from jrscli.cli.carried import carry_to
    from jrscli.cli.evaluate_output import print_table, write_metrics
    from jrscli.cli.register import failure_of
    from jrscli.cli.run import Run
    from jrscli.io import read_contours
    from jrscli.io.output import atomic_path

    settings: dict[str, Any] = {"preset": preset.value, "seed": seed, "threads": threads, "device": device}
    with Talk(quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        talk.say("a pelvis phantom with contours, and a second day of the patient with a known motion (simulated)")
        with atomic_path(output, exist=exist.value) as (temporary, folder):
            simulation = write_study(temporary, seed, talk)
        talk.close_bar()
        planning, contours, daily = folder / "planning-ct", folder / "RS_planning.dcm", folder / "daily-ct"
        talk.say(f"$ jrs propagate-contours {planning} {contours} {daily} -o {folder / 'result'}")
        run = Run("propagate-contours", talk, settings, threads)
        plan = run.image("planning", planning)
        structures = run.contours("contours", contours, plan)
        today = run.image("daily", daily)
        with run.results(folder / "result", "overwrite") as results:
            carried = carry_to(run, results, plan, structures, today, **settings)
            # what was written is judged, not what was meant
            found = read_contours(results.written("RS_space-fixed_propagated.dcm"), reference=today)
            evaluation = score(simulation, found, talk)
            write_metrics(results, evaluation)
        before = score(simulation, structures, talk)
        truth, propagated = folder / "RS_daily-truth.dcm", folder / "result" / "RS_space-fixed_propagated.dcm"
        talk.say(f"$ jrs evaluate {truth} {propagated} --reference {daily}")
        talk.close_bar()
        talk.say(f"mean Dice before {before.mean('dice.v1') or 0:.3f}, after {evaluation.mean('dice.v1') or 0:.3f}")
        print_table(evaluation)
        for path in (planning, daily):
            talk.output("study", path)
        for name in ("RS_planning.dcm", "RS_daily-truth.dcm"):
            talk.output("study", folder / name)
        run.finish(next_step=f"look at {folder / 'result' / 'overlay.png'}", failure=failure_of(carried.registration.failed))


def write_study(folder: Path, seed: int, talk: Talk) -> Simulation:
    """Write planning and daily CT with their structure sets as DICOM; the daily one has its own frame of reference."""
    from jrscli.io.dicom_write import write_series
    from jrscli.io.rtstruct_write import Origin, write_rtstruct
    from jrscli.workflows.phantom import pelvis_study
    from jrscli.workflows.simulate import deform_study

    study = pelvis_study(seed)
    simulation = deform_study(study.planning, study.structures, seed, progress=talk)
    words = f"demo {seed}"
    planned = write_series(study.planning, folder / "planning-ct", description="phantom planning", seed=words)
    daily = write_series(
        simulation.daily, folder / "daily-ct", header_from=planned, description="phantom day 1", series_number=2, seed=words
    )
    origin = Origin("phantom", "jrscli phantom")
    sets = (
        (study.structures, planned, study.planning.geometry, "RS_planning.dcm", "PLANNING"),
        (simulation.structures, daily, simulation.daily.geometry, "RS_daily-truth.dcm", "TRUTH"),
    )
    for structures, header, grid, name, label in sets:
        write_rtstruct(
            structures, header, grid, folder / name, label=label, series_description="jrs demo", origin=origin, seed=words
        )
    return simulation


def score(simulation: Simulation, structures: StructureSet | LabelMap, talk: Talk) -> Evaluation:
    """The structures against the truth on the daily grid."""
    from dataclasses import replace

    from jrscli.spatial.structures import StructureSet
    from jrscli.workflows.evaluate import evaluate_structures

    # the demo knows that both mean one patient; before registration they are compared as if aligned
    tried = replace(structures, frame_of_reference_uid=None) if isinstance(structures, StructureSet) else structures
    return evaluate_structures(simulation.structures, tried, simulation.daily.geometry, progress=talk)
