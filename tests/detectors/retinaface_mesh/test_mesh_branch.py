from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from drawn_faces import TINY, draw_face
from facesmith import configs
from facesmith.detectors.parts.anchors import anchor_boxes, make_anchors
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.detectors.retinaface.mesh.branch import MeshBranch, Positives
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig, MeshConfig
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.detectors.retinaface.mesh.loss import crop, pixel_loss
from facesmith.detectors.retinaface.mesh.outputs import split_parameters
from facesmith.detectors.retinaface.mesh.pretrained import save_decoder
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.types import Targets
from facesmith.detectors.weights import load_model, save_weights
from facesmith.errors import ConfigError, ModelError

DECODER = MeshConfig(latent=4, filters=(4,), order=2, coarsest=12)
BRANCH = MeshBranchConfig(decoder=DECODER, smallest=10, crop=16)
MESH = replace(TINY, mesh=BRANCH)
ALONE = replace(TINY, mesh=replace(BRANCH, alone=True))
DETECTION = ("backbone.", "neck.", "context.", "head.")


def network(config: RetinaFaceConfig = MESH, seed: int = 0) -> RetinaFace:
    torch.manual_seed(seed)
    model = RetinaFace(config)
    if model.mesh is not None:
        model.mesh.dense.decoder.last.weight.data.mul_(0.02)  # untrained, but a face
    return model


def branch(model: RetinaFace) -> MeshBranch:
    assert model.mesh is not None
    return model.mesh


def example(count: int = 2, without_landmarks: bool = False) -> tuple[Tensor, Targets]:
    """``count`` pictures of one drawn face each."""
    pictures, boxes, points = [], [], []
    for i in range(count):
        image = np.full((64, 64, 3), 90, np.uint8)
        x, y, side = 8 + 3 * i, 10 + 2 * i, 30 + 2 * i
        points.append(torch.from_numpy(draw_face(image, x, y, side)).float()[None])
        boxes.append(torch.tensor([[x, y, x + side, y + side]], dtype=torch.float32))
        pictures.append(torch.from_numpy(image).permute(2, 0, 1))
    if without_landmarks:
        points = [torch.full_like(p, torch.nan) for p in points]
    ignored = [torch.zeros(1, dtype=torch.bool)] * count
    return torch.stack(pictures), Targets(boxes, points, ignored, torch.ones(count, dtype=torch.bool))


def nothing() -> tuple[Tensor, Targets]:
    empty = Targets(
        [torch.zeros(0, 4)], [torch.zeros(0, 5, 2)], [torch.zeros(0, dtype=torch.bool)], torch.ones(1, dtype=torch.bool)
    )
    return torch.zeros(1, 3, 64, 64), empty


class TestWithoutTheBranch:
    """The detector of before: same weights, same numbers."""

    def test_same_tensors_and_same_random_start(self) -> None:
        plain, meshed = network(TINY).state_dict(), network().state_dict()
        assert all(name.startswith(DETECTION) for name in plain)
        assert {name for name in meshed if not name.startswith("mesh.")} == plain.keys()
        assert all(torch.equal(plain[name], meshed[name]) for name in plain)

    @torch.no_grad()
    def test_same_boxes_scores_and_landmarks(self) -> None:
        images = example()[0].permute(0, 2, 3, 1)
        plain, meshed = network(TINY).eval().export_forward(images), network().eval().export_forward(images)
        assert len(plain) == 3
        assert len(meshed) == 5
        assert all(torch.equal(a, b) for a, b in zip(plain, meshed[:3], strict=True))

    def test_same_losses_and_gradients(self) -> None:
        images, targets = example()
        plain, meshed = network(TINY).train(), network().train()
        for model in (plain, meshed):
            losses = model.loss(model(images), targets)
            torch.stack([losses[name] for name in ("class", "box", "landmark")]).sum().backward()
        assert torch.equal(plain.head.weight.grad, meshed.head.weight.grad)  # type: ignore[arg-type]

    def test_what_it_gives(self) -> None:
        model = network(TINY)
        assert model.mesh is None
        assert model.export_outputs == ("boxes", "scores", "landmarks")
        assert model(example()[0]).mesh is None


class TestOutputs:
    @torch.no_grad()
    def test_parameters_and_anchors_of_the_candidates(self) -> None:
        """Each row holds what the head says of the cell and the place in it that the row's anchor has."""
        model = network().eval()
        torch.nn.init.normal_(branch(model).head.weight)
        torch.nn.init.normal_(branch(model).head.bias)
        images = example()[0]
        boxes, _, _, parameters, anchors = model.export_forward(images.permute(0, 2, 3, 1))
        assert model.export_outputs[3:] == ("mesh", "anchors")
        assert parameters.shape == (2, TINY.candidates, 4 + 7 + 9)
        assert anchors.shape == boxes.shape
        maps = model(images)
        at = anchor_boxes(make_anchors(TINY.anchors, maps.sizes, boxes.device))
        per_cell = TINY.anchors.per_cell
        for image, row in ((0, 0), (0, 7), (1, 3)):
            number = int((at == anchors[image, row]).all(dim=1).nonzero().item())
            everything = branch(model).head(maps.mesh.features[image, number // per_cell])
            expected = everything.reshape(per_cell, -1)[number % per_cell]
            torch.testing.assert_close(parameters[image, row], expected)

    @torch.no_grad()
    def test_starts_with_average_faces(self) -> None:
        model = network().eval()
        parameters = model.export_forward(example()[0].permute(0, 2, 3, 1))[3]
        assert not parameters.any()


class TestLoss:
    def terms(self, model: RetinaFace, example: tuple[Tensor, Targets]) -> dict[str, Tensor]:
        losses = model.loss(model(example[0]), example[1])
        return {name: value for name, value in losses.items() if name.startswith("mesh")}

    def test_a_face_at_a_time(self) -> None:
        """The terms are the means of what each positive has on its own."""
        model, (images, _) = network(), example()
        torch.nn.init.normal_(branch(model).head.weight, std=0.1)
        maps = model(images)
        at = anchor_boxes(make_anchors(TINY.anchors, maps.sizes, images.device))
        anchor = torch.tensor([100, 333, 600, 641])
        boxes = torch.tensor([[8.0, 10, 38, 50], [8, 10, 17, 19], [11, 12, 43, 44], [20, 8, 50, 50]])
        points = boxes[:, None, :2] + torch.rand(4, 5, 2, generator=torch.Generator().manual_seed(0)) * 20
        points[3] = torch.nan
        image = torch.tensor([0, 0, 1, 1])
        found = branch(model).loss(maps.mesh, Positives(image, anchor, at[anchor], boxes, points))

        expected = {"mesh": 0.0, "mesh_landmark": 0.0, "mesh_prior": 0.0}
        drawn = (0, 2, 3)  # the second is too small
        for k in drawn:
            parameters = branch(model)(maps.mesh.features[image[k]][None], anchor[k][None, None])[0]
            split = split_parameters(parameters, DECODER.latent)
            mesh = branch(model).dense.decoder(split.face)
            rendering = branch(model).renderer(mesh, split.camera, split.illumination, BRANCH.crop)
            crops = crop(images, at[anchor[k]][None], image[k][None], BRANCH.crop)
            expected["mesh"] += 0.01 * pixel_loss(rendering, crops).item() / 3
            expected["mesh_prior"] += BRANCH.prior * parameters[:, :4].square().mean().item() / 3
            if k != 3:
                seen = branch(model).dense(parameters, at[anchor[k]][None]).landmarks[0]
                side = (boxes[k, 2:] - boxes[k, :2]).max()
                expected["mesh_landmark"] += BRANCH.landmark * ((seen - points[k]).abs().mean() / side).item() / 2
        assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-4)

    def test_gradients_reach_the_head_and_the_features_but_not_the_decoder(self) -> None:
        model = network().train()
        torch.nn.init.normal_(branch(model).head.weight, std=0.1)
        sum(self.terms(model, example()).values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        assert branch(model).head.weight.grad is not None
        assert branch(model).head.weight.grad.abs().sum() > 0
        first = next(model.backbone.parameters())
        assert first.grad is not None
        assert first.grad.abs().sum() > 0
        assert all(p.grad is None for p in branch(model).dense.parameters())

    @pytest.mark.parametrize("pixels_alone", [False, True])
    def test_what_the_detector_learns_from(self, pixels_alone: bool) -> None:
        model = network(replace(TINY, mesh=replace(BRANCH, pixels_alone=pixels_alone))).train()
        torch.nn.init.normal_(branch(model).head.weight, std=0.1)
        first, head = next(model.backbone.parameters()), branch(model).head.weight
        reached = {}
        for name, value in self.terms(model, example()).items():
            model.zero_grad()
            value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            assert head.grad is not None
            assert head.grad.any(), name
            reached[name] = first.grad is not None and bool(first.grad.any())
        assert reached == {"mesh": True, "mesh_landmark": not pixels_alone, "mesh_prior": not pixels_alone}

    def test_where_the_terms_reach_changes_no_value(self) -> None:
        both = []
        for pixels_alone in (False, True):
            model = network(replace(TINY, mesh=replace(BRANCH, pixels_alone=pixels_alone)))
            torch.nn.init.normal_(branch(model).head.weight, std=0.1, generator=torch.Generator().manual_seed(0))
            both.append({name: value.item() for name, value in self.terms(model, example()).items()})
        assert both[0] == both[1]

    def test_faces_without_landmarks_have_the_picture_only(self) -> None:
        terms = self.terms(network(), example(without_landmarks=True))
        assert terms["mesh"] > 0
        assert terms["mesh_landmark"] == 0

    def test_a_batch_without_faces(self) -> None:
        model = network().train()
        terms = self.terms(model, nothing())
        assert set(terms) == {"mesh", "mesh_landmark", "mesh_prior"}
        assert not any(terms.values())
        sum(terms.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        grad = branch(model).head.weight.grad
        assert grad is not None
        assert not grad.any()

    def test_at_most_so_many_faces_evenly_spaced_and_the_same_each_time(self) -> None:
        config = replace(TINY, mesh=replace(BRANCH, faces=4))
        positives = Positives(
            torch.zeros(12, dtype=torch.long),
            torch.arange(12),
            torch.rand(12, 4),
            torch.tensor([[0.0, 0, 5, 9]] * 2 + [[0.0, 0, 5, 10]] * 10),
            torch.rand(12, 5, 2),
        )
        for _ in range(2):
            chosen = branch(network(config))._chosen(positives)
            assert chosen.anchor.tolist() == [2, 4, 7, 9]

    @pytest.mark.parametrize("term", ["mesh", "mesh_landmark"])
    def test_either_term_can_be_learnt(self, term: str) -> None:
        config = replace(TINY, mesh=replace(BRANCH, alone=True, faces=2, pixel=1.0, landmark=1.0))
        model, (images, targets) = network(config).train(), example()
        optimiser = torch.optim.Adam(branch(model).head.parameters(), lr=1e-3)
        maps, log = model(images), []
        for _ in range(6):
            value = model.loss(maps, targets)[term]
            log.append(value.item())
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        assert log[-1] < log[0]


class TestAlone:
    def test_only_the_head_is_trained_and_statistics_stay(self) -> None:
        model = network(ALONE).train()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        images, targets = example()
        losses = model.loss(model(images), targets)
        assert set(losses) == {"mesh", "mesh_landmark", "mesh_prior"}
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.SGD(trainable, lr=1.0)
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
        changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"mesh.head.weight", "mesh.head.bias"}

    def test_together_everything_but_the_decoder_is(self) -> None:
        names = {name for name, p in network(MESH).named_parameters() if not p.requires_grad}
        assert names
        assert all(name.startswith("mesh.dense.decoder.") for name in names)


class TestFiles:
    def test_starts_from_a_detector_without_the_branch(self) -> None:
        plain, model = network(TINY, seed=1), network(MESH)
        decoder = branch(model).dense.decoder.linear.weight.clone()
        model.start_from(plain.state_dict())
        assert torch.equal(model.head.weight, plain.head.weight)
        assert torch.equal(branch(model).dense.decoder.linear.weight, decoder)

    def test_else_every_tensor_must_be_there(self) -> None:
        meshed, plain = network(MESH).state_dict(), network(TINY).state_dict()
        for tensors in (
            {name: tensor for name, tensor in meshed.items() if name != "mesh.head.bias"},
            {name: tensor for name, tensor in plain.items() if name != "head.bias"},
        ):
            with pytest.raises(RuntimeError, match=r"Missing key.*head\.bias"):
                network(MESH).start_from(tensors)
        with pytest.raises(RuntimeError, match="Unexpected key"):
            network(TINY).start_from(meshed)

    def test_a_weights_file_holds_the_decoder(self, tmp_path: Path) -> None:
        model = network().eval()
        torch.nn.init.normal_(branch(model).head.weight)
        save_weights(tmp_path / "w.safetensors", model, name="meshed")
        again = load_model(tmp_path / "w.safetensors")
        assert again.config == MESH
        assert again.state_dict().keys() == model.state_dict().keys()
        assert all(
            torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True)
        )

    def test_a_file_without_its_branch_is_no_meshed_detector(self, tmp_path: Path) -> None:
        model = network(TINY)
        save_weights(tmp_path / "w.safetensors", model, name="plain")
        lying = (tmp_path / "w.safetensors").read_bytes().replace(b'\\"mesh\\": null', b'\\"mesh\\": {  }')
        (tmp_path / "w.safetensors").write_bytes(lying)
        with pytest.raises(ModelError, match="does not fit"):
            load_model(tmp_path / "w.safetensors")

    def test_decoders(self, tmp_path: Path) -> None:
        torch.manual_seed(5)
        decoder = MeshDecoder(DECODER)
        save_decoder(tmp_path / "d.safetensors", decoder)
        mine = branch(network())
        mine.load_decoder(tmp_path / "d.safetensors")
        torch.testing.assert_close(mine.dense.decoder.linear.weight, decoder.linear.weight.half().float())
        assert not any(p.requires_grad for p in mine.dense.parameters())
        other = branch(network(replace(TINY, mesh=replace(BRANCH, decoder=replace(DECODER, latent=5)))))
        with pytest.raises(ConfigError, match=r"d\.safetensors.*latent=4.*latent=5"):
            other.load_decoder(tmp_path / "d.safetensors")


class TestConfig:
    def test_travels_as_json(self) -> None:
        for config in (TINY, MESH, ALONE):
            assert configs.from_json(RetinaFaceConfig, configs.to_json(config)) == config

    @pytest.mark.parametrize("change", [{"pixel": -1.0}, {"faces": 0}, {"crop": 0}, {"smallest": -1.0}])
    def test_numbers_out_of_range(self, change: dict[str, float]) -> None:
        with pytest.raises(ConfigError, match="mesh branch"):
            MeshBranchConfig(**change)  # type: ignore[arg-type]
