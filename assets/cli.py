"""Command line: `landcover COMMAND`, with `--help` for the list; each command loads only what it needs."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from landcover_orch.errors import LandcoverError, Problem, did_you_mean, pluralise
from landcover_orch.interrupts import resend_lost

DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="Name of a file in configs/datasets.")]
UPKEEP = "Upkeep"
"""Group of commands in the help: what a home needs over the years."""


UNUSABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.ENOSPC}
)
"""Errors of the system that are about a path which a person gave."""


class Commands(TyperGroup):
    """Command group: an unknown command names those there are, the library's errors end as their sentences."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ending = f"; {hint}" if (hint := did_you_mean(args[0], known)) else ""
            ctx.fail(f"No such command {args[0]!r}; expected one of {', '.join(known)}{ending}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; exit code 1 and no traceback where something is wrong with what a person gave."""
        with exit_codes():
            return super().invoke(ctx)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Ends the program by a sentence and a code, with no traceback, where a person gave or did what ends it.

    Where nobody reads its output any more (`| head`) it ends as other programs do: without a word, and `materialise`
    after the run that is under way.
    """
    try:
        yield
        sys.stdout.flush()
    except LandcoverError as error:
        typer.echo(error, err=True)
        raise SystemExit(1) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it at its end
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        if error.errno not in UNUSABLE or error.filename is None:
            raise
        fix = "correct LANDCOVER_HOME, LANDCOVER_CONFIGS or the argument, or the rights of the folder"
        expected = "a file or folder that can be used"
        typer.echo(Problem(str(error.filename), str(error.strerror).lower(), expected, fix), err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command goes on where this one ended.", err=True)
        raise SystemExit(130) from None


app = typer.Typer(
    name="landcover",
    cls=Commands,
    help="Land-cover maps from orthophotos: check the data, run the lineage, train, serve the user interfaces.",
    epilog="Example: landcover check demo, then landcover materialise demo; of own files: landcover init NAME FOLDER",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command(epilog="Example: landcover init galicia /data/galicia, then landcover check galicia")
def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the dataset: letters a to z, digits, '_' and '-'.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the orthophotos and their labels.")],
) -> None:
    """Draft a dataset and its legend from the files of a folder, each guess with its reason; overwrites nothing."""
    from landcover_orch.drafts.draft import init as write_draft

    result, paths = write_draft(name, folder)
    for problem in result.problems:
        typer.echo(f"left out: {problem}")
    for question in result.questions:
        typer.echo(f"question: {question}")
    for path in paths:
        typer.echo(f"wrote {path}")
    typer.echo(f"Read the drafts, answer their questions, then: landcover check {name}")


@app.command(epilog="Example: landcover check demo --deep")
def check(
    dataset: DatasetName,
    deep: Annotated[bool, typer.Option("--deep", help="Read every block of every raster.")] = False,
) -> None:
    """Print every problem of a dataset, and what its splits hold and cannot teach; exit code 1 for problems."""
    from landcover_orch import config
    from landcover_orch.checks.dataset import check_dataset

    result = check_dataset(dataset, deep=deep)
    for line in result.lines():
        typer.echo(line)
    if not result.problems and (config.home() / "dagster").is_dir():
        # its tiles are there for a click; in a process of its own, since a check needs no Dagster
        command = [sys.executable, "-m", "assets.observe", dataset]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    raise typer.Exit(1 if result.problems else 0)


@app.command(epilog="Example: landcover status demo")
def status(dataset: DatasetName) -> None:
    """Print what is missing or stale of a dataset and why, the runs to come, rough time, disk space by asset."""
    from landcover_orch import config

    if not config.is_described(dataset) and (config.home() / dataset).is_dir():
        from landcover_orch.planner.retention import left_behind

        lines = list(left_behind(config.home(), dataset))
        for line in lines:
            typer.echo(line)
        if lines:
            raise typer.Exit(1)
    described = config.load_dataset(dataset)
    from assets import instance, overview
    from assets import status as state
    from landcover_orch.evaluation import promotion
    from landcover_orch.planner.retention import unlisted_lines

    with instance.opened() as dagster:
        current = state.status(described, dagster)
        overview.record_state(dagster, described, current.plan)
        for line in current.lines():
            typer.echo(line)
    if (text := promotion.moved_alias(dataset, config.home())) is not None:
        typer.echo(text)
    for line in unlisted_lines(described, config.home()):
        typer.echo(line)


@app.command(epilog="Example: landcover materialise demo, or landcover materialise demo --force patches/r0c0")
def materialise(
    dataset: DatasetName,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", help="Build again: an asset, a tile, an experiment, ASSET/TILE, or all; repeatable."),
    ] = None,
) -> None:
    """Materialise all that is missing or stale of a dataset, stage by stage, through Dagster."""
    from landcover_orch import config

    described = config.load_dataset(dataset)  # a misspelt name ends here, before Dagster is loaded
    from assets import instance, summary
    from assets.materialise import MaterialisationError
    from assets.materialise import materialise as materialise_dataset

    started = time.monotonic()
    with instance.opened() as dagster:
        try:
            outcome = materialise_dataset(dagster, described, force=force or ())
        except MaterialisationError as error:
            if error.outcome is not None:
                for line in summary.lines(dagster, described, error.outcome, time.monotonic() - started):
                    typer.echo(line)
                typer.echo("")
            raise
        for line in summary.lines(dagster, described, outcome, time.monotonic() - started):
            typer.echo(line)


@app.command(epilog="Example: landcover predict new/*.tif --model models:/demo@champion --output maps")
def predict(
    rasters: Annotated[list[Path], typer.Argument(metavar="RASTER...", help="GeoTIFFs to map.")],
    model: Annotated[
        str, typer.Option("--model", help="models:/NAME@champion, models:/NAME/VERSION, or a folder with a model.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder of the maps.")] = Path("maps"),
) -> None:
    """Map raster files of any size by a trained model, without a dataset; exit code 1 where some are refused."""
    from landcover_orch.prediction.files import predict_files

    maps, errors = predict_files(model, rasters, output, typer.echo)
    for error in errors.values():
        typer.echo(error, err=True)
    typer.echo(f"{len(maps)} of {len(rasters)} mapped: class.tif and confidence.tif in {output}/NAME/")
    raise typer.Exit(1 if errors else 0)


@app.command(epilog="Example: landcover promote demo 3")
def promote(
    dataset: DatasetName,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Number of a registered version, as MLflow shows.")],
) -> None:
    """Make a registered version the champion of a dataset; the decision is recorded with your name."""
    import getpass

    from landcover_orch import config

    described = config.load_dataset(dataset)
    from assets import instance
    from assets.materialise import materialise as materialise_dataset
    from landcover_orch.evaluation import promotion
    from landcover_orch.store.products import CHAMPION

    chosen = promotion.promote(described, version, config.home(), getpass.getuser())
    with instance.opened() as dagster:
        materialise_dataset(dagster, described, {CHAMPION})
    typer.echo(f"Version {chosen.version} is the champion of {dataset}. Its maps: landcover materialise {dataset}")


@app.command(epilog="Example: landcover train --dataset demo --experiment demo-unet, or the same with --find-lr")
def train(
    dataset: Annotated[str, typer.Option("--dataset", help="Name of a dataset, which has a manifest.")],
    experiment: Annotated[
        str, typer.Option("--experiment", help="An experiment with all its repetitions, or one as NAME.seed-1.")
    ],
    home: Annotated[
        Path | None, typer.Option("--home", help="Folder everything is written below (default: LANDCOVER_HOME).")
    ] = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Print the learning rate that a range test suggests; train nothing.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Argument(metavar="PNG", help="Drawing of the range test (default: lr_finder.png).")
    ] = None,
) -> None:
    """Train one experiment without Dagster, or print the learning rate of a range test."""
    if picture is not None and not find_lr:
        raise typer.BadParameter(f"{picture}: a drawing belongs to --find-lr")
    from landcover_orch.training.__main__ import main as train_experiment

    arguments = ["--dataset", dataset, "--experiment", experiment]
    arguments += ["--home", str(home)] if home else []
    arguments += ["--find-lr", *([str(picture)] if picture else [])] if find_lr else []
    raise typer.Exit(train_experiment(arguments))


study_commands = typer.Typer(
    help="Published studies: list them, or add one to your datasets.", invoke_without_command=True
)
app.add_typer(study_commands, name="studies", epilog="Example: landcover studies, then landcover studies add vaihingen")


@study_commands.callback()
def studies(context: typer.Context) -> None:
    """List the datasets of published studies; they run where they are named, and are served once they are added."""
    from landcover_orch import config

    if context.invoked_subcommand is None:
        described = config.studies()
        width = max(map(len, described))
        for name, description in described.items():
            typer.echo(f"{name:<{width}}  {description}")


@study_commands.command(epilog="Example: landcover studies add vaihingen")
def add(
    study: Annotated[str, typer.Argument(metavar="NAME", help="A study, as `landcover studies` lists it.")],
) -> None:
    """Copy a study into your configurations (LANDCOVER_CONFIGS, or configs/ of the working folder)."""
    from landcover_orch import config

    typer.echo(f"{config.add_study(study)}: next, landcover check {study}")


@app.command(epilog="Example: landcover ui")
def ui() -> None:
    """Serve Dagster (port 3000, or LANDCOVER_DAGSTER_PORT) and MLflow (5000, or LANDCOVER_MLFLOW_PORT) until Ctrl-C."""
    from assets import ui as servers

    raise typer.Exit(servers.main())


@app.command(
    rich_help_panel=UPKEEP,
    epilog="Example: landcover clean demo --keep 2, then the same with --yes; landcover clean --history 365",
)
def clean(
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="Whose products; without it: --every or --history.")
    ] = None,
    keep: Annotated[int, typer.Option("--keep", min=0, help="Former products of each name that stay.")] = 1,
    unlisted: Annotated[
        bool, typer.Option("--unlisted", help="Also products of experiments and tiles that the dataset no longer has.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything of a dataset that has no configuration any more.")
    ] = False,
    every: Annotated[bool, typer.Option("--every", help="Products of every dataset of the home.")] = False,
    history: Annotated[
        int | None, typer.Option("--history", metavar="DAYS", min=1, help="Runs of Dagster and MLflow by age.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
) -> None:
    """List what nothing uses, with its bytes: products, leftovers, old runs; --yes removes it.

    Current products and what they were made of stay, so do the champion, models of registered versions (delete a
    version in MLflow to free its model) and the newest former products of each name. Of runs those stay that Dagster's
    catalogue, a version or a current product shows. Nothing is removed of a dataset that is being built.
    """
    from assets import clean as cleaning
    from landcover_orch import config

    if dataset is None and history is None and not every:
        raise typer.BadParameter("name a dataset, --every or --history DAYS")
    cleaning.end_removals(config.home())
    if dataset is not None and everything:
        jobs: list[Callable[[], Iterable[str]]] = [partial(cleaning.clean_all, dataset, yes=yes)]
    else:
        names = cleaning.known_datasets() if every else [dataset] if dataset else []
        jobs = [partial(cleaning.clean, name, keep, unlisted=unlisted, yes=yes) for name in names]
    jobs += [partial(cleaning.clean_history, history, yes=yes)] if history is not None else []
    raise typer.Exit(run_each(jobs))


def run_each(jobs: Sequence[Callable[[], Iterable[str]]]) -> int:
    """Prints the lines of jobs; one that fails is a sentence, and the others run all the same."""
    failed = 0
    for job in jobs:
        try:
            for line in job():
                typer.echo(line)
        except LandcoverError as error:
            typer.echo(error, err=True)
            failed = 1
    return failed


@app.command(
    rich_help_panel=UPKEEP,
    epilog="Example: landcover backup /backups, or landcover backup before-upgrade.tar --databases-only",
)
def backup(
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .tar file, or a folder that is there, which gets a dated one.")
    ],
    databases_only: Annotated[
        bool, typer.Option("--databases-only", help="Without products and MLflow's files.")
    ] = False,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help="Dated backups of the folder that stay, the newest.")
    ] = None,
) -> None:
    """Back up the home and your configurations to a tar file; servers and builds may go on."""
    from landcover_orch import config
    from landcover_orch.store import backup as backups

    result = backups.back_up(
        target, config.home(), config.dagster_home(), config.own_configs(), databases_only=databases_only
    )
    typer.echo(f"{result.path}: {pluralise(result.files, 'file')}, {pluralise(result.bytes, 'byte')}")
    typer.echo(f"Restore it: LANDCOVER_HOME=NEW_FOLDER landcover restore {shlex.quote(str(result.path))}")
    for name in result.left_out:
        typer.echo(f"left out, a link to outside the home: {name}")
    if keep is not None and target.is_dir():
        for path in backups.remove_older(target, keep):
            typer.echo(f"removed {path}")


@app.command(
    rich_help_panel=UPKEEP,
    epilog="Example: LANDCOVER_HOME=/data/restored landcover restore /backups/landcover-20270101T030000Z.tar",
)
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A backup that `landcover backup` wrote.")],
) -> None:
    """Restore a backup into an empty home; your configurations are added where they are not there."""
    from landcover_orch import config
    from landcover_orch.store import backup as backups

    result = backups.restore(source, config.home(), config.own_configs())
    typer.echo(f"{config.home()}: restored {pluralise(result.files, 'file')}")
    for name in result.configs:
        typer.echo(f"wrote {config.own_configs() / name}")
    for name in result.differing:
        typer.echo(f"differs from the backup, left as it is: {config.own_configs() / name}")
    typer.echo("Next: landcover doctor --history, which compares what was restored")


@app.command(rich_help_panel=UPKEEP, epilog="Example: landcover migrate, with `landcover ui` ended")
def migrate() -> None:
    """Bring the home of an earlier version up to this one, after a backup of its databases."""
    from assets import migrate as migration

    for line in migration.migrate():
        typer.echo(line)


@app.command(rich_help_panel=UPKEEP, epilog="Example: landcover service ~/.config/systemd/user --backups /backups")
def service(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Where the units are written; none: they are printed.")
    ] = None,
    backups: Annotated[
        Path | None, typer.Option("--backups", help="Folder of the weekly backups (default: HOME-backups).")
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="Units of the system (/etc/systemd/system), run as you.")
    ] = False,
) -> None:
    """Print or write systemd units: the servers after each reboot, a backup and a clean each week."""
    from assets import service as systemd
    from landcover_orch import config
    from landcover_orch.store.backup import require_outside

    target = (backups or config.home().with_name(f"{config.home().name}-backups")).expanduser().resolve()
    require_outside(target, config.home())
    for line in systemd.lines(folder, target, system=system):
        typer.echo(line)


@app.command(rich_help_panel=UPKEEP, epilog="Example: landcover doctor, or landcover doctor --deep demo")
def doctor(
    history: Annotated[
        bool, typer.Option("--history", help="Compare Dagster's history with the products on disk.")
    ] = False,
    deep: Annotated[
        str | None, typer.Option("--deep", metavar="DATASET", help="Read every byte of a dataset's products.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Make again from disk what MLflow's registry has lost.")] = False,
) -> None:
    """Print what this machine has, and the fix for what is wrong: packages, disk, ports, databases, data, MLflow."""
    from assets import upkeep
    from landcover_orch.checks import doctor as machine

    raise typer.Exit(machine.main(upkeep.findings(history=history, fix=fix, deep=deep)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 1 after a sentence about the input, 2 for a wrong command."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        resend_lost()
    try:
        app(args=given or ["--help"], prog_name="landcover")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
