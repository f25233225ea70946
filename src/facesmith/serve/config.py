"""What the service allows a client."""

from dataclasses import dataclass

from facesmith.errors import ConfigError

MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
TIMEOUT = 30.0

GPU_BATCH = 8
"""Pictures that a GPU takes at a time; a CPU is faster with one (docs/serve.md has the figures)."""


@dataclass(frozen=True)
class ServeConfig:
    """Limits of the service.

    Attributes:
        max_bytes: of one picture as sent.
        max_pixels: width × height of one picture.
        timeout: seconds that a client may take to send its request or to take its answer, and that a picture may wait
            for its turn.
        batch: most pictures that go through a network at a time.
        batch_delay: seconds that a picture waits at most for others to share its batch.
        places: pictures that wait or are worked on at a time.
        max_held: bytes of all pictures that have been sent and not yet been worked on.
        max_network_pixels: width × height at which a network sees a picture.

    Raises:
        ConfigError: a limit is out of range.
    """

    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    timeout: float = TIMEOUT
    batch: int = 1
    batch_delay: float = 0.005
    places: int = 256
    max_held: int = 512_000_000
    max_network_pixels: int = 2048 * 2048

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "batch", "places", "max_held", "max_network_pixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if not 0 < self.timeout < float("inf"):
            raise ConfigError(f"timeout must be a number of seconds above 0, not {self.timeout}")
        if not 0 <= self.batch_delay <= 1:
            raise ConfigError(f"batch_delay must lie between 0 and 1 second, not {self.batch_delay}")
