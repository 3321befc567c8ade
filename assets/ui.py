"""`landcover ui`: Dagster's code server, webserver and daemon and MLflow's server, on loopback, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import BinaryIO, TextIO

from assets import instance
from assets.client import Client
from assets.location import LOCATION, MODULE
from assets.reload import Reloader
from landcover_orch import config, tracking
from landcover_orch.checks.doctor import PORTS, SERVED, is_taken, port_of
from landcover_orch.config.paths import CONFIGS
from landcover_orch.config.serving import FAULTS
from landcover_orch.errors import ConfigError, LandcoverError, Problem
from landcover_orch.store import locks

HOST = "127.0.0.1"
PATIENCE_S, START_S, WATCH_S = 15, 180, 1
LOOK_S = 20
"""How long a start and a reload wait for the look at new datasets."""

NOISE = re.compile(
    r"Registry store URI not provided|\[MLflow\] Security middleware enabled"
    r"|StarletteDeprecationWarning|^  from starlette\.middleware\.wsgi import"
    r"|EventLogConsumerDaemon.*No cursor for event type|^serving Dagster on "
)
"""Lines of the servers about themselves, at their start: nobody can do anything about them."""

RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d |[\w.]+(Error|Exception|Interrupt)?: ")
"""How a record of a log begins, which ends the stack of the one before: the pages of the run hold that."""

MOST_RESTARTS, RESTARTS_S = 3, 600
"""How often a server that ends is started again, within so many seconds."""

WORKSPACE = "workspace.yaml"
"""File below LANDCOVER_HOME that names the code server's socket."""


class ServerError(LandcoverError):
    """The servers cannot be started, or one of them ended."""


class HomeGoneError(ServerError):
    """The folder that is served was moved away or deleted."""


@dataclass
class Servers:
    """Processes of the user interfaces: each in a group of its own, all ended together.

    What they print is passed on until they are ended: a run that is cut off then prints the stack of its interrupt.
    """

    environment: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)
    restarts: dict[str, list[float]] = field(default_factory=dict)
    ending: Event = field(default_factory=Event)

    def start(self, name: str, command: list[str]) -> None:
        """Starts a process."""
        self.commands[name] = command
        process = subprocess.Popen(
            command, env=self.environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.running[name] = process
        Thread(target=self.pass_on, args=(process.stdout,), daemon=True).start()

    def pass_on(self, lines: BinaryIO) -> None:
        """Prints the lines of a process, without its noise.

        Those after the end has begun are read, so that it does not wait, and lost.
        """
        stack = False
        for line in lines:
            text = line.decode(errors="replace").rstrip("\n")
            stack = (stack and not RECORD.match(text)) or text.startswith("Stack Trace")
            if not self.ending.is_set() and not stack and not NOISE.search(text):
                print_line(text)

    def require_running(self) -> None:
        """Raises ServerError where a process has ended."""
        for name, process in self.running.items():
            if process.poll() is not None:
                fix = "see its lines above; `landcover doctor` says what is wrong with the machine"
                raise ServerError(Problem(name, f"it ended with {process.returncode}", "it runs", fix))

    def restart_ended(self, now: float) -> None:
        """Starts a process again that has ended, while the others go on.

        Raises:
            ServerError: it ended `MOST_RESTARTS` times in `RESTARTS_S`.
        """
        for name, process in list(self.running.items()):
            if process.poll() is None:
                continue
            recent = [at for at in self.restarts.get(name, ()) if now - at < RESTARTS_S]
            if len(recent) >= MOST_RESTARTS:
                self.require_running()
            print_line(f"{name} ended with {process.returncode}, and is started again.")
            self.restarts[name] = [*recent, now]
            self.start(name, self.commands[name])

    def wait_for(self, name: str, url: str) -> None:
        """Waits until a server answers.

        Raises:
            ServerError: a process ended, or it did not answer in time.
        """
        deadline = time.monotonic() + START_S
        while not answers(url):
            self.require_running()
            if time.monotonic() > deadline:
                fix = "end other programs, and start it again"
                raise ServerError(Problem(name, f"no answer at {url} in {START_S} s", "one", fix))
            time.sleep(WATCH_S)

    def end(self, patience_s: float = PATIENCE_S) -> None:
        """Ends all: SIGTERM, then SIGKILL after the patience."""
        self.ending.set()
        for process in reversed(self.running.values()):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    """Starts all, says where they are once they answer, ends all when one ends or the person interrupts."""
    for number in (signal.SIGTERM, signal.SIGINT):  # even where a shell has them ignored
        signal.signal(number, signal.default_int_handler)
    home = config.home()
    home.mkdir(parents=True, exist_ok=True)
    with locked(home) as lock, tempfile.TemporaryDirectory(prefix="landcover-") as folder:
        dagster_port, mlflow_port = free_ports()
        # what another command of this home asks for
        print(f"http://{HOST}:{dagster_port}", tracking.public_url() or "", file=lock, flush=True)
        servers = Servers(environment())
        try:
            serve(servers, home, lock, Path(folder) / "code.sock", dagster_port, mlflow_port)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would leave servers
            end_with_runs(servers)
        except HomeGoneError:
            servers.end(patience_s=0)  # at once: what goes on would write half a home
            raise
        finally:
            servers.end()
    return 0


def end_with_runs(servers: Servers) -> None:
    """Ends the servers, and says so, and what becomes of the runs that are under way in them."""
    print_line("Ending the servers.")
    runs = runs_of_servers()
    servers.end()
    for line in run_lines(runs):
        print_line(line)


def runs_of_servers() -> list[str]:
    """Ids of the runs that are under way; without those of other commands, which go on."""
    import dagster as dg

    from assets.chain import UNDER_WAY
    from assets.processes import PROCESS

    with instance.opened() as dagster:
        runs = dagster.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
        return [run.run_id for run in runs if PROCESS not in run.tags]


def run_lines(runs: Sequence[str]) -> Iterator[str]:
    """What became of runs when the servers ended, a line each."""
    if not runs:
        return
    import dagster as dg

    with instance.opened() as dagster:
        for run in dagster.get_runs(dg.RunsFilter(run_ids=list(runs))):
            title = f"Run {run.run_id[:8]} ({run.job_name})"
            match run.status:
                case dg.DagsterRunStatus.SUCCESS:
                    yield f"{title} was finished."
                case dg.DagsterRunStatus.QUEUED:
                    yield f"{title} stays queued: the next `landcover ui` starts it, or the command that asked for it."
                case _:
                    yield f"{title} was cut off; what it had finished stays. Launch it again to go on."


def require_home(home: Path, lock: TextIO) -> None:
    """Raises HomeGoneError where a home does not hold the lock of these servers any more; says where that is now."""
    held = os.fstat(lock.fileno())
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.path.samestat((home / SERVED).stat(), held):
            return
    actual, fix = "it was deleted", "landcover restore FILE brings a backup back; landcover ui begins a new home"
    if held.st_nlink:
        present = Path(f"/proc/self/fd/{lock.fileno()}").readlink().parent
        actual, path = f"it was moved to {present}", shlex.quote(str(present))
        fix = f"move it back, or: export LANDCOVER_HOME={path} && landcover migrate && landcover ui"
    raise HomeGoneError(Problem(str(home), actual, "the home that is served; the servers were ended", fix))


def serve(servers: Servers, home: Path, lock: TextIO, code_socket: Path, dagster_port: int, mlflow_port: int) -> None:
    """Starts the servers one behind the other, and watches them and the configurations until one ends."""
    make_databases(servers.environment)
    observer = Observer(servers.environment)
    observation = observer.start()
    workspace = write_workspace(home, code_socket)
    python = sys.executable
    webserver = Client(f"http://{HOST}:{dagster_port}", tracking.public_url())
    reloader = Reloader(webserver, print_line, before=lambda: wait_for_look(observer.start()))
    code = ["-m", "dagster", "code-server", "start", "-m", MODULE, "--location-name", LOCATION, "-s", str(code_socket)]
    servers.start("Dagster's code server", [python, *code, "--log-level", "warning"])
    servers.start("MLflow", tracking.server_command(home, mlflow_port))
    web = [
        "-m",
        "assets.webserver",
        "--port",
        str(dagster_port),
        "--workspace",
        str(workspace),
        "--code",
        str(code_socket),
    ]
    servers.start("Dagster's webserver", [python, *web])
    servers.wait_for("Dagster's webserver", f"http://{HOST}:{dagster_port}/server_info")
    servers.start(
        "Dagster's daemon", [python, "-m", "dagster._daemon", "run", "--log-level", "warning", "-w", str(workspace)]
    )
    servers.wait_for("MLflow", f"http://{HOST}:{mlflow_port}/health")
    wait_for_look(observation)
    print_line(f"Dagster  {tracking.dagster_interface()}")
    print_line(f"Pages    {tracking.dagster_interface()}/pages/")
    print_line(f"MLflow   {tracking.training_view(tracking.interface() + '/#/experiments')}")
    print_line("Ctrl-C ends all.")
    while True:
        require_home(home, lock)
        servers.restart_ended(time.monotonic())
        reloader.poll()
        time.sleep(WATCH_S)


def make_databases(environment: dict[str, str]) -> None:
    """Makes the databases of Dagster and MLflow, which two servers would both create.

    In a process that ends: it loads both, whose memory what looks after the servers would hold for days.

    Raises:
        SystemExit: they cannot be opened; that process has said why.
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "assets.instance"], env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


@dataclass
class Observer:
    """Looks at the files of the datasets; what the last look printed, too, is not printed again."""

    environment: dict[str, str]
    printed: frozenset[str] = frozenset()

    def start(self) -> subprocess.Popen[bytes]:
        """Starts a look in a process of its own."""
        command = [sys.executable, "-m", "assets.observe"]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE)
        Thread(target=self.follow, args=(process,), daemon=True).start()
        return process

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Prints what a look says, and waits for its end: an ended one is no zombie then."""
        if process.stdout is not None:
            self.pass_on(process.stdout)
        process.wait()

    def pass_on(self, lines: Iterable[bytes]) -> None:
        """Prints the lines of a look that are new."""
        texts = []
        for line in lines:
            texts.append(line.decode(errors="replace").rstrip("\n"))
            if texts[-1] not in self.printed:
                print_line(texts[-1])
        self.printed = frozenset(texts)


def wait_for_look(observer: subprocess.Popen[bytes]) -> None:
    """Waits for a look at the files, so that a click finds the tiles; that of a large dataset goes on by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        observer.wait(LOOK_S)


def print_line(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)


def environment() -> dict[str, str]:
    """Environment of the servers: the folders as absolute paths; configurations in the working folder are not set."""
    folders = {
        "LANDCOVER_HOME": str(config.home()),
        **({CONFIGS: str(config.own_configs())} if CONFIGS in os.environ else {}),
        "DAGSTER_HOME": str(instance.prepare()),
        FAULTS: "shown",
    }
    return {**tracking.server_environment(), **folders}


def write_workspace(home: Path, code_socket: Path) -> Path:
    """Writes the workspace file that names the code server; its location is that of workspace.yaml."""
    server = {"socket": str(code_socket), "location_name": LOCATION}
    path = home / WORKSPACE
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(json.dumps({"load_from": [{"grpc_server": server}]}) + "\n", encoding="utf-8")  # JSON is YAML
    partial.replace(path)
    return path


def free_ports() -> list[int]:
    """The ports of the two servers.

    Raises:
        ServerError: one of them is taken, or is no number; both are named together.
    """
    problems: list[Problem] = []
    ports: list[int] = []
    for variable in PORTS:
        try:
            port = port_of(variable)
        except ConfigError as error:
            problems += error.problems
            continue
        ports.append(port)
        if is_taken(port):
            fix = f"end what holds it, or export {variable}={unused_port()}"
            problems.append(Problem(variable, f"port {port} is taken", "a free one", fix))
    if not problems and len({*ports}) < len(ports):
        variables, fix = " and ".join(PORTS), f"export {list(PORTS)[1]}={unused_port()}"
        problems.append(Problem(variables, f"port {ports[0]} for both servers", "a port each", fix))
    if problems:
        raise ServerError(*problems)
    return ports


def unused_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a server answers at an address of this machine."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - an http address of our own
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def locked(home: Path) -> Iterator[TextIO]:
    """Holds a home for one set of servers: two daemons would start everything twice.

    Gives the file, which tells others the addresses: on loopback, and the public one.

    Raises:
        ServerError: another one serves it.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(locks.locked(home / SERVED, patience_s=0))
        except TimeoutError as error:
            url = "".join(str(error).split()[-1:])
            fix = f"open {url}, or end it first" if url else "end it first"
            raise ServerError(Problem(str(home), "it is served already", "one `landcover ui` a home", fix)) from None
        try:
            file.truncate(0)
            yield file
        finally:
            file.truncate(0)
