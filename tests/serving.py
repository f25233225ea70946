"""A service in a thread of the test, and clients for it."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from facesmith import Detector, images
from facesmith.runtime import Candidates

pytest.importorskip("fastapi", reason="the service needs FastAPI: pip install 'facesmith[serve]'")
pytest.importorskip("uvicorn", reason="the service needs uvicorn: pip install 'facesmith[serve]'")
pytest.importorskip("python_multipart", reason="the service needs python-multipart: pip install 'facesmith[serve]'")

from facesmith.serve.config import ServeConfig
from facesmith.serve.server import Server, bind
from facesmith.serve.service import Service


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Running(NamedTuple):
    service: Service
    server: Server
    port: int

    def ask(self, path: str, body: bytes | None = None, *, method: str = "", **headers: str) -> Reply:
        """One request on a connection of its own; ``content_type="image/png"`` is a header."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@contextlib.contextmanager
def serving(*detectors: Detector, **limits: Any) -> Iterator[Running]:
    """``detectors`` served with ``limits`` of ``ServeConfig``."""
    service = Service(list(detectors), ServeConfig(**limits))
    ready = threading.Event()
    server = Server(service, ready.set)
    with bind("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert ready.wait(20)
            yield Running(service, server, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


@dataclass
class GatedSession:
    """A network that finds in each picture one face as bright as its first pixel, once its gate is open."""

    name: str = "gated"
    device: str = "cpu"
    threads: int = 1
    usual_size: str = "original"
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    batches: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, pictures: npt.NDArray[np.uint8]) -> Candidates:
        self.entered.release()
        assert self.gate.wait(20)
        self.batches.append(pictures.shape[:3])
        n = len(pictures)
        boxes = np.tile(np.array([0, 0, 8, 8], np.float32), (n, 1, 1))
        scores = pictures[:, :1, 0, 0].astype(np.float32) / 255
        return Candidates(boxes, scores, np.zeros((n, 1, 5, 2), np.float32))


def gated() -> tuple[Detector, GatedSession]:
    """A detector and its network, whose gate is open."""
    session = GatedSession()
    session.gate.set()
    return Detector(session, checksum="0" * 64), session


def png(width: int = 160, height: int = 160, level: int = 0) -> bytes:
    """A picture of one grey."""
    return images.encode("picture.png", np.full((height, width, 3), level, np.uint8))


def form(body: bytes, name: str = "image", filename: str | None = "photo.png") -> tuple[bytes, str]:
    """A multipart body with one part, and its content type."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    head = f"--edge\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
    return head + body + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"
