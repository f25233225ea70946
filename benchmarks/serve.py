"""The service under load: ``facesmith serve`` as a process of its own, clients over real connections.

    python benchmarks/serve.py                        # 200 clients at once, batches of 1 to 8, and a stop under load
    python benchmarks/serve.py --pictures DIR         # with real photographs, most of them differing in size

Every client holds a connection and sends its next picture as soon as the last one is answered. ``lost`` counts
requests that went out and were not answered; ``refused`` those that were answered 503. Server and clients share this
process's CPUs, so the server has less than that. ``CPU ms`` is the server's CPU time a request: where other work keeps
the machine busy, that is what can be compared.
"""

import asyncio
import itertools
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from facesmith import images
from facesmith.runtime.cpus import available_cpus
from facesmith.runtime.portrait import paint_portrait


class Running(NamedTuple):
    """A service that runs."""

    process: "subprocess.Popen[str]"
    port: int

    def cpu_seconds(self) -> float:
        """CPU time that it has taken (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        assert found, name
        return float(found[1])


@dataclass
class Outcome:
    """What the clients saw.

    Attributes:
        seconds: of each request that was answered 200.
        statuses: status -> answers; ``lost``: sent, not answered; ``closed``: the connection was refused, or the
            server had said that it would close it.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: "Counter[str]" = field(default_factory=Counter)
    wall: float = 0.0

    def row(self) -> str:
        p50, p99 = np.percentile(self.seconds, (50, 99)) * 1000 if self.seconds else (np.nan, np.nan)
        other = {key: count for key, count in self.statuses.items() if key not in ("200", "lost", "503")}
        text = f"{self.statuses['200']:6d} {self.statuses['503']:8d} {self.statuses['lost']:5d}"
        text += f" {len(self.seconds) / self.wall:9.1f} {p50:8.0f} {p99:8.0f}"
        return text + (f"  {other}" if other else "")


@dataclass(frozen=True)
class Load:
    """Measure the service."""

    clients: int = 200
    """Clients at once."""

    requests: int = 5
    """Requests a client."""

    pictures: Path | None = None
    """A folder of photographs; without it, one painted portrait of 640 × 480 pixels."""

    model: str = "retinaface-mobilenet0.25"
    """Name or file."""

    device: str = "cpu"
    """As for `facesmith serve`."""

    batches: tuple[int, ...] = (1, 2, 4, 8)
    """Values of --batch to compare."""

    rounds: int = 2
    """Times that the comparison is made, turn by turn."""

    def run(self) -> None:
        pictures = self._pictures()
        print(f"{platform.processor() or platform.machine()}, {available_cpus()} CPUs for server and clients together")
        print(f"{len(pictures)} pictures, {sum(map(len, pictures)) / len(pictures) / 1000:.0f} kB on average")
        head = ("200", 6), ("refused", 8), ("lost", 5), ("a second", 9), ("p50 ms", 8), ("p99 ms", 8), ("CPU ms", 7)
        print("batch clients " + " ".join(f"{name:>{width}}" for name, width in head) + " mean batch")
        for _, batch in itertools.product(range(self.rounds), self.batches):
            for clients in (1, self.clients):
                self._measure(pictures, batch, clients)
        print("\nSIGTERM while all clients are sending:")
        for batch in (self.batches[0], self.batches[-1]):
            print(f"batch {batch}: {self._stopped(pictures, batch)}")

    def _pictures(self) -> list[bytes]:
        if self.pictures is not None:
            return [path.read_bytes() for path in sorted(self.pictures.rglob("*.jpg"))[:100]]
        return [images.encode("portrait.jpg", paint_portrait(640, 480, (320.0, 220.0), 90.0))]

    def _measure(self, pictures: list[bytes], batch: int, clients: int) -> None:
        with self._serving(batch) as server:
            asyncio.run(load(server.port, pictures, clients=1, requests=2))  # warm
            cpu, count, total = (server.cpu_seconds(), *self._sizes(server))
            requests = self.requests if clients > 1 else 50
            outcome = asyncio.run(load(server.port, pictures, clients=clients, requests=requests))
            cpu = (server.cpu_seconds() - cpu) / max(1, outcome.statuses["200"])
            batches = self._sizes(server)
        mean = (batches[1] - total) / max(1, batches[0] - count)
        print(f"{batch:5d} {clients:7d} {outcome.row()} {1000 * cpu:7.1f} {mean:10.2f}", flush=True)

    def _sizes(self, server: Running) -> tuple[float, float]:
        return server.metric("facesmith_batch_size_count"), server.metric("facesmith_batch_size_sum")

    def _stopped(self, pictures: list[bytes], batch: int) -> str:
        with self._serving(batch) as server:

            async def stop() -> Outcome:
                clients = asyncio.create_task(load(server.port, pictures, clients=self.clients, requests=1000))
                await asyncio.sleep(3)
                server.process.send_signal(signal.SIGTERM)
                return await clients

            outcome = asyncio.run(stop())
            code = server.process.wait(60)
        return f"{json.dumps(outcome.statuses)}, the server ended with {code}"

    @contextmanager
    def _serving(self, batch: int) -> Iterator[Running]:
        command = [sys.executable, "-m", "facesmith", "serve", "--port", "0", "--model", self.model]
        command += ["--batch", str(batch), "--device", self.device, "--timeout", "600"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                lines = itertools.takewhile(bool, iter(process.stdout.readline, ""))
                port = next(int(found[1]) for line in lines if (found := re.search(r"http://.*:(\d+)", line)))
                yield Running(process, port)
            finally:
                process.terminate()


async def load(port: int, pictures: list[bytes], *, clients: int, requests: int) -> Outcome:
    """What ``clients`` see that send ``requests`` each."""
    outcome = Outcome()
    began = time.perf_counter()
    await asyncio.gather(*(_client(port, pictures, number, requests, outcome) for number in range(clients)))
    outcome.wall = time.perf_counter() - began
    return outcome


async def _client(port: int, pictures: list[bytes], number: int, requests: int, outcome: Outcome) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        outcome.statuses["closed"] += 1
        return
    for turn in range(requests):
        picture = pictures[(number + turn) % len(pictures)]
        head = f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
        began = time.perf_counter()
        try:
            writer.write(head.encode() + b"\r\n\r\n" + picture)
            await writer.drain()
            status, headers = await _answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            outcome.statuses["lost"] += 1
            break
        outcome.statuses[status] += 1
        if status == "200":
            outcome.seconds.append(time.perf_counter() - began)
        if headers.get("connection") == "close":
            outcome.statuses["closed"] += turn + 1 < requests
            break
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """Status and headers; the body is read and dropped."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    await reader.readexactly(int(headers["content-length"]))
    return first.split()[1], headers


if __name__ == "__main__":
    tyro.cli(Load).run()
