"""A guard before Dagster's webserver: only this machine's browser, only pages that the server itself sent.

On loopback the webserver takes mutations from any page that the person visits: a foreign Host (DNS rebinding), a
foreign Origin, and GraphQL by GET. The guard refuses all three. Where the server is reached at an outside address (a
reverse proxy with its own log-in, or `ssh -L`), LANDCOVER_URL names it, and that host and origin are taken too.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """ASGI middleware that answers 403 to requests which no page of this server would make."""

    def __init__(self, app: Any, port: int, url: str | None = None) -> None:
        self._app, self._port = app, port
        self._outside = origin_of(url) if url else None

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
        host = headers.get("host", "")
        if not self._is_ours(f"//{host}") and not self._is_outside_host(host):
            return "This server answers to its own address alone. Another one that it is reached at: LANDCOVER_URL."
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(origin) and origin_of(origin) != (self._outside or "no origin"):
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

    def _is_outside_host(self, host: str) -> bool:
        return self._outside is not None and origin_of(f"{self._outside[0]}://{host}") == self._outside

    def _is_ours(self, address: str) -> bool:
        try:
            parts = urlsplit(address)
            return parts.hostname in LOOPBACK and parts.port == self._port
        except ValueError:
            return False


DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Origin of an address: scheme, host and port; None where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and port else None
