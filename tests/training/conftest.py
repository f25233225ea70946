from collections.abc import Iterator

import pytest
import torch
from training_runs import Trained, fit, new_model

from drawn_faces import TINY_BATCH, write_faces
from facesmith.data.sources import find_sources
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import AdamW
from facesmith.training.schedule import Cosine


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Sums in another order would differ in their last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A network that has learnt ten pictures of faces by heart."""
    data = write_faces(tmp_path_factory.mktemp("trained"), 10, size=(640, 480))
    config = TrainConfig(
        steps=130,
        batch=TINY_BATCH,
        optimiser=AdamW(rate=5e-3),
        schedule=Cosine(warmup=10),
        ema=0.97,
        workers=0,
    )
    model = fit(new_model(), find_sources(data), data / "out", config, cache=data / "cache")
    return Trained(data, data / "out", model)
