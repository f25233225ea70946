"""uvicorn with what it lacks: clients must not be slow, and a stop loses nothing that was accepted."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from facesmith.errors import ConfigError, MissingExtraError
from facesmith.serve.app import create_app
from facesmith.serve.service import Service

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise MissingExtraError("the service needs uvicorn: pip install 'facesmith[serve]'") from error

GRACE = 1.0
"""Seconds that open connections have, once the service stops, to send a request that is on its way."""

CLOSE = (b"connection", b"close")


def bind(host: str, port: int) -> socket.socket:
    """A socket at ``host`` and ``port`` (0: any that is free), not listening yet.

    Raises:
        ConfigError: there is no such address here, or it is taken.
    """
    if not 0 <= port < 65536:
        raise ConfigError(f"port must lie between 0 and 65535, not {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot serve at {host}: {error.strerror}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigError(f"cannot serve at {host}, port {port}: {error.strerror}; try another --port") from error
    return bound


def url(bound: socket.socket) -> str:
    """How a browser reaches ``bound``."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """Serves until SIGTERM or SIGINT; then answers everything that was accepted, and ends.

    Args:
        service: what it serves.
        ready: is called when requests are welcome.
    """

    def __init__(self, service: Service, ready: Callable[[], None] = lambda: None) -> None:
        self._service, self._ready = service, ready
        timeout = service.config.timeout

        class Connection(_Connection):
            patience = timeout

        super().__init__(
            uvicorn.Config(
                create_app(service),
                http=Connection,
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening; let what is on its way arrive, and tell clients that the connection ends with its answer."""
        self._service.stopping = True
        for listener in self.servers:
            listener.close()
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        connections = self.server_state.connections
        for connection in list(connections):
            if (cycle := getattr(connection, "cycle", None)) is not None:
                cycle.default_headers = self.server_state.default_headers
        end = asyncio.get_running_loop().time() + GRACE
        while connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


class _Connection(H11Protocol):
    """A connection that is cut if its client takes more than ``patience`` seconds to send the head of a request, to
    send the rest of one that has been answered already, or to take any of its answer. (Bodies are ``uploads``' affair.)
    """

    patience: float

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._unsent = 0
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._timer.cancel()
        self._watch()
        super().on_response_complete()

    def _watch(self) -> None:
        self._timer = self.loop.call_later(self.patience, self._check)

    def _check(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        working = self.cycle is not None and not self.cycle.response_complete
        if 0 < unsent < self._unsent or (unsent == 0 and working):
            self._unsent = unsent
            self._watch()
        else:
            self.transport.abort()
