"""GraphQL client of the webserver that `landcover ui` runs: reload, launch and termination of runs."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.location import LOCATION, REPOSITORY
from landcover_orch.checks.doctor import SERVED
from landcover_orch.errors import LandcoverError, Problem
from landcover_orch.store.locks import is_locked
from landcover_orch.tracking import host_and_origin

if TYPE_CHECKING:  # the supervisor of servers does without
    import dagster as dg

TIMEOUT_S = 300

RELOAD = """
mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
  __typename ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
  ... on PythonError { message } } }
"""
JOB_TAGS = """
query($params: PipelineSelector!) { pipelineOrError(params: $params) { ... on Pipeline { tags { key value } } } }
"""
LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on PipelineNotFoundError { message } ... on InvalidSubsetError { message } ... on UnauthorizedError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }
"""
TERMINATE = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"


class ServerUnreachableError(LandcoverError):
    """The webserver does not answer, or refuses what it is asked."""


class Client:
    """Client of a webserver of Dagster at an address of this machine.

    Args:
        url: its address on loopback.
        public: the address that its guard takes, where that is another one (LANDCOVER_URL).
    """

    def __init__(self, url: str, public: str | None = None) -> None:
        self.url, self.public = url, public or url
        host, origin = host_and_origin(public or url)
        self._headers = {"content-type": "application/json", "host": host, "origin": origin}

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The data that answer a query or mutation.

        Raises:
            ServerUnreachableError: no answer, or none with data.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, self._headers)  # noqa: S310 - our own http address
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - our own http address
                content = json.load(answer)
        except (OSError, ValueError) as error:
            raise ServerUnreachableError(self._problem(str(error))) from error
        if "errors" in content:
            raise ServerUnreachableError(self._problem("; ".join(e["message"] for e in content["errors"])))
        data: dict[str, Any] = content["data"]
        return data

    def answers(self) -> bool:
        """Whether the webserver answers."""
        try:
            self.ask("{ version }", {})
        except ServerUnreachableError:
            return False
        return True

    def reload(self) -> str:
        """Reloads the code location; gives a sentence about what came of it."""
        try:
            result = self.ask(RELOAD, {"name": LOCATION})["reloadRepositoryLocation"]
        except ServerUnreachableError as error:
            return f"Configurations changed; the webserver did not reload them ({error.problems[0].found})."
        entry = result.get("locationOrLoadError") or result
        return f"Reload failed: {entry['message']}" if "message" in entry else "Configurations changed: reloaded."

    def job_tags(self, job: str) -> dict[str, str]:
        """Tags of a job of the code location; none where it has no such job."""
        result = self.ask(JOB_TAGS, {"params": {**selector(), "pipelineName": job}})["pipelineOrError"]
        return {tag["key"]: tag["value"] for tag in result.get("tags", ())}

    def launch(self, job: str, assets: Sequence[dg.AssetKey] | None, tags: Mapping[str, str]) -> str:
        """Launches a run of a job through the code server; gives the run's id.

        Args:
            job: name of the job.
            assets: those of the job that the run is about, with their checks; None for all of it.
            tags: of the run.

        Raises:
            ServerUnreachableError: it was not launched.
        """
        chosen = {} if assets is None else {"assetSelection": [{"path": key.path} for key in assets]}
        params = {
            "selector": {**selector(), "pipelineName": job, **chosen},
            "mode": "default",
            "runConfigData": "{}",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        result = self.ask(LAUNCH, {"params": params})["launchRun"]
        if "run" not in result:
            texts = [error["message"] for error in result.get("errors", ())]
            raise ServerUnreachableError(self._problem(result.get("message") or "; ".join(texts)))
        return str(result["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """Terminates a run."""
        self.ask(TERMINATE, {"id": run_id})

    def _problem(self, text: str) -> Problem:
        return Problem(self.url, text, "an answer of `landcover ui`", "see its lines, or end it and start it again")


def selector() -> dict[str, str]:
    """The repository of the code location, as GraphQL names it."""
    return {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}


def running(home: Path) -> Client | None:
    """The client of the servers that `landcover ui` runs for a home; None where it runs none."""
    path = home / SERVED
    addresses = path.read_text(encoding="utf-8").split() if is_locked(path) else []
    return Client(addresses[0], addresses[-1]) if addresses else None
