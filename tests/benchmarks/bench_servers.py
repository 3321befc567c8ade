"""What the servers cost: loading definitions, a press on Materialize, and standing idle, beside Dagster's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests import tiny
from tests.benchmarks.tiny_dataset import tiny_dataset

IDLE_S, SETTLE_S = 60, 40
EMPTY = "import dagster as dg\n\ndefs = dg.Definitions()\n"
LOADING = """
import time
begin = time.process_time()
import dagster
middle = time.process_time()
import assets.definitions
print(middle - begin, time.process_time() - middle)
"""


def main() -> dict[str, float]:
    """Prints CPU seconds of loading and of a press, and the idle CPU and memory beside Dagster's own servers."""
    with tempfile.TemporaryDirectory() as folder, tiny_dataset(Path(folder), retraining={"when": "never"}):
        result = measure(Path(folder))
    print(
        f"loading one dataset: {result['loading']:.2f} times `import dagster`; a press on Materialize for one tile: "
        f"{result['press']:.1f} CPU-s; idle: {result['idle']:.2f} % of a core ({result['idle_mlflow']:.2f} % of it "
        f"MLflow's), Dagster's own over empty definitions {result['idle_own']:.2f} %; {result['memory']:.0f} MB"
    )
    return result


def measure(folder: Path) -> dict[str, float]:
    """All figures, of the tiny dataset with its sensor on."""
    from tests.end_to_end.served import Served

    loading = min(load() for _ in range(3))
    with Served(folder) as served:
        served.command("materialise", tiny.NAME)  # what a sensor would start is there, or known to fail
        served.wait_for(lambda: served.last_tick(f"{tiny.NAME}_watch"), "a tick")
        time.sleep(SETTLE_S)

        def cpu(*without: str) -> float:
            return sum(cpu_seconds(process) for process in served.family() if not is_one_of(process, without))

        idle = rate(cpu)
        idle_mlflow = idle - rate(lambda: cpu("mlflow"))
        memory = sum(process.memory_full_info().pss for process in served.family()) / 1e6
        before = cpu("mlflow")
        served.wait_for_run(served.launch([tiny.NAME, "ground_truth"], "t0"), "SUCCESS", "FAILURE")
        time.sleep(3)
        press = cpu("mlflow") - before
    with dagsters_own(folder) as processes:
        time.sleep(SETTLE_S)
        idle_own = rate(lambda: sum(map(cpu_seconds, family(processes))))
    return {
        "loading": loading,
        "press": press,
        "idle": idle,
        "idle_mlflow": idle_mlflow,
        "idle_own": idle_own,
        "memory": memory,
    }


def load() -> float:
    """CPU time of loading the definitions with Dagster, in that of importing Dagster."""
    command = [sys.executable, "-W", "ignore", "-c", LOADING]
    alone, more = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return (alone + more) / alone


def rate(cpu: Callable[[], float]) -> float:
    """CPU time of `IDLE_S` seconds in per cent of a core."""
    before = cpu()
    time.sleep(IDLE_S)
    return (cpu() - before) / IDLE_S * 100


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process and of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def is_one_of(process: psutil.Process, names: tuple[str, ...]) -> bool:
    """Whether a process's command line holds one of some names."""
    try:
        line = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    return any(name in line for name in names)


def family(processes: list[subprocess.Popen[bytes]]) -> list[psutil.Process]:
    """Processes and all that they started."""
    parents = [psutil.Process(process.pid) for process in processes]
    return [*parents, *(child for parent in parents for child in parent.children(recursive=True))]


@contextmanager
def dagsters_own(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Dagster's webserver, daemon and code server over empty definitions."""
    (folder / "empty.py").write_text(EMPTY)
    (folder / "own").mkdir()
    (folder / "own" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    socket = f"{folder}/own.sock"
    server = f"{{grpc_server: {{socket: {socket}, location_name: empty}}}}"
    (folder / "own.yaml").write_text(f"load_from: [{server}]\n")
    python = [sys.executable, "-W", "ignore", "-m"]
    code = ["dagster", "code-server", "start", "-f", str(folder / "empty.py"), "-s", socket, "--log-level", "error"]
    web = ["dagster_webserver", "-w", str(folder / "own.yaml"), "-p", "38765"]
    daemon = ["dagster._daemon", "run", "--log-level", "error", "-w", str(folder / "own.yaml")]
    environment = {**os.environ, "DAGSTER_HOME": str(folder / "own")}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in (code, web, daemon):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            processes.append(subprocess.Popen([*python, *command], env=environment, start_new_session=True, **quiet))
            time.sleep(5)
        yield processes
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    main()
