import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import SHORT, Trained

from drawn_faces import TINY, write_faces, write_folds
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig
from facesmith.detectors.retinaface.mesh.pretrained import SHIPPED_DECODER, load_decoder
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import load_model, save_weights
from facesmith.errors import ConfigError, LabelError, ModelError
from facesmith.evaluation.development import Development
from facesmith.training.optimisers import AdamW
from facesmith.training.start import Start
from facesmith.training.studies import STUDIES
from facesmith.training.studies.judges import FddbRecall, Machine
from facesmith.training.studies.run import Place, run_study
from facesmith.training.studies.study import Network, Row, Study
from facesmith.training.studies.table import write_table

RECALL = FddbRecall(limits=(1, 50), box_style=None)
PLAIN = Network("plain", TINY)
WIDE = Network("wide", replace(TINY, channels=24))
STUDY = Study(
    name="tiny",
    source="Nobody, Table 0",
    differs="Everything.",
    train=SHORT,
    sources=(),
    rows=(
        Row("plain", PLAIN, (RECALL,), (12.5, 34.0)),
        Row("wide", WIDE, (RECALL,), (None, 99.0)),
        Row("plain-strict", PLAIN, (replace(RECALL, nms=0.1),), (1.0, 2.0)),
    ),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and development photographs in one."""
    folder = write_faces(tmp_path_factory.mktemp("study"), 3)
    write_folds(folder)
    return folder


def place(data: Path, out: Path, steps: int = 2, **more: Any) -> Place:
    train = replace(SHORT, steps=steps, save_every=1)
    return Place(
        **{"dev": Development(data, data), "out": out, "train": train, "machine": Machine(), "data": data} | more
    )


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The whole study, run."""
    here = place(data, tmp_path_factory.mktemp("done"))
    run_study(STUDY, here)
    return here


def states(out: Path) -> dict[Path, int]:
    """When each file was last written."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


class TestAStudy:
    def test_rows_that_share_a_network_share_its_training(self, done: Place) -> None:
        assert sorted(path.name for path in done.out.glob("*/*.safetensors")) == [
            "plain.safetensors",
            "wide.safetensors",
        ]
        assert load_model(done.weights(WIDE)).config == WIDE.model

    def test_the_table_in_both_forms(self, done: Place) -> None:
        text = write_table(STUDY, done)
        assert (done.out / "tiny.md").read_text() == text
        document = json.loads((done.out / "tiny.json").read_text())
        plain, wide, _ = document["rows"]
        assert plain["published"] == {"FDDB @1": 12.5, "FDDB @50": 34.0}
        assert wide["steps"] == 2
        assert all(0 <= value <= 100 for row in document["rows"] for value in row["figures"].values())
        line = next(line for line in text.splitlines() if line.startswith("| wide"))
        first, last = wide["figures"].values()
        assert line.split() == ["|", "wide", "|", f"{first:.2f}", "|", f"{last:.2f}", "(99)", "|"]

    def test_again_it_does_nothing(self, done: Place) -> None:
        before = states(done.out)
        run_study(STUDY, done)
        assert states(done.out) == before

    def test_other_steps_train_anew_beside(self, done: Place) -> None:
        other = replace(done, train=replace(done.train, steps=3))
        assert done.folder(PLAIN) != other.folder(PLAIN)
        assert all(other.verdict(row, RECALL) is None for row in STUDY.rows)
        assert done.folder(PLAIN) == replace(done, train=replace(done.train, workers=3)).folder(PLAIN)

    def test_other_photographs_are_judged_anew(self, done: Place, tmp_path: Path) -> None:
        assert done.verdict(STUDY.rows[0], RECALL) is not None
        assert replace(done, dev=Development(tmp_path, tmp_path)).verdict(STUDY.rows[0], RECALL) is None

    def test_jobs_side_by_side_give_the_same(self, done: Place, tmp_path: Path) -> None:
        beside = replace(done, out=tmp_path)
        run_study(STUDY, beside, jobs=2)
        for network in (PLAIN, WIDE):
            ours, theirs = (load_model(one.weights(network)).state_dict() for one in (done, beside))
            assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
            assert (beside.folder(network) / "train.log").read_text()
        for row in STUDY.rows:
            (judge,) = row.judges
            ours, theirs = done.verdict(row, judge), beside.verdict(row, judge)
            assert ours is not None
            assert theirs is not None
            assert ours.figures == theirs.figures

    def test_chosen_rows_only(self, data: Path, tmp_path: Path) -> None:
        here = place(data, tmp_path)
        run_study(STUDY, here, rows=["wide"])
        assert not here.folder(PLAIN).exists()
        assert "– (12.5)" in write_table(STUDY, here)

    def test_a_killed_training_goes_on(self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second step of the first try fails; the second try takes only the steps that are missing."""
        steps = []
        loss = RetinaFace.loss

        def counted(self: RetinaFace, maps: Any, targets: Any) -> dict[str, torch.Tensor]:
            steps.append(len(steps))
            if len(steps) == 3:
                raise KeyboardInterrupt
            return loss(self, maps, targets)

        monkeypatch.setattr(RetinaFace, "loss", counted)
        here = place(data, tmp_path, steps=4)
        with pytest.raises(KeyboardInterrupt):
            run_study(STUDY, here, rows=["plain"])
        assert here.verdict(STUDY.rows[0], RECALL) is None
        run_study(STUDY, here, rows=["plain"])
        assert len(steps) == 3 + 2
        assert here.verdict(STUDY.rows[0], RECALL) is not None


class TestWhatNetworksStartFrom:
    def test_mesh_branches_have_the_shipped_decoder_and_learn_together_with_their_detector(
        self, data: Path, tmp_path: Path
    ) -> None:
        network = Network("meshed", replace(TINY, mesh=MeshBranchConfig(faces=1, crop=8, smallest=8)))
        study = replace(STUDY, rows=(Row("meshed", network, (RECALL,), (None, None)),))
        here = place(data, tmp_path)
        run_study(study, here)
        model = load_model(here.weights(network))
        assert isinstance(model, RetinaFace)
        assert model.mesh is not None
        shipped, _ = load_decoder(SHIPPED_DECODER)
        assert all(torch.equal(v, shipped.state_dict()[k]) for k, v in model.mesh.dense.decoder.state_dict().items())
        assert model.mesh.head.weight.any()
        log = (here.folder(network) / "log.jsonl").read_text().splitlines()[-1]
        assert {"class", "box", "mesh"} < json.loads(log).keys()

    def test_a_backbone_that_is_given(self, data: Path, tmp_path: Path) -> None:
        teacher = tmp_path / "teacher.safetensors"
        torch.manual_seed(3)
        model = RetinaFace(replace(TINY, channels=8))
        save_weights(teacher, model, name="teacher")
        still = AdamW(rate=0.0, weight_decay=0.0)
        plain = place(data, tmp_path / "out", train=replace(SHORT, steps=1, optimiser=still))
        here = replace(plain, start=Start(teacher))
        assert here.folder(PLAIN) != plain.folder(PLAIN)
        run_study(STUDY, here, rows=["plain"])
        trained = load_model(here.weights(PLAIN))
        assert isinstance(trained, RetinaFace)
        ours, theirs = dict(trained.backbone.named_parameters()), dict(model.backbone.named_parameters())
        assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
        assert f"Backbones start from {teacher}." in write_table(STUDY, here)

    def test_one_of_another_shape_is_told_before_the_training(self, data: Path, tmp_path: Path) -> None:
        teacher = tmp_path / "teacher.safetensors"
        save_weights(teacher, RetinaFace(replace(TINY, backbone=replace(TINY.backbone, stem=4))), name="teacher")
        with pytest.raises(ModelError, match="is not a state dict of this MobileNet"):
            run_study(STUDY, replace(place(data, tmp_path / "out"), start=Start(teacher)))
        assert not (tmp_path / "out").exists()


class TestGivenWeights:
    def test_good_weights_get_good_figures_without_training(self, trained: Trained, tmp_path: Path) -> None:
        write_folds(trained.data)
        weights = tmp_path / "w.safetensors"
        save_weights(weights, trained.model, name="learnt")
        here = replace(place(trained.data, tmp_path / "out", given={"plain": weights}), data=None)
        run_study(STUDY, here, rows=["plain", "plain-strict"])
        verdict = here.verdict(STUDY.rows[0], RECALL)
        assert verdict is not None
        assert verdict.figures["FDDB @50"] > 80
        assert not list(here.out.rglob("checkpoint.pt"))

    def test_of_another_network(self, done: Place, tmp_path: Path) -> None:
        here = replace(done, out=tmp_path, given={"plain": done.weights(WIDE)})
        with pytest.raises(ModelError, match="differs from the network plain of this study in channels"):
            run_study(STUDY, here)

    def test_for_a_network_that_is_not_there(self, done: Place) -> None:
        with pytest.raises(ConfigError, match="no network 'plane'; there are plain, wide"):
            run_study(STUDY, replace(done, given={"plane": done.weights(PLAIN)}))


class TestWhatCannotBe:
    def test_an_unknown_row(self, done: Place) -> None:
        with pytest.raises(ConfigError, match="tiny has no row 'plian'; there are plain, wide, plain-strict"):
            run_study(STUDY, done, rows=["plian"])

    def test_no_data_for_what_is_not_trained(self, data: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="plain has to be trained; name the folder of photographs"):
            run_study(STUDY, replace(place(data, tmp_path), data=None))

    def test_missing_labels_are_told_before_the_training(self, data: Path, tmp_path: Path) -> None:
        here = place(data, tmp_path / "out", dev=Development(tmp_path, data))
        with pytest.raises((LabelError, OSError)):
            run_study(STUDY, here)
        assert not here.out.exists()

    def test_evaluations_on_the_way(self, data: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="leave evaluate_every at 0"):
            place(data, tmp_path, train=replace(SHORT, evaluate_every=5))

    def test_rows_with_other_columns(self) -> None:
        rows = (STUDY.rows[0], Row("b", PLAIN, (FddbRecall(),), (1.0,)))
        with pytest.raises(ConfigError, match="row b has columns"):
            replace(STUDY, rows=rows)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
class TestThePapersStudies:
    def test_names_are_told_apart(self, study: Study) -> None:
        assert len({row.name for row in study.rows}) == len(study.rows)
        assert len({row.network.model for row in study.rows}) == len(study.networks)
        assert len(set(study.columns)) == len(study.columns)

    def test_it_can_be_trained(self, study: Study) -> None:
        assert study.train.evaluate_every == 0
