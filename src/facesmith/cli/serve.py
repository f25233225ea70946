"""``facesmith serve``: detection over HTTP, and a page for the browser."""

from dataclasses import dataclass
from typing import Annotated

import cv2
import tyro

from facesmith import weights
from facesmith.runtime import load
from facesmith.serve.config import GPU_BATCH, MAX_BYTES, MAX_PIXELS, TIMEOUT, ServeConfig


@dataclass(frozen=True)
class Serve:
    """Find faces over HTTP: POST a picture to /detect, or open the printed address in a browser.

    Ctrl-C or SIGTERM ends it as soon as everything that was accepted has been answered.
    """

    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME-OR-FILE [NAME-OR-FILE ...]")] = ()
    """Names that `facesmith models` lists, or .onnx or .safetensors files; the first is the default. Without this, all
    shipped models."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for everybody in the network."""

    port: int = 8000
    """Port to listen at; 0 for any that is free."""

    max_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = MAX_BYTES
    """Most bytes of a picture as sent."""

    max_pixels: Annotated[int, tyro.conf.arg(metavar="N")] = MAX_PIXELS
    """Most pixels of a picture, judged before it is decoded."""

    timeout: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = TIMEOUT
    """Longest time that a client may take to send a picture, and a picture may wait for its turn."""

    batch: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Most pictures that go through a network at a time. Without it, 1 on a CPU, which is fastest there, and 8 on a
    GPU."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads; without it, as many as this process may use."""

    device: str = "cpu"
    """cpu, cuda or cuda:N. Nothing falls back: what is not there is an error."""

    def run(self) -> int:
        """Serve until a signal ends it."""
        batch = self.batch if self.batch is not None else 1 if self.device == "cpu" else GPU_BATCH
        config = ServeConfig(self.max_bytes, self.max_pixels, self.timeout, batch)
        from facesmith.serve.server import Server, bind, url  # 0.5 s
        from facesmith.serve.service import Service

        with bind(self.host, self.port) as listener:
            names = self.model or tuple(weights.records())
            detectors = [load(name, device=self.device, threads=self.threads) for name in dict.fromkeys(names)]
            cv2.setNumThreads(1)  # pictures run side by side; OpenCV's own threads would come on top
            served = f"{', '.join(one.name for one in detectors)} on {detectors[0].device}"

            def ready() -> None:
                print(f"facesmith serves {served}\n{url(listener)}  (Ctrl-C ends it)", flush=True)

            Server(Service(detectors, config), ready).run(sockets=[listener])
        return 0
