from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from drawn_faces import write_faces
from facesmith.box_styles import FDDB, SQUARE, WIDER, BoxStyle
from facesmith.detectors.kpnet.config import DRNetConfig, KPNetConfig, ScaleConfig
from facesmith.detectors.kpnet.model import KPNet
from facesmith.detectors.weights import save_weights
from facesmith.evaluation.development import Development
from facesmith.training.studies.judges import FddbRecall, Machine, turned
from facesmith.training.studies.kpnet_judges import (
    ELLIPSE,
    PROPOSED,
    LabelledRecall,
    ProposalRecall,
    TopProposalRecall,
    labelled_faces,
    restated,
    without_landmarks,
)

TINY = KPNetConfig(backbone=DRNetConfig(stem=8, deep=8), proposals=ScaleConfig(side=64), candidates=20)
LANDMARKS = np.array([[(30, 40), (60, 42), (46, 55), (34, 70), (58, 71)], [(5, 5), (9, 4), (8, 8), (6, 10), (9, 9)]])


@pytest.fixture(scope="module")
def model() -> KPNet:
    torch.manual_seed(0)
    return KPNet(TINY).eval()


@pytest.fixture(scope="module")
def weights(model: KPNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, model, name="tiny")
    return path


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Development:
    """Two pictures of FDDB's kind."""
    folder = write_faces(tmp_path_factory.mktemp("dev"), 2)
    folds = folder / "ground-truth/FDDB-folds"
    folds.mkdir(parents=True)
    text = "faces/0\n1\n20 16 1.5 40 50 1\nfaces/1\n0\n"
    (folds / "FDDB-fold-01-ellipseList.txt").write_text(text)
    return Development(folder, folder)


class TestFrames:
    def test_a_style_turns_with_the_picture(self) -> None:
        """Counter-clockwise a picture 100 wide: (x, y) comes to (y, 100 - x)."""
        style = BoxStyle(0.1, -0.3, 1.2, 1.8)
        turned_points = np.stack((LANDMARKS[..., 1], 100 - LANDMARKS[..., 0]), axis=-1)
        x1, y1, x2, y2 = style.boxes(LANDMARKS).T
        wanted = np.stack((y1, 100 - x2, y2, 100 - x1), axis=1)
        np.testing.assert_allclose(turned(style, 1).boxes(turned_points), wanted, atol=1e-3)
        assert turned(turned(style, 1), -1) == turned(style, 4) == style

    def test_restated_boxes_are_those_of_the_other_style(self) -> None:
        drawn = ELLIPSE.boxes(LANDMARKS).astype(np.float64)
        np.testing.assert_allclose(restated(drawn, ELLIPSE, WIDER), WIDER.boxes(LANDMARKS), atol=1e-3)

    def test_the_square_around_a_label_implies_fddbs_frame(self) -> None:
        """A proposal is a square with the centre and the longer side of the label."""
        boxes = WIDER.boxes(LANDMARKS)
        centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[:, None] / 2
        corner = centre - half
        template = np.array([(0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.3, 0.75), (0.7, 0.75)])
        points = corner[:, None] + template * (2 * half[:, None])
        np.testing.assert_allclose(PROPOSED.boxes(points), FDDB.boxes(LANDMARKS), atol=1e-3)


class TestProposals:
    def test_they_are_the_networks_own(self, model: KPNet) -> None:
        images = torch.randint(0, 256, (1, 3, 64, 48), dtype=torch.uint8)
        proposer = without_landmarks(model)
        with torch.inference_mode():
            proposals = model.propose(model(images))
            boxes, scores, _ = proposer.decode(proposer(images))
        assert proposer.config.box_style == SQUARE
        torch.testing.assert_close(boxes, proposals.squares, atol=1e-3, rtol=0)
        torch.testing.assert_close(scores, proposals.scores / (1 + proposals.scores))

    def test_the_top_ones_all_count(self, weights: Path, dev: Development) -> None:
        judge = TopProposalRecall()
        pictures = {"faces/0": dev.images / "faces/0.png"}
        found, _ = judge.find(weights, judge.task(dev).subset(pictures), pictures, Machine())
        assert len(found["faces/0"]) == TINY.candidates


class TestLabelledBoxes:
    def test_a_face_for_each_box_with_landmarks_in_its_window(self, model: KPNet) -> None:
        image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
        boxes = np.array([(10.0, 20.0, 50.0, 60.0), (70.0, 30.0, 94.0, 54.0)])
        faces = labelled_faces(model, image, boxes)
        assert len(faces) == 2
        assert faces.landmarks is not None
        order = np.argsort(faces.landmarks[:, 2, 0])
        # The soft-argmax stays in the window: the box, but for the bin's rounding and whole cells of 4 pixels here.
        low, high = boxes[:, None, :2] - 8, boxes[:, None, 2:] + 8
        assert ((low <= faces.landmarks[order]) & (faces.landmarks[order] <= high)).all()

    def test_no_box(self, model: KPNet) -> None:
        assert len(labelled_faces(model, np.zeros((20, 30, 3), np.uint8), np.zeros((0, 4)))) == 0


@pytest.mark.parametrize(
    "judge",
    [FddbRecall((1, 50)), FddbRecall(turns=-1), ProposalRecall(), TopProposalRecall(), LabelledRecall((50, 1))],
    ids=repr,
)
def test_every_judge_gives_its_columns(judge: FddbRecall, weights: Path, dev: Development) -> None:
    verdict = judge.verdict(weights, dev, Machine())
    assert tuple(verdict.figures) == judge.columns
    assert all(0 <= value <= 100 for value in verdict.figures.values())
    assert verdict.scope.startswith("2-image SUBSET")


def test_turned_labels_are_found_like_upright_ones(weights: Path, dev: Development) -> None:
    """One proposal a label, however the picture is turned."""
    for turns in (0, 1):
        judge = replace(LabelledRecall(), turns=turns)
        task = judge.task(dev)
        pictures = {name: dev.images / f"{name}.png" for name in task.images}
        found, provenance = judge.find(weights, task, pictures, Machine())
        assert [len(faces) for faces in found.values()] == [1, 0]
        assert provenance.settings["proposals"] == "labelled boxes"
