"""A guard before Dagster's webserver: only this machine's browser, only pages that the server itself sent.

On loopback the webserver takes mutations from any page that the person visits: a foreign Host (DNS rebinding), a
foreign Origin, and GraphQL by GET. The guard refuses all three. Where the server is reached at a public address (a
reverse proxy with its own log-in, or `ssh -L`), LANDCOVER_URL names it, and that host and origin alone are taken.
"""

from __future__ import annotations

from typing import Any

from landcover_orch.tracking import host_and_origin

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Guard:
    """ASGI middleware that answers 403 to requests which no page of this server would make."""

    def __init__(self, app: Any, port: int, url: str | None = None) -> None:
        self._app = app
        addresses = [url] if url else [f"http://{name}:{port}" for name in LOOPBACK]
        pairs = [host_and_origin(address) for address in addresses]
        self._hosts, self._origins = {host for host, _ in pairs}, {origin for _, origin in pairs}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes a request on, or refuses it with the reason."""
        reason = None if scope["type"] == "lifespan" else self.refusal(scope)
        if reason is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            text = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": text})
            await send({"type": "http.response.body", "body": reason.encode()})

    def refusal(self, scope: Any) -> str | None:
        """Why a request is refused; None where it is not."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("host", "").lower() not in self._hosts:
            return f"This server answers to {', '.join(sorted(self._hosts))} alone. Another address: LANDCOVER_URL."
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self._origins:
            return "This server takes requests only from its own pages."
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope["path"].endswith("/graphql"):
            return "This server takes GraphQL only from its own pages."
        if (
            scope["type"] == "http"
            and scope["path"].endswith("/graphql")
            and scope["method"] == "GET"
            and scope["query_string"]
        ):
            return "GraphQL is taken by POST only."
        return None
