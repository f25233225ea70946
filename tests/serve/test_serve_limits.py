"""What the service answers to clients that ask too much, mean ill, are slow or go away."""

import contextlib
import http.client
import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesmith import images, load
from facesmith.errors import ConfigError
from facesmith.serve.config import ServeConfig
from serving import Running, form, gated, png, serving


@pytest.fixture(scope="module")
def strict(tiny_model: Path) -> Iterator[Running]:
    with serving(load(tiny_model, threads=1), max_bytes=100_000, max_pixels=1_000_000, timeout=0.5) as running:
        yield running
        assert running.service._places == running.service._waiting == running.service._held.bytes == 0


def bomb(width: int, height: int) -> bytes:
    """A valid PNG of one bit a pixel, a thousandth of its size when decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def photo() -> bytes:
    rng = np.random.default_rng(0)
    return images.encode("noise.jpg", rng.integers(0, 256, (160, 160, 3), np.uint8))


def gif_bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (1, 1)).save(buffer, "GIF")
    data = bytearray(buffer.getvalue())
    data[6:10] = struct.pack("<HH", 65535, 65535)
    return bytes(data)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (bomb(1024, 1024), 413, "1,000,000 pixels"),
        (bomb(8000, 8000), 413, "1,000,000 pixels"),
        (gif_bomb(), 413, "1,000,000 pixels"),
        (photo()[:4000], 400, "cut short"),
        (photo()[:100], 400, "image bytes"),
        (bomb(160, 160)[:60], 400, "image bytes"),
        (b"\xff\xd8\xff", 400, "image bytes"),
        (b"%PDF-1.7", 400, "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "not a picture"),
        (b"", 400, "empty"),
        (bytes(100_001), 413, "100,000 bytes"),
    ],
    ids=["bomb", "large-bomb", "gif", "cut", "cut-head", "cut-png", "3-bytes", "pdf", "svg", "empty", "large"],
)
def test_bad_pictures(strict: Running, body: bytes, status: int, says: str) -> None:
    answer = strict.ask("/detect", body)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert says in answer.json()["error"]
    wrapped, kind = form(body)
    assert strict.ask("/detect", wrapped, content_type=kind).status == status


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "video/mp4", "multipart/mixed; boundary=edge"])
def test_wrong_types(strict: Running, kind: str) -> None:
    answer = strict.ask("/detect", b"{}", content_type=kind)
    assert answer.status == 415
    assert kind.partition(";")[0] in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(png(), filename=None)[0], "multipart/form-data; boundary=edge"),
        (form(png())[0].replace(b"--edge--", b"--edge") + form(png())[0], "multipart/form-data; boundary=edge"),
        (form(png())[0][:-40], "multipart/form-data; boundary=edge"),
        (form(png())[0], "multipart/form-data; boundary=other"),
        (form(png())[0], "multipart/form-data"),
        (b"nonsense", "multipart/form-data; boundary=edge"),
    ],
    ids=["no-file", "two-files", "cut", "wrong-boundary", "no-boundary", "nonsense"],
)
def test_bad_forms(strict: Running, body: bytes, kind: str) -> None:
    answer = strict.ask("/detect", body, content_type=kind)
    assert answer.status == 400
    assert "form" in answer.json()["error"] or "empty" in answer.json()["error"]


def head(length: int, more: str = "") -> bytes:
    return f"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def status(client: socket.socket) -> int:
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


def test_an_announced_size_is_refused_before_anything_is_sent(strict: Running) -> None:
    with strict.connect() as client:
        client.sendall(head(10**12, "Expect: 100-continue\r\n"))
        assert status(client) == 413


def test_a_body_without_end_is_refused_while_it_comes(strict: Running) -> None:
    with strict.connect() as client:
        client.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"%x\r\n%s\r\n" % (60_000, bytes(60_000)) * 2)
        assert status(client) == 413


def test_a_slow_body(strict: Running) -> None:
    began = time.monotonic()
    with strict.connect() as client:
        client.sendall(head(1000) + b"a")
        assert status(client) == 408
    assert 0.5 <= time.monotonic() - began < 5


def wait_until_closed(client: socket.socket) -> None:
    """Fails if the server does not end the connection within the client's own timeout."""
    with contextlib.suppress(ConnectionResetError):
        while client.recv(65536):
            pass


def drip(client: socket.socket, seconds: float) -> None:
    """Send a byte now and then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.sendall(b"x")
        time.sleep(0.02)


@pytest.mark.parametrize("sent", [b"", b"POST /detect HT", head(10)[:-2]], ids=["nothing", "line", "head"])
def test_a_slow_head(strict: Running, sent: bytes) -> None:
    with strict.connect() as client:
        client.sendall(sent)
        wait_until_closed(client)


def test_a_body_that_goes_on_after_its_answer(strict: Running) -> None:
    with strict.connect() as client:
        client.sendall(head(10**6))
        assert status(client) == 413
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            drip(client, 10)


def test_a_client_that_takes_no_answer(tiny_model: Path) -> None:
    rng = np.random.default_rng(0)
    noise = images.encode("noise.png", rng.integers(0, 256, (1500, 1500, 3), np.uint8))
    with serving(load(tiny_model, threads=1), timeout=1) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", running.port))
        request = b"POST /detect?format=png HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(noise)
        client.sendall(request + noise)
        wait_for(lambda: running.service.metrics.seconds.count == 1)
        wait_for(lambda: not running.server.server_state.connections)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()


def test_nonsense_instead_of_http(strict: Running) -> None:
    with strict.connect() as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello?\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert strict.ask("/health").status == 200


def wait_for(condition: object) -> None:
    end = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_full_house_says_when_to_come_again() -> None:
    detector, session = gated()
    with serving(detector, places=2) as running, ThreadPoolExecutor(2) as clients:
        session.gate.clear()
        served = [clients.submit(running.ask, "/detect", png(level=255)) for _ in range(2)]
        wait_for(lambda: running.service._places == 2)
        refused = running.ask("/detect", png())
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "2 pictures are waiting or worked on" in refused.json()["error"]
        assert running.ask("/health").status == 200
        session.gate.set()
        assert [len(answer.result().json()["faces"]) for answer in served] == [1, 1]
        assert running.ask("/detect", png()).status == 200


def test_slow_clients_keep_nobody_out() -> None:
    detector, _ = gated()
    with serving(detector, places=1) as running, contextlib.ExitStack() as slow:
        for _ in range(3):
            slow.enter_context(running.connect()).sendall(head(1000) + b"abc")
        wait_for(lambda: running.service._held.bytes == 9)
        assert running.ask("/detect", png()).status == 200


def test_pictures_that_wait_are_bounded_by_bytes() -> None:
    detector, session = gated()
    picture = png()
    with serving(detector, max_held=2 * len(picture)) as running, ThreadPoolExecutor(2) as clients:
        session.gate.clear()
        served = [clients.submit(running.ask, "/detect", picture) for _ in range(2)]
        wait_for(lambda: running.service._held.bytes == 2 * len(picture))
        assert running.ask("/detect", picture).status == 503
        session.gate.set()
        assert {answer.result().status for answer in served} == {200}
        assert running.service._held.bytes == 0


def test_a_picture_does_not_wait_for_ever() -> None:
    detector, session = gated()
    with serving(detector, timeout=0.3) as running, ThreadPoolExecutor(2) as clients:
        session.gate.clear()
        first = clients.submit(running.ask, "/detect", png(level=255))
        wait_for(lambda: running.service._waiting == 0 and running.service._places == 1)
        second = clients.submit(running.ask, "/detect", png(level=255))
        wait_for(lambda: running.service._waiting == 1)
        time.sleep(0.4)
        session.gate.set()
        assert first.result().status == 200
        assert second.result().status == 503
        assert "its turn had not come" in second.result().json()["error"]


def test_who_goes_before_his_turn_is_not_worked_for() -> None:
    detector, session = gated()
    with serving(detector) as running, ThreadPoolExecutor(1) as clients:
        session.gate.clear()
        session.batches.clear()
        first = clients.submit(running.ask, "/detect", png(level=255))
        wait_for(lambda: running.service._waiting == 0 and running.service._places == 1)
        with running.connect() as client:
            client.sendall(head(len(png())) + png())
            wait_for(lambda: running.service._waiting == 1)
        wait_for(lambda: running.service._places == 1)
        assert running.service._waiting == 0
        session.gate.set()
        assert first.result().status == 200
        assert len(session.batches) == 1
        assert running.service.metrics.requests.value(("/detect", "499")) == 1


def test_concurrent_requests_share_batches() -> None:
    detector, session = gated()
    with serving(detector, batch=4, batch_delay=1.0) as running, ThreadPoolExecutor(8) as clients:
        session.batches.clear()
        answers = list(
            clients.map(lambda level: running.ask("/detect?threshold=0", png(level=level)), range(10, 90, 10))
        )
        scores = [answer.json()["faces"][0]["score"] for answer in answers]
    assert scores == [pytest.approx(level / 255, abs=1e-5) for level in range(10, 90, 10)]
    assert [shape[0] for shape in session.batches] == [4, 4]


def test_two_hundred_at_once(tiny_model: Path) -> None:
    with serving(load(tiny_model, threads=1)) as running:
        barrier = threading.Barrier(200)

        def client(level: int) -> bool:
            barrier.wait(20)
            answer = running.ask("/detect?threshold=0", png(level=level))
            return answer.status == 200 and answer.json()["faces"][0]["score"] == pytest.approx(level / 255, abs=1e-4)

        with ThreadPoolExecutor(200) as clients:
            assert all(clients.map(client, (1 + i % 255 for i in range(200))))
        assert running.service.metrics.requests.value(("/detect", "200")) == 200


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_bytes": 0}, "max_bytes"),
        ({"batch": 0}, "batch"),
        ({"timeout": float("nan")}, "timeout"),
        ({"batch_delay": 2}, "delay"),
    ],
)
def test_wrong_limits(limits: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ServeConfig(**limits)  # type: ignore[arg-type]


def test_models_of_one_name() -> None:
    with pytest.raises(ConfigError, match="two models are called 'gated'"), serving(gated()[0], gated()[0]):
        pass
