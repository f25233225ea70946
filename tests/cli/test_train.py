import json
from pathlib import Path

import pytest
import torch

from drawn_faces import TINY, write_faces
from facesmith import cli, configs
from facesmith.cli.train import Run
from facesmith.detectors.damofd.config import DamoFDConfig
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import DETECTORS, load_model, read_metadata, save_weights
from facesmith.runtime.cpus import available_cpus
from facesmith.training import recipes
from facesmith.training.checkpoint import load_checkpoint
from facesmith.training.recipes import RECIPES, retinaface_mobilenet025
from facesmith.training.recipes.recipe import Recipe

NAME = "retinaface-mobilenet0.25"
FOUND = "K3(3,8,2,1)IDWE1K3(8,8,2,8,1)IDWE1K3(8,16,2,8,1)IDWE1K3(16,16,2,8,1)IDWE1K3(16,16,2,8,1)"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"), 3)


def train(data: Path, out: Path, *more: object, steps: int = 2, recipe: str = NAME) -> int:
    flags = ["--data", data, "--out", out, "--train.steps", steps, "--train.workers", 0, "--threads", 1]
    flags += ["--train.batch.images", 2, "--train.batch.sides", 64, *more]
    return cli.main(["train", recipe, *map(str, flags)])


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("run")
    assert train(data, out) == 0
    return out


class TestARun:
    def test_what_it_leaves(self, run: Path) -> None:
        assert sorted(p.name for p in run.iterdir()) == ["checkpoint.pt", "log.jsonl", f"{NAME}.safetensors"]
        facts = read_metadata(run / f"{NAME}.safetensors")
        assert (facts["name"], facts["steps"]) == (NAME, 2)
        model = load_model(run / f"{NAME}.safetensors")
        assert model.config == retinaface_mobilenet025.RECIPE.model
        averaged = load_checkpoint(run / "checkpoint.pt")["ema"]
        assert all(torch.equal(value, averaged[key]) for key, value in model.state_dict().items())

    def test_the_same_command_again_trains_no_further(
        self, data: Path, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = (run / f"{NAME}.safetensors").read_bytes()
        assert train(data, run) == 0
        assert (run / f"{NAME}.safetensors").read_bytes() == before
        assert capsys.readouterr().out == f"{run / NAME}.safetensors: 2 steps\n"

    def test_other_settings_in_the_same_folder_are_refused(
        self, data: Path, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert train(data, run, "--train.clip", 5.0) == 2
        assert "'clip': 10.0 there and 'clip': 5.0 here; choose another" in capsys.readouterr().err

    def test_the_other_recipe_and_another_optimiser(self, data: Path, tmp_path: Path) -> None:
        recipe = f"{NAME}-widerface"
        more = ("train.optimiser:sgd", "--train.optimiser.rate", 0.5, "train.schedule:cosine")
        assert train(data, tmp_path, *more, steps=1, recipe=recipe) == 0
        settings = load_checkpoint(tmp_path / "checkpoint.pt")["settings"]
        assert "SGD(rate=0.5" in settings
        assert "Cosine(" in settings
        assert (tmp_path / f"{recipe}.safetensors").exists()

    def test_evaluation_is_logged(self, data: Path, tmp_path: Path) -> None:
        flags = ("--val", data / "faces.txt", data / "faces", "--train.evaluate-every", 1)
        assert train(data, tmp_path, *flags, steps=1) == 0
        rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [0 <= row["AP all"] <= 1 for row in rows if "AP all" in row] == [True]

    def test_weights_to_start_from(self, data: Path, run: Path, tmp_path: Path) -> None:
        init = run / f"{NAME}.safetensors"
        rate = ("train.optimiser:adam-w", "--train.optimiser.rate", 0, "--train.optimiser.weight-decay", 0)
        assert train(data, tmp_path, "--init", init, *rate, steps=1) == 0
        start, end = load_model(init), load_model(tmp_path / f"{NAME}.safetensors")
        assert torch.equal(start.head.weight, end.head.weight)

    def test_a_net_that_a_search_found(self, data: Path, tmp_path: Path) -> None:
        found = DamoFDConfig(backbone=FOUND, head_channels=16)
        description = {"name": "found", "detector": "damofd", "config": configs.to_json(found), "search": {}}
        (tmp_path / "best.json").write_text(json.dumps(description))
        more = ("--model", tmp_path / "best.json")
        assert train(data, tmp_path / "out", *more, steps=1, recipe="damofd-0.5g") == 0
        assert read_metadata(tmp_path / "out/found.safetensors")["name"] == "found"
        assert load_model(tmp_path / "out/found.safetensors").config == found


class TestErrors:
    def failure(self, capsys: pytest.CaptureFixture[str], data: Path, out: Path, *more: object) -> str:
        assert train(data, out, *more) == 2
        lines = capsys.readouterr().err.splitlines()
        return lines[-1]

    def test_no_data(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        message = self.failure(capsys, tmp_path / "absent", tmp_path / "out")
        assert "absent: no such file or folder; expected NAME.txt, .json or .xml label files" in message
        assert not (tmp_path / "out").exists()

    def test_no_such_device(self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "cuda:99 was asked for" in self.failure(capsys, data, tmp_path, "--device", "cuda:99")

    def test_weights_of_another_network(self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_weights(tmp_path / "other.safetensors", RetinaFace(TINY), name="other")
        assert train(data, tmp_path / "out", "--init", tmp_path / "other.safetensors") == 2
        assert "other.safetensors: does not fit the network" in capsys.readouterr().err

    def test_no_description_of_a_network(self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "best.json").write_text('{"name": "found"}')
        message = self.failure(capsys, data, tmp_path / "out", "--model", tmp_path / "best.json")
        assert message.endswith("best.json: expected name, detector and config, as in best.json of `facesmith search`")

    def test_validation_that_would_never_happen(
        self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        message = self.failure(capsys, data, tmp_path, "--val", data / "faces.txt", data / "faces")
        assert "--val needs --train.evaluate-every" in message

    def test_wrong_validation_labels_are_told_before_the_training(
        self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        flags = ("--val", tmp_path / "absent.txt", data / "faces", "--train.evaluate-every", 1)
        assert "absent.txt" in self.failure(capsys, data, tmp_path / "out", *flags)
        assert not (tmp_path / "out/log.jsonl").exists()

    def test_settings_out_of_range(self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            train(data, tmp_path, "--train.save-every", 0)
        assert "training needs save_every of at least 1, not 0" in " ".join(capsys.readouterr().err.split())


class TestThreads:
    @pytest.mark.parametrize(("processes", "share"), [(None, 1), (2, 2), (999, 10**9)])
    def test_torchruns_processes_share_the_cpus(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int | None, share: int
    ) -> None:
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        if processes:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        chosen = []
        monkeypatch.setattr(torch, "set_num_threads", chosen.append)
        monkeypatch.setattr("facesmith.cli.train.train", lambda model, *rest, **more: model)
        recipe = retinaface_mobilenet025.RECIPE
        assert Run(recipe, data, recipe.train, out=tmp_path).run() == 0
        assert chosen == [max(available_cpus() // share, 1)]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_recipes_say_what_they_need_and_give(recipe: Recipe) -> None:
    homes = [m for m in vars(recipes).values() if recipe in (getattr(m, "RECIPE", None), *getattr(m, "RECIPES", ()))]
    assert len(homes) == 1
    text = homes[0].__doc__ or ""
    assert "Command:" in text
    assert "Hardware and time:" in text
    assert "Expected:" in text or "Published" in text
    assert type(recipe.model) in {config for config, _ in DETECTORS.values()}


def test_recipes_have_names_of_their_own() -> None:
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
