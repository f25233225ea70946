import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from training_runs import SHORT, FrozenNorm, Trained, assert_same_state, fit, new_model, rows

from drawn_faces import TINY, TINY_BATCH, write_faces
from facesmith import runtime
from facesmith.data.sources import Source, find_sources
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.types import Targets
from facesmith.detectors.weights import save_weights
from facesmith.errors import ConfigError, DeviceError, ModelError, TrainingError
from facesmith.geometry import iou
from facesmith.training.checkpoint import load_checkpoint
from facesmith.training.ddp import Process
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import SGD, AdamW
from facesmith.training.schedule import Cosine


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"), 3)


@pytest.fixture(scope="module")
def sources(data: Path) -> list[Source]:
    return find_sources(data)


@pytest.fixture(scope="module")
def uninterrupted(sources: list[Source], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run."""
    out = tmp_path_factory.mktemp("uninterrupted")
    fit(new_model(), sources, out)
    return out


class Stopped(Exception):
    pass


def stop(model: RetinaFace) -> dict[str, float]:
    raise Stopped


class TestLearning:
    def test_the_detector_finds_the_faces_and_their_landmarks(self, trained: Trained) -> None:
        weights = trained.data / "tiny.safetensors"
        save_weights(weights, trained.model, name="tiny")
        detector = runtime.load(weights, threads=1)
        found, errors = 0, []
        labels = find_sources(trained.data)[0]
        for path, label in zip(labels.paths, labels.labels, strict=True):
            faces = detector.detect(path, size="original", threshold=0.3)
            overlaps = iou(label.boxes, faces.boxes)
            best = overlaps.argmax(axis=1)
            hits = overlaps.max(axis=1) > 0.5
            found += hits.sum()
            assert faces.landmarks is not None
            distance = np.linalg.norm(faces.landmarks[best] - label.landmarks, axis=2).mean(axis=1)
            errors.extend((distance / (label.boxes[:, 2] - label.boxes[:, 0]))[hits])
        assert found >= 0.9 * sum(len(label.boxes) for label in labels.labels)
        assert np.mean(errors) < 0.15

    def test_the_losses_fall(self, trained: Trained) -> None:
        log = rows(trained.out)
        for name in ("class", "box", "landmark"):
            assert log[-1][name] < 0.7 * log[0][name]


class TestLog:
    def test_rows(self, uninterrupted: Path) -> None:
        log = rows(uninterrupted)
        assert [row["step"] for row in log] == [20, 40, 50]
        for row in log:
            assert set(row) == {"step", "rate", "class", "box", "landmark", "norm", "seconds"}
            assert all(np.isfinite(value) for value in row.values())
        assert log[0]["rate"] == pytest.approx(1e-3 * SHORT.schedule.factor(19, 50))
        assert 0 < log[0]["seconds"] <= log[1]["seconds"] <= log[2]["seconds"]

    def test_the_average_is_judged_every_so_often(self, sources: list[Source], tmp_path: Path) -> None:
        judged = []

        def judge(model: RetinaFace) -> dict[str, float]:
            judged.append(model)
            assert not model.training
            return {"AP": 0.25 * len(judged)}

        config = replace(SHORT, steps=6, evaluate_every=2)
        averaged = fit(new_model(), sources, tmp_path, config, evaluate=judge)
        assert all(model is averaged for model in judged)
        assert [(row["step"], row["AP"]) for row in rows(tmp_path) if "AP" in row] == [(2, 0.25), (4, 0.5), (6, 0.75)]


class TestResuming:
    def test_a_stopped_run_ends_as_if_it_had_not(
        self, sources: list[Source], uninterrupted: Path, tmp_path: Path
    ) -> None:
        config = replace(SHORT, save_every=15, evaluate_every=42)
        with pytest.raises(Stopped):
            fit(new_model(), sources, tmp_path, config, evaluate=stop)
        assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 30
        fit(new_model(seed=9), sources, tmp_path)  # other first weights: they must not matter
        assert_same_state(tmp_path, uninterrupted)
        assert [row["step"] for row in rows(tmp_path)] == [20, 40, 50]  # 40 was logged twice
        assert same_losses(tmp_path, uninterrupted)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals")
    def test_a_killed_process_goes_on(
        self, data: Path, sources: list[Source], uninterrupted: Path, tmp_path: Path
    ) -> None:
        """SIGKILL between two checkpoints, while workers make batches."""
        script = (
            "import os, signal, sys, torch\n"
            "from pathlib import Path\n"
            "from dataclasses import replace\n"
            "from facesmith.data.sources import find_sources\n"
            "from training_runs import SHORT, fit, new_model\n"
            "torch.set_num_threads(1)\n"
            "config = replace(SHORT, evaluate_every=42, workers=1)\n"
            "fit(new_model(), find_sources(Path(sys.argv[1])), Path(sys.argv[2]), config,\n"
            "    evaluate=lambda model: os.kill(os.getpid(), signal.SIGKILL))\n"
        )
        here = Path(__file__).parent
        path = os.pathsep.join([str(here), str(here.parent), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", script, str(data), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            timeout=600,
        )
        assert done.returncode == -9, done.stderr.decode()[-2000:]
        assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 30
        assert [row["step"] for row in rows(tmp_path)] == [20, 40]
        fit(new_model(), sources, tmp_path)
        assert_same_state(tmp_path, uninterrupted)
        assert [row["step"] for row in rows(tmp_path)] == [20, 40, 50]

    def test_a_finished_run_is_not_touched(self, sources: list[Source], uninterrupted: Path, tmp_path: Path) -> None:
        for name in ("checkpoint.pt", "log.jsonl"):
            (tmp_path / name).write_bytes((uninterrupted / name).read_bytes())
        averaged = fit(new_model(), sources, tmp_path)
        assert (tmp_path / "checkpoint.pt").read_bytes() == (uninterrupted / "checkpoint.pt").read_bytes()
        assert (tmp_path / "log.jsonl").read_text() == (uninterrupted / "log.jsonl").read_text()
        stored = load_checkpoint(uninterrupted / "checkpoint.pt")["ema"]
        assert all(torch.equal(value, stored[key]) for key, value in averaged.state_dict().items())

    def test_a_torn_row_is_dropped(self, sources: list[Source], uninterrupted: Path, tmp_path: Path) -> None:
        (tmp_path / "checkpoint.pt").write_bytes((uninterrupted / "checkpoint.pt").read_bytes())
        text = (uninterrupted / "log.jsonl").read_text()
        (tmp_path / "log.jsonl").write_text(text + '{"step": 60, "ra')
        fit(new_model(), sources, tmp_path)
        assert (tmp_path / "log.jsonl").read_text() == text

    def test_without_a_checkpoint_it_starts_anew(self, sources: list[Source], tmp_path: Path) -> None:
        (tmp_path / "log.jsonl").write_text('{"step": 20, "seconds": 4.0}\n')
        fit(new_model(), sources, tmp_path, replace(SHORT, steps=2))
        assert [row["step"] for row in rows(tmp_path)] == [2]

    def test_other_settings_are_refused(self, sources: list[Source], uninterrupted: Path, tmp_path: Path) -> None:
        before = (uninterrupted / "checkpoint.pt").read_bytes()
        with pytest.raises(
            TrainingError,
            match=r"belongs to a run with other settings: .*rate=0\.001.* there and .*rate=0\.002.* here; choose",
        ):
            fit(new_model(), sources, uninterrupted, replace(SHORT, optimiser=AdamW(rate=2e-3)))
        other = RetinaFace(replace(TINY, channels=8))
        with pytest.raises(TrainingError, match="channels=16 there and channels=8 here"):
            fit(other, sources, uninterrupted)
        assert (uninterrupted / "checkpoint.pt").read_bytes() == before

    def test_a_damaged_checkpoint_is_refused(self, sources: list[Source], tmp_path: Path) -> None:
        (tmp_path / "checkpoint.pt").write_bytes(b"PK")
        with pytest.raises(ModelError, match=r"checkpoint\.pt: is not a readable checkpoint"):
            fit(new_model(), sources, tmp_path)

    def test_randomness_of_the_network_is_resumed(self, sources: list[Source], tmp_path: Path) -> None:
        """A network with dropout ends with the same weights too."""

        class Dropping(RetinaFace):
            def forward(self, images: torch.Tensor) -> Any:
                return super().forward(nn.functional.dropout(images.float(), 0.2, self.training))

        config = replace(SHORT, steps=6, save_every=3)
        for out, steps in (("whole", ()), ("parts", (4,))):
            for stop_at in (*steps, None):
                model = new_model(kind=Dropping)
                if stop_at:
                    with pytest.raises(Stopped):
                        fit(model, sources, tmp_path / out, replace(config, evaluate_every=stop_at), evaluate=stop)
                else:
                    fit(model, sources, tmp_path / out, config)
        assert_same_state(tmp_path / "whole", tmp_path / "parts")


def same_losses(a: Path, b: Path) -> bool:
    return all(
        x[name] == y[name]
        for x, y in zip(rows(a), rows(b), strict=True)
        for name in ("class", "box", "landmark", "norm")
    )


class TestNotFinite:
    @pytest.mark.parametrize("where", ["loss", "gradient"])
    def test_it_stops_and_the_checkpoint_stays(self, sources: list[Source], tmp_path: Path, where: str) -> None:
        class Failing(RetinaFace):
            calls = 0

            def loss(self, maps: Any, targets: Any) -> dict[str, torch.Tensor]:
                losses = super().loss(maps, targets)
                self.calls += 1
                if self.calls == 8:
                    if where == "loss":
                        losses["box"] = losses["box"] * torch.nan
                    else:
                        losses["box"] = losses["box"] + (maps.boxes.sum() * 0).clamp(min=0).sqrt()  # 0 · ∞
                return losses

        model = new_model(kind=Failing)
        config = replace(SHORT, steps=10, save_every=5)
        with pytest.raises(TrainingError, match=r"step 7: not finite: .*checkpoint\.pt holds the last good state"):
            fit(model, sources, tmp_path, config)
        state = load_checkpoint(tmp_path / "checkpoint.pt")
        assert state["step"] == 5
        assert all(t.isfinite().all() for t in state["model"].values())
        assert all(p.isfinite().all() for p in model.parameters())

    def test_before_the_first_checkpoint(self, sources: list[Source], tmp_path: Path) -> None:
        model = new_model()
        with torch.no_grad():
            model.head.bias[0] = torch.nan
        with pytest.raises(TrainingError, match=r"step 0: not finite: class nan.*none was saved yet"):
            fit(model, sources, tmp_path)
        assert not (tmp_path / "checkpoint.pt").exists()


class TestOptimisers:
    @pytest.mark.parametrize("optimiser", [AdamW(rate=0.1, weight_decay=0.3), SGD(rate=0.1, weight_decay=0.3)])
    def test_biases_and_normalisation_do_not_decay(self, optimiser: AdamW | SGD) -> None:
        model = new_model()
        model.context[0].requires_grad_(False)
        groups = optimiser.make(model).param_groups
        assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
        assert {p.ndim for p in groups[0]["params"]} == {4}
        assert {p.ndim for p in groups[1]["params"]} == {1}
        trainable = [p for p in model.parameters() if p.requires_grad]
        assert sum(len(group["params"]) for group in groups) == len(trainable) < len(list(model.parameters()))

    def test_gradients_are_clipped(self, sources: list[Source], tmp_path: Path) -> None:
        model = new_model()
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        config = replace(
            SHORT, steps=1, clip=1e-3, optimiser=SGD(rate=1.0, momentum=0, weight_decay=0), schedule=Cosine(warmup=1)
        )
        fit(model, sources, tmp_path, config)
        moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
        assert moved.norm().item() == pytest.approx(1e-3, rel=0.01)
        assert rows(tmp_path)[0]["norm"] > 1


class TestSettings:
    @pytest.mark.parametrize(
        "values",
        [
            {"steps": 0},
            {"save_every": 0},
            {"evaluate_every": -1},
            {"workers": -1},
            {"seed": -1},
            {"clip": 0},
            {"ema": 1},
        ],
    )
    def test_numbers_out_of_range_are_refused(self, values: dict[str, float]) -> None:
        with pytest.raises(ConfigError, match=f"training needs .*{next(iter(values))}"):
            TrainConfig(**values)

    @pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "mps"])
    def test_devices_that_are_not_there_are_refused(self, device: str) -> None:
        with pytest.raises(DeviceError, match=device):
            Process.start(device)


class MeanOfMaps(FrozenNorm):
    """Its loss is a mean over images."""

    def loss(self, maps: Any, targets: Targets) -> dict[str, torch.Tensor]:
        assert len(targets.boxes) == len(targets.complete) == len(maps.boxes)
        return {"class": maps.boxes.square().mean(), "box": maps.landmarks.mean()}


class TestParts:
    """A batch taken in parts."""

    ONE_STEP = replace(SHORT, steps=1, batch=replace(TINY_BATCH, images=6), optimiser=SGD(rate=0.1))

    @pytest.mark.parametrize("parts", [2, 3, 6])
    def test_equal_parts_give_the_gradient_of_the_whole(
        self, parts: int, sources: list[Source], tmp_path: Path
    ) -> None:
        whole, divided = new_model(0, MeanOfMaps), new_model(0, MeanOfMaps)
        fit(whole, sources, tmp_path / "whole", self.ONE_STEP)
        fit(divided, sources, tmp_path / "parts", replace(self.ONE_STEP, accumulate=parts))
        for key, value in whole.state_dict().items():
            torch.testing.assert_close(divided.state_dict()[key], value, atol=1e-6, rtol=1e-5)
        assert not torch.equal(next(whole.parameters()), next(new_model().parameters()))
        (one,), (other,) = rows(tmp_path / "whole"), rows(tmp_path / "parts")
        for name in ("class", "box", "norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-4)

    def test_more_parts_than_images(self, sources: list[Source], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"only 6 images a batch at side .*; each takes 7 parts, of one at least"):
            fit(new_model(), sources, tmp_path, replace(self.ONE_STEP, accumulate=7))

    def test_there_is_at_least_one(self) -> None:
        with pytest.raises(ConfigError, match="accumulate of at least 1, not 0"):
            replace(self.ONE_STEP, accumulate=0)


def test_a_compiled_network_learns_the_same(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the eager backend, which needs no C++ compiler: graphs are traced and run as they are."""
    calls = []
    compiler = torch.compile

    def compiled(model: nn.Module) -> Any:
        calls.append(model)
        return compiler(model, backend="eager")

    monkeypatch.setattr(torch, "compile", compiled)
    config = replace(SHORT, steps=3)
    plain, traced = new_model(), new_model()
    fit(plain, sources, tmp_path / "plain", config)
    assert not calls
    fit(traced, sources, tmp_path / "compiled", replace(config, compiled=True))
    assert calls == [traced]
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(traced.state_dict()[key], value, atol=1e-5, rtol=1e-4)
