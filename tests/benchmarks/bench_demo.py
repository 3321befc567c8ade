"""What the demo costs beside a plain script of rasterio, scikit-learn, torch and Lightning that does the same."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> dict[str, float]:
    """Prints CPU seconds of both, and how many times the plain script's the lineage takes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        environment = {**os.environ, "LANDCOVER_HOME": str(home), "OMP_WAIT_POLICY": "PASSIVE"}
        environment.pop("DAGSTER_HOME", None)
        lineage = cpu_seconds(["-m", "assets.demo"], environment)
        plain = ["-m", "tests.benchmarks.plain", str(home / "landscape"), str(Path(folder) / "plain")]
        script = cpu_seconds(plain, environment)
    print(f"demo: {lineage:.0f} CPU-s, a plain script {script:.0f}: {lineage / script:.2f} times")
    return {"lineage": lineage, "plain": script, "ratio": lineage / script}


def cpu_seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """CPU time of a Python process and of all that it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-W", "ignore", *arguments], env=environment, check=True, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
