from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from drawn_faces import TINY, TINY_BATCH, write_faces

from facesmith.data.sources import find_sources
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.training.ddp import Process
from facesmith.training.loop import TrainConfig, train
from facesmith.training.optimisers import AdamW
from facesmith.training.schedule import Cosine


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Sums in another order would differ in their last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def new_model() -> Callable[[], RetinaFace]:
    def make(seed: int = 0) -> RetinaFace:
        torch.manual_seed(seed)
        return RetinaFace(TINY)

    return make


class Trained(NamedTuple):
    data: Path
    out: Path
    model: RetinaFace


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A network that has learnt ten pictures of faces by heart."""
    data = write_faces(tmp_path_factory.mktemp("trained"), 10, size=(640, 480))
    torch.manual_seed(0)
    config = TrainConfig(
        steps=130,
        batch=TINY_BATCH,
        optimiser=AdamW(rate=5e-3),
        schedule=Cosine(warmup=10),
        ema=0.97,
        workers=0,
    )
    process = Process.start("cpu")
    model = train(RetinaFace(TINY), find_sources(data), config, data / "out", process=process, cache=data / "cache")
    return Trained(data, data / "out", model)
