"""The guard before Dagster's webserver, as the requests of a browser meet it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from assets.guard import Guard

HOST, OURS = "127.0.0.1:3000", "http://127.0.0.1:3000"


def _answers(
    method: str = "GET",
    path: str = "/page",
    query: str = "",
    kind: str = "http",
    url: str | None = None,
    **headers: str,
) -> list[Any]:
    """What the guarded server sends to a request."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send("passed")

    async def send(message: Any) -> None:
        sent.append(message)

    named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
    }
    asyncio.run(Guard(app, 3000, url)(scope, None, send))
    return sent


@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("maps.example.org", "https://maps.example.org", True),
        ("maps.example.org", "http://maps.example.org", False),
        ("maps.example.org", "https://evil.example", False),
        ("maps.example.org:3000", None, False),
        ("127.0.0.1:3000", None, False),
    ],
)
def test_a_public_address_is_taken_alone(host: str, origin: str | None, passes: bool) -> None:
    headers = {"host": host, **({"origin": origin} if origin else {})}
    sent = _answers("POST", "/graphql", url="https://maps.example.org", **headers)
    assert (sent == ["passed"]) == passes


def _status(**request: str) -> int:
    return int(_answers(**request)[0]["status"])


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "[::1]:3000"])
def test_own_pages_are_served(host: str) -> None:
    assert _answers(host=host) == ["passed"]
    assert _answers("POST", "/graphql", host=host, origin=f"http://{host}", sec_fetch_site="same-origin") == ["passed"]
    assert _answers(path="/graphql") == ["passed"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:3000", "127.0.0.1:80", "", "localhost"])
def test_foreign_hosts_are_refused(host: str) -> None:
    assert _status(host=host) == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:5000", "http://[bad"])
def test_foreign_origins_are_refused(origin: str) -> None:
    assert _status(method="POST", path="/graphql", origin=origin) == 403


def test_graphql_by_get_is_refused() -> None:
    assert _status(path="/graphql", query="query=mutation+%7B+x+%7D") == 403


def test_cross_site_graphql_without_origin_is_refused() -> None:
    assert _status(method="POST", path="/graphql", sec_fetch_site="cross-site") == 403


def test_foreign_websockets_are_closed() -> None:
    assert _answers(kind="websocket", path="/graphql", origin=OURS) == ["passed"]
    closed = _answers(kind="websocket", path="/graphql", origin="http://evil.example")
    assert closed[0]["type"] == "websocket.close"


def test_the_refusal_says_why() -> None:
    assert b"its own pages" in _answers("POST", "/graphql", origin="null")[1]["body"]


def test_start_and_stop_pass() -> None:
    assert _answers(kind="lifespan") == ["passed"]
