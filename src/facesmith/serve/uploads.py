"""A request's picture, read with a limit on its bytes, on the time that it takes and on what is held in all."""

import asyncio
from typing import Any

from facesmith.errors import MissingExtraError
from facesmith.serve.config import ServeConfig
from facesmith.serve.forms import file_of
from facesmith.serve.refusal import CLIENT_GONE, Refusal, busy

try:
    from starlette.requests import ClientDisconnect, Request
except ImportError as error:
    raise MissingExtraError("the service needs FastAPI: pip install 'facesmith[serve]'") from error

FORM = "multipart/form-data"
FORM_OVERHEAD = 65_536
"""Bytes that a multipart body may have beside the picture."""

# The last one is what `curl --data-binary @photo.jpg` sends; the picture itself says what it is.
RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")


class Held:
    """Bytes of pictures that have been sent and not yet been worked on."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.bytes = 0

    def add(self, count: int) -> None:
        """Raise :class:`Refusal` if there is no room for ``count`` more."""
        if self.bytes + count > self._most:
            raise busy("too many pictures are waiting; try again later")
        self.bytes += count

    def drop(self, count: int) -> None:
        self.bytes -= count


class Upload:
    """The body of a request on its way in; a context manager, which gives back what was held.

    Args:
        request: its body has not been read.
        config: the limits.
        held: what all uploads hold.
    """

    def __init__(self, request: Request, config: ServeConfig, held: Held) -> None:
        self._request, self._config, self._held = request, config, held
        self._kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._most = config.max_bytes + (FORM_OVERHEAD if self._kind == FORM else 0)
        self._count = 0

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.drop(self._count)

    async def read(self) -> bytes:
        """The picture's bytes.

        Raises:
            Refusal: 400 (malformed or empty body), 408, 413, 415 or 503; 499 where the client has gone.
        """
        if self._kind != FORM and self._kind not in RAW and not self._kind.startswith("image/"):
            raise Refusal(
                415, f"the body is {self._kind}; send the picture itself (image/*) or a form with one file ({FORM})"
            )
        self._check_announced()
        try:
            async with asyncio.timeout(self._config.timeout):
                data = await Request(self._request.scope, self._receive).body()
        except TimeoutError:
            raise Refusal(408, f"the picture did not arrive within {self._config.timeout:g} seconds") from None
        except ClientDisconnect:
            raise Refusal(CLIENT_GONE, "the client has gone") from None
        if self._kind == FORM:
            data = await asyncio.to_thread(file_of, data, self._request.headers["content-type"])
        if not data:
            raise Refusal(400, "the body is empty; send a picture")
        if len(data) > self._config.max_bytes:
            raise self._too_large()
        return data

    def _check_announced(self) -> None:
        announced = self._request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._most:
            raise self._too_large()

    async def _receive(self) -> Any:
        """The next message of the body, counted."""
        message = await self._request.receive()
        count = len(message.get("body", b""))
        if self._count + count > self._most:
            raise self._too_large()
        self._held.add(count)
        self._count += count
        return message

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the picture has more than {self._config.max_bytes:,} bytes, which is the limit")
