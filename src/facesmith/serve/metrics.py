"""Counters, gauges and histograms in Prometheus' text format, version 0.0.4."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)

Labels = tuple[str, ...]


class Counter:
    """Numbers that only grow, one for each combination of label values. Any thread may add."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name, self.help, self._labels = name, help, tuple(labels)
        self._values: dict[Labels, float] = defaultdict(float)
        self._lock = threading.Lock()
        if not labels:
            self._values[()] = 0.0

    def add(self, amount: float = 1, labels: Labels = ()) -> None:
        with self._lock:
            self._values[labels] += amount

    def value(self, labels: Labels = ()) -> float:
        with self._lock:
            return self._values.get(labels, 0.0)

    def lines(self) -> Iterator[str]:
        with self._lock:
            values = sorted(self._values.items())
        yield from _head(self.name, self.help, "counter")
        for labels, value in values:
            yield f"{self.name}{_braces(zip(self._labels, labels, strict=True))} {_number(value)}"


class Gauge:
    """A number that is read when it is asked for."""

    def __init__(self, name: str, help: str, read: Callable[[], float]) -> None:
        self.name, self.help, self._read = name, help, read

    def lines(self) -> Iterator[str]:
        yield from _head(self.name, self.help, "gauge")
        yield f"{self.name} {_number(self._read())}"


class Histogram:
    """How many values were seen up to each bound. Any thread may observe."""

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        self.name, self.help, self._bounds = name, help, tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    @property
    def count(self) -> int:
        with self._lock:
            return sum(self._counts)

    @property
    def sum(self) -> float:
        with self._lock:
            return self._sum

    def lines(self) -> Iterator[str]:
        with self._lock:
            counts, total = list(self._counts), self._sum
        yield from _head(self.name, self.help, "histogram")
        below = 0
        for bound, count in zip((*map("{:g}".format, self._bounds), "+Inf"), counts, strict=True):
            below += count
            yield f'{self.name}_bucket{{le="{bound}"}} {below}'
        yield f"{self.name}_sum {_number(total)}"
        yield f"{self.name}_count {below}"


class Metrics:
    """All that the service counts."""

    def __init__(self) -> None:
        self.requests = Counter("facesmith_requests_total", "Requests answered.", ("path", "status"))
        self.seconds = Histogram(
            "facesmith_request_seconds", "Seconds from the head of a /detect request to its answer.", SECONDS
        )
        self.faces = Counter("facesmith_faces_total", "Faces found.", ("model",))
        self.batches = Histogram("facesmith_batch_size", "Pictures that went through a network at a time.", BATCH_SIZES)
        self._gauges: list[Gauge] = []

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Report what ``read`` returns."""
        self._gauges.append(Gauge(name, help, read))

    def text(self) -> str:
        """What ``GET /metrics`` answers."""
        families: tuple[Counter | Histogram | Gauge, ...] = (
            self.requests,
            self.seconds,
            self.batches,
            self.faces,
            *self._gauges,
        )
        return "".join(f"{line}\n" for family in families for line in family.lines())


def _head(name: str, help: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _braces(labels: "zip[tuple[str, str]]") -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
