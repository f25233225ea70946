"""``facesmith serve`` as a process: its start, its end, what it imports."""

import contextlib
import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facesmith import cli
from serving import png

SECONDS = 30


@contextlib.contextmanager
def process(*flags: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """``facesmith serve`` on a free port, ready."""
    command = [sys.executable, "-m", "facesmith", "serve", "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "facesmith serves tiny on cpu\n"
            found = re.match(r"http://127\.0\.0\.1:(\d+) ", server.stdout.readline())
            assert found
            yield server, int(found[1])
        finally:
            server.kill()


def ask(connection: http.client.HTTPConnection, body: bytes) -> http.client.HTTPResponse:
    connection.request("POST", "/detect", body)
    answer = connection.getresponse()
    answer.read()
    return answer


def test_a_stop_answers_all_that_was_accepted(tiny_model: Path) -> None:
    """20 clients that send one request after the other: none goes unanswered, each is told when it is over."""
    started = threading.Barrier(21)

    def client(port: int) -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        statuses = []
        with contextlib.closing(connection):
            while True:
                answer = ask(connection, png(level=200))
                statuses.append(answer.status)
                if len(statuses) == 1:
                    started.wait(SECONDS)
                if answer.headers.get("connection") == "close":
                    return statuses

    with process("--model", str(tiny_model), "--threads", "1") as (server, port), ThreadPoolExecutor(20) as clients:
        answers = [clients.submit(client, port) for _ in range(20)]
        started.wait(SECONDS)
        server.send_signal(signal.SIGTERM)
        assert {status for answer in answers for status in answer.result()} == {200}
        assert server.wait(SECONDS) == -signal.SIGTERM
        assert server.stderr is not None
        assert server.stderr.read() == ""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_stop_waits_for_a_picture_that_is_on_its_way(tiny_model: Path) -> None:
    picture = png(level=200)
    head = f"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
    with process("--model", str(tiny_model), "--threads", "1") as (server, port):
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(head + picture[:100])
            assert ask_health(port) == 200
            server.send_signal(signal.SIGTERM)
            while ask_health(port) == 200:
                pass
            client.sendall(picture[100:])
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert answer.status == 200
        assert server.wait(SECONDS) == -signal.SIGTERM


def ask_health(port: int) -> int | None:
    """The status of ``/health``; ``None`` where nobody listens any more."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except (ConnectionError, http.client.RemoteDisconnected):
            return None


def test_ctrl_c_ends_it(tiny_model: Path) -> None:
    with process("--model", str(tiny_model)) as (server, _):
        server.send_signal(signal.SIGINT)
        assert server.wait(SECONDS) == cli.INTERRUPTED


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--port", "70000"], "port must lie between 0 and 65535"),
        (["--host", "999.1.1.1"], "cannot serve at 999.1.1.1"),
        (["--model", "retinafice"], "no model is called 'retinafice'"),
        (["--timeout", "0"], "timeout must be"),
        (["--threads", "0"], "threads must be 1 or more"),
        (["--device", "cuda:77"], "cuda:77"),
    ],
)
def test_wrong_flags(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--port", "0", *flags]) == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 2
    assert f"port {port}: " in capsys.readouterr().err


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_torch_stays_out(tiny_model: Path) -> None:
    """Also once pictures have been answered, with and without batches."""
    code = f"""
import sys, threading, urllib.request
from facesmith import images, load
from facesmith.serve.config import ServeConfig
from facesmith.serve.server import Server, bind
from facesmith.serve.service import Service
import numpy as np

picture = images.encode("a.png", np.zeros((160, 160, 3), np.uint8))
for batch in (1, 2):
    service, ready = Service([load({str(tiny_model)!r})], ServeConfig(batch=batch)), threading.Event()
    with bind("127.0.0.1", 0) as listener:
        server = Server(service, ready.set)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        ready.wait(20)
        url = f"http://127.0.0.1:{{listener.getsockname()[1]}}/detect?format=png"
        assert urllib.request.urlopen(url, picture).status == 200
        server.should_exit = True
        thread.join()
print(*(name for name in ("torch", "onnx", "facesmith.detectors", "facesmith.training") if name in sys.modules))
"""
    assert run(code).split() == []


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "python_multipart"])
def test_without_the_extra(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
sys.stderr = sys.stdout
from facesmith.cli import main
print(main(["serve", "--port", "0"]))
"""
    message, status = run(code).splitlines()
    assert status == "2"
    assert "pip install 'facesmith[serve]'" in message
