import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from torch import nn

from drawn_faces import TINY_BATCH, write_faces
from facesmith import configs
from facesmith.cli.search import Search
from facesmith.data.augment import AugmentConfig
from facesmith.data.sources import Source, find_sources
from facesmith.detectors.bfbox.architecture import TOP_DOWN
from facesmith.detectors.bfbox.config import BFBoxConfig
from facesmith.detectors.bfbox.model import BFBox
from facesmith.detectors.bfbox.space import TINY
from facesmith.errors import ConfigError, MissingExtraError
from facesmith.search.bfbox.pictures import Pictures, PicturesConfig, hold_out, make_pictures
from facesmith.search.bfbox.run import Limits, Machine, SearchConfig, search
from facesmith.search.bfbox.scoring import Scorer, average_precision, recalibrate
from facesmith.search.record import read_candidates
from facesmith.training.ddp import Process
from facesmith.training.loop import TrainConfig, train
from facesmith.training.optimisers import AdamW
from facesmith.training.recipes.bfbox_supernet import SUPERNETS
from facesmith.training.schedule import Cosine

CONFIG = SearchConfig(
    preset="tiny",
    method="joint",
    algorithm="evolution",
    train=replace(SUPERNETS["tiny"], steps=2, batch=replace(TINY_BATCH, images=2), workers=0),
    pictures=PicturesConfig(recalibration=4, validation=3, side=64),
    limits=Limits(macs=0.65e9),
    candidates=6,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    return find_sources(write_faces(tmp_path_factory.mktemp("faces"), 8))


@pytest.fixture(scope="module")
def supernets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("supernets")


@pytest.fixture(scope="module")
def pictures(sources: list[Source]) -> Pictures:
    return make_pictures(*hold_out(sources, 3), CONFIG.pictures, AugmentConfig())


def best(folder: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((folder / "best.json").read_text())
    return contents


class TestPictures:
    def test_held_out_images_are_not_trained_on(self, sources: list[Source]) -> None:
        training, held_out = hold_out(sources, 3)
        names = [
            {path.name for s in part for path in s.paths if s.config.name == "faces"} for part in (training, held_out)
        ]
        assert names[0].isdisjoint(names[1])
        assert len(names[1]) == 3
        assert len(names[0]) == 5
        assert [s.config.name for s in training] == ["faces", "background"]

    def test_too_few(self, sources: list[Source]) -> None:
        with pytest.raises(ConfigError, match="only 8 have faces"):
            hold_out(sources, 5)

    def test_written_and_mapped(self, pictures: Pictures, tmp_path: Path) -> None:
        pictures.write(tmp_path)
        again = Pictures.read(tmp_path)
        assert np.array_equal(again.recalibration, pictures.recalibration)
        assert np.array_equal(again.truth.boxes, pictures.truth.boxes)
        assert isinstance(again.validation, np.memmap)
        assert pictures.recalibration.shape == (4, 64, 64, 3)
        assert pictures.validation.shape == (3, 64, 64, 3)
        with pytest.raises(ConfigError, match="has not the pictures"):
            Pictures.read(tmp_path / "nowhere")


class TestScoring:
    def test_recalibration_forgets_what_was_there(self, pictures: Pictures) -> None:
        torch.manual_seed(0)
        model = BFBox(TINY.detector)
        recalibrate(model, pictures)
        first = {k: v.clone() for k, v in model.state_dict().items()}
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.running_mean, 7.0)  # type: ignore[arg-type]
        recalibrate(model, pictures)
        assert not model.training
        for key, value in model.state_dict().items():
            assert torch.equal(value, first[key]), key
        norm = model.stem[0].norm
        convolved = model.stem[0].convolution(
            (torch.from_numpy(pictures.recalibration).permute(0, 3, 1, 2) - 127.5) / 64
        )
        torch.testing.assert_close(norm.running_mean, convolved.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(norm.running_var, convolved.var(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
        assert norm.momentum == 0.1

    def test_perfect_detections_score_one(self, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
        model, truth = BFBox(TINY.detector).eval(), pictures.truth

        def decode(_: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            count = max(len(boxes) for boxes in truth.image_boxes())
            boxes, scores = torch.zeros(3, count, 4), torch.zeros(3, count)
            for i, rows in enumerate(truth.image_boxes()):
                boxes[i, : len(rows)] = torch.from_numpy(np.array(rows))
                scores[i, : len(rows)] = torch.linspace(0.9, 0.5, len(rows))
            return boxes, scores, torch.zeros(3, count, 5, 2)

        monkeypatch.setattr(model, "decode", decode)
        assert average_precision(model, pictures) == pytest.approx(1.0)


def test_a_network_learns_faces(tmp_path: Path) -> None:
    """Loss, anchors, decoding and scoring mean the same."""
    torch.manual_seed(0)
    sources = find_sources(write_faces(tmp_path, 10, size=(640, 480)))
    network = replace(
        TINY.detector,
        architecture="k3,dw35/dense2x8/dw5/k5/dw3/k3 p4=c4+c6 p2=c2*p4 p3=c3+p2 p6=c6*c2 p5=c5+p3",
        stem=8,
        widths=(8, 12, 16, 16, 16, 16),
        channels=8,
        candidates=50,
    )
    config = TrainConfig(
        steps=120, batch=TINY_BATCH, optimiser=AdamW(rate=5e-3), schedule=Cosine(warmup=10), ema=0.97, workers=0
    )
    net = train(BFBox(network), sources, config, tmp_path / "out", process=Process.start("cpu"))
    pictures = make_pictures(sources, sources[:1], CONFIG.pictures, AugmentConfig())
    assert average_precision(net, pictures) > 0.5


class TestSearch:
    def test_killed_and_resumed(
        self, sources: list[Source], supernets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = search(CONFIG, sources, Machine(tmp_path / "whole", supernets))
        asked: list[str] = []
        monkeypatch.setattr(Scorer, "score", _counting(Scorer.score, asked, stop_at=4))
        with pytest.raises(RuntimeError, match="killed"):
            search(CONFIG, sources, Machine(tmp_path / "parts", supernets))
        monkeypatch.undo()
        monkeypatch.setattr(Scorer, "score", _counting(Scorer.score, asked, stop_at=99))
        parts = search(CONFIG, sources, Machine(tmp_path / "parts", supernets))
        assert len(asked) == len(set(asked)) + 1 == 7  # the one that was interrupted is asked for again
        assert parts == whole
        for name in ("best.json", "joint/candidates.tsv", "pareto.svg"):
            assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        contents = best(tmp_path / "whole")
        assert configs.from_json(BFBoxConfig, contents["config"]) == whole.config
        scores, costs, nets = read_candidates(tmp_path / "whole/joint/candidates.tsv")
        assert len(nets) == 6
        assert (costs[:, 0] <= 0.65e9).all()
        assert nets[scores.argmax()] == whole.config.architecture

    def test_processes_score_as_one_does(self, sources: list[Source], supernets: Path, tmp_path: Path) -> None:
        config = replace(CONFIG, candidates=2)
        alone = search(config, sources, Machine(tmp_path / "alone", supernets))
        together = search(config, sources, Machine(tmp_path / "together", supernets, jobs=2))
        assert together == alone

    def test_methods(self, sources: list[Source], supernets: Path, tmp_path: Path) -> None:
        config = replace(CONFIG, candidates=4, algorithm="random")
        two_step = search(replace(config, method="two-step"), sources, Machine(tmp_path / "two", supernets))
        assert not two_step.config.attention
        found = search(replace(config, method="intuitive"), sources, Machine(tmp_path / "intuitive", supernets))
        _, _, nets = read_candidates(tmp_path / "intuitive/backbone/candidates.tsv")
        assert {net.partition(" ")[2] for net in nets} == {TOP_DOWN}
        _, _, nets = read_candidates(tmp_path / "intuitive" / found.name / "candidates.tsv")
        assert len({net.partition(" ")[0] for net in nets}) == 1
        assert found.config.net.pyramid != TOP_DOWN

    def test_another_search_in_the_folder(self, sources: list[Source], supernets: Path, tmp_path: Path) -> None:
        config = replace(CONFIG, candidates=2)
        search(config, sources, Machine(tmp_path, supernets))
        with pytest.raises(ConfigError, match="algorithm: 'evolution' there, 'random' here"):
            search(replace(config, algorithm="random"), sources, Machine(tmp_path, supernets))

    def test_a_cluster_needs_ray(self, sources: list[Source], supernets: Path, tmp_path: Path) -> None:
        try:
            import ray  # noqa: F401
        except ImportError:
            with pytest.raises(MissingExtraError, match=r"facesmith\[cluster\]"):
                search(replace(CONFIG, candidates=2), sources, Machine(tmp_path, supernets, cluster="local"))


def _counting(
    score: Callable[[Scorer, str], float], asked: list[str], *, stop_at: int
) -> Callable[[Scorer, str], float]:
    def counting(self: Scorer, architecture: str) -> float:
        asked.append(architecture)
        if len(asked) == stop_at:
            raise RuntimeError("killed")
        return score(self, architecture)

    return counting


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_faces(tmp_path / "faces", 8)
    arguments = ["--flops", "0.6G", "--steps", "1", "--candidates", "2", "--recalibration", "2", "--validation", "2"]
    arguments += [
        "--side",
        "64",
        "--jobs",
        "1",
        "--threads",
        "1",
        "--workers",
        "0",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
    ]
    command = tyro.cli(Search, args=["bfbox", *arguments], config=(tyro.conf.FlagCreatePairsOff,))
    assert command.run() == 0
    printed = capsys.readouterr().out
    assert best(tmp_path / "out")["config"]["architecture"] in printed
    assert best(tmp_path / "out")["search"]["costs"]["MACs"] <= 0.6e9
    assert "facesmith train bfbox-tiny --model" in printed
