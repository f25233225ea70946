from pathlib import Path

import pytest
from training_runs import Trained, new_model

from facesmith.detectors.weights import read_metadata
from facesmith.errors import ConfigError, LabelError
from facesmith.training.validation import validator


def test_a_trained_network_scores_high_through_the_users_detector(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "judged.safetensors"
    judge = validator(trained.data / "faces.txt", trained.data / "faces", out=out, name="tiny", threads=1)
    (figure,) = judge(trained.model).items()
    assert figure[0] == "AP all"
    assert 0.9 < figure[1] <= 1
    assert read_metadata(out)["name"] == "tiny"


def test_an_untrained_one_scores_low(trained: Trained, tmp_path: Path) -> None:
    judge = validator(
        trained.data / "faces.txt", trained.data / "faces", out=tmp_path / "a.safetensors", name="tiny", threads=1
    )
    assert judge(new_model().eval())["AP all"] < 0.2


def test_wrong_paths_are_told_before_the_training(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    with pytest.raises(LabelError):
        validator(tmp_path / "absent.txt", trained.data, out=out, name="tiny", threads=1)
    with pytest.raises(ConfigError):
        validator(trained.data / "faces.txt", tmp_path, out=out, name="tiny", threads=1)
