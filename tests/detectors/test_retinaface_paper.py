"""The paper's networks: ResNet backbones, P2 to P6, deformable layers, its own light backbone."""

import dataclasses
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from drawn_faces import TINY
from facesmith import configs, weights
from facesmith.detectors.parts.anchors import AnchorConfig
from facesmith.detectors.parts.assigners import NEGATIVE, NEITHER, POSITIVE, match
from facesmith.detectors.parts.deformable import DeformableConv2d
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.detectors.parts.resnet_config import ResNetConfig
from facesmith.detectors.retinaface.config import (
    ABLATION,
    LIGHT,
    PAPER_LOSS,
    PAPER_MATCH,
    R50,
    R152,
    RetinaFaceConfig,
    RetinaFaceLossConfig,
)
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig, MeshConfig
from facesmith.detectors.retinaface.model import RetinaFace, RetinaFaceMaps
from facesmith.detectors.types import Targets
from facesmith.detectors.weights import load_model, read_metadata, save_weights
from facesmith.errors import ConfigError
from facesmith.export.onnx import PARITY_TOLERANCE, export_onnx, smooth_noise
from facesmith.training.optimisers import SGD
from facesmith.training.recipes.retinaface_resnet import RECIPES

SMALL = replace(R50, backbone=ResNetConfig(blocks=(1, 1, 1, 1), width=4), channels=8, candidates=100)
"""The paper's network with all its parts, each as narrow as can be."""

ONE_LEVEL = replace(
    TINY,
    backbone=MobileNetConfig(stem=8, stages=(((8, 2),),)),
    channels=8,
    deformable=True,
    anchors=AnchorConfig(strides=(4,), sides=((8.0,),)),
)

SHIPPED = Path(weights.__file__).parent / "retinaface-mobilenet0.25.safetensors"


def network(config: RetinaFaceConfig = SMALL) -> RetinaFace:
    torch.manual_seed(0)
    return RetinaFace(config)


def on_paper(config: RetinaFaceConfig) -> RetinaFace:
    """A network of shapes without numbers."""
    with torch.device("meta"):
        return RetinaFace(config)


def picture(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float()


def one_face() -> Targets:
    points = torch.tensor([(26.0, 27), (40, 27), (33, 35), (28, 43), (38, 43)])
    return Targets([torch.tensor([[20.0, 16, 46, 52]])], [points[None]], [torch.tensor([False])], torch.tensor([True]))


def unsettled(model: RetinaFace) -> RetinaFace:
    """Offsets, statistics and scores as after a training: none of them as it starts."""
    for module in model.modules():
        if isinstance(module, DeformableConv2d):
            nn.init.normal_(module.offsets.weight, std=0.1)
            assert module.offsets.bias is not None
            nn.init.normal_(module.offsets.bias)
    nn.init.normal_(model.head.weight, std=0.1)
    model.train()
    with torch.no_grad():
        for seed in range(3):
            model(torch.from_numpy(smooth_noise(np.random.default_rng(seed), (4, 96, 128))).permute(0, 3, 1, 2))
    return model.eval()


def straighten(model: RetinaFace) -> None:
    """Offsets back to zero."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, DeformableConv2d):
                module.reset_offsets()


class Exported(nn.Module):
    """The signature of exported files."""

    def __init__(self, model: RetinaFace) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.model.export_forward(images)


def changed(a: Any, b: Any, at: str = "") -> list[str]:
    """The fields that differ."""
    if not dataclasses.is_dataclass(a):
        return [] if a == b else [at]
    return [
        name
        for f in dataclasses.fields(a)
        for name in changed(getattr(a, f.name), getattr(b, f.name), f"{at}.{f.name}")
    ]


class TestShape:
    @pytest.mark.parametrize(
        ("config", "anchors", "parameters"),
        [(R50, 102_300, 34_806_177), (R152, 102_300, 69_441_953), (LIGHT, 16_800, 423_278)],
    )
    def test_a_row_an_anchor(self, config: RetinaFaceConfig, anchors: int, parameters: int) -> None:
        model = on_paper(config)
        with torch.inference_mode():
            maps = model(torch.empty(1, 3, 640, 640, device="meta"))
        assert maps.logits.shape == (1, anchors)
        assert maps.landmarks.shape == (1, anchors, 10)
        assert maps.sizes == tuple((640 // stride, 640 // stride) for stride in config.anchors.strides)
        assert sum(p.numel() for p in model.parameters()) == parameters

    def test_every_image_size(self) -> None:
        model = network().eval()
        with torch.inference_mode():
            for height, width in ((1, 1), (5, 130), (63, 65), (97, 66)):
                maps = model(picture(1, 3, height, width))
                assert maps.sizes == tuple((-(-height // s), -(-width // s)) for s in (4, 8, 16, 32, 64))
                assert all(t.isfinite().all() for t in model.decode(maps))

    def test_deformable_layers_are_those_of_pyramid_and_context(self) -> None:
        names = [name for name, m in on_paper(SMALL).named_modules() if isinstance(m, DeformableConv2d)]
        assert len(names) == 3 + 5 * 5
        assert {name.split(".")[0] for name in names} == {"neck", "context"}

    def test_offsets_start_at_zero_and_p6_by_xaviers_method(self) -> None:
        model = network(replace(SMALL, backbone=ResNetConfig(blocks=(1, 1, 1, 1), width=8), channels=16))
        for module in model.modules():
            if isinstance(module, DeformableConv2d):
                assert not module.offsets.weight.any()
                assert module.weight.std() > 0
        p6 = model.neck.extra[0].convolution.weight
        assert isinstance(p6, Tensor)
        p6 = p6.detach()
        assert p6.abs().max() <= (6 / (9 * (p6.shape[0] + p6.shape[1]))) ** 0.5
        assert p6.std().item() == pytest.approx((2 / (9 * (p6.shape[0] + p6.shape[1]))) ** 0.5, rel=0.05)

    def test_colours_are_normalised_one_by_one(self) -> None:
        model, seen = network().eval(), []
        model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        model(torch.tensor([123.675, 116.28, 255.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8))
        assert seen[0][0, :, 0, 0].tolist() == pytest.approx([0, 0, (255 / 255 - 0.406) / 0.225], abs=1e-5)

    @pytest.mark.parametrize(
        ("config", "problem"),
        [
            (
                replace(R50, extra_levels=0),
                r"anchors expect strides \(4, 8, 16, 32, 64\), the pyramid has \(4, 8, 16, 32\)",
            ),
            (replace(R50, backbone=ResNetConfig(first_tap=3)), r"the pyramid has \(8, 16, 32, 64\)"),
        ],
    )
    def test_levels_that_do_not_fit_the_anchors(self, config: RetinaFaceConfig, problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            on_paper(config)

    def test_less_than_no_extra_level(self) -> None:
        with pytest.raises(ConfigError, match="0 or more extra levels, not -1"):
            replace(R50, extra_levels=-1)

    @pytest.mark.parametrize("config", [R50, R152, LIGHT, *ABLATION.values()])
    def test_configurations_survive_a_file(self, config: RetinaFaceConfig) -> None:
        assert configs.from_json(RetinaFaceConfig, json.loads(json.dumps(configs.to_json(config)))) == config


class TestTraining:
    def test_gradients_reach_every_parameter(self) -> None:
        """Offsets too, although they start at zero."""
        background = replace(PAPER_LOSS, background=10_000)  # anchors of all levels teach
        model = network(replace(SMALL, channels=16, loss=background)).train()
        labels = one_face()
        losses = model.loss(
            model(picture(2, 3, 128, 128)),
            Targets(
                list(labels.boxes) * 2, list(labels.landmarks) * 2, list(labels.ignored) * 2, torch.tensor([True, True])
            ),
        )
        assert all(value > 0 for value in losses.values())
        torch.stack(list(losses.values())).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        learning = [m for m in model.modules() if isinstance(m, DeformableConv2d) and m.offsets.weight.grad.any()]  # type: ignore[union-attr]
        assert len(learning) == 3 + 5 * 5

    def test_all_five_terms_together(self) -> None:
        """Three anchors a cell, five levels, deformable layers, the mesh branch: the pixels' gradient gets through."""
        branch = MeshBranchConfig(
            decoder=MeshConfig(latent=4, filters=(4,), order=2, coarsest=12), landmark=0.0, faces=2, smallest=8, crop=8
        )
        model = network(replace(SMALL, channels=16, mesh=branch)).train()
        assert model.mesh is not None
        nn.init.normal_(model.mesh.head.weight, std=0.1)  # at its start of zeros nothing gets past it
        losses = model.loss(model(picture(1, 3, 128, 128)), one_face())
        assert set(losses) == {"class", "box", "landmark", "mesh", "mesh_landmark", "mesh_prior"}
        losses["mesh"].backward()  # type: ignore[no-untyped-call]
        for module in (model.backbone, model.neck, model.context, model.mesh.head):
            gradients = [p.grad for p in module.parameters() if p.grad is not None]
            assert all(grad.isfinite().all() for grad in gradients)
            assert any(grad.any() for grad in gradients)

    def test_the_papers_weights_and_thresholds(self) -> None:
        assert (PAPER_LOSS.box, PAPER_LOSS.landmark, PAPER_LOSS.negatives_per_positive) == (0.25, 0.1, 3)
        assert (PAPER_MATCH.positive, PAPER_MATCH.negative) == (0.5, 0.3)

    def maps(self) -> RetinaFaceMaps:
        sizes = ((16, 16), (8, 8), (4, 4))
        generator = torch.Generator().manual_seed(0)
        logits, boxes, landmarks = (
            torch.randn(1, 672, *tail, generator=generator).requires_grad_() for tail in ((), (4,), (10,))
        )
        return RetinaFaceMaps(logits, boxes, landmarks, sizes)

    def test_terms_weigh_a_quarter_and_a_tenth(self) -> None:
        paper = RetinaFace(replace(TINY, match=PAPER_MATCH, loss=PAPER_LOSS))
        plain = RetinaFace(replace(TINY, match=PAPER_MATCH, loss=replace(PAPER_LOSS, box=1.0, landmark=1.0)))
        ours, theirs = (model.loss(self.maps(), one_face()) for model in (paper, plain))
        assert ours["class"] == theirs["class"]
        assert ours["box"].item() == pytest.approx(0.25 * theirs["box"].item())
        assert ours["landmark"].item() == pytest.approx(0.1 * theirs["landmark"].item())

    def test_three_negatives_a_positive_at_least(self) -> None:
        loss = replace(PAPER_LOSS, background=0)
        maps = self.maps()
        RetinaFace(replace(TINY, match=PAPER_MATCH, loss=loss)).loss(maps, one_face())["class"].backward()
        assert maps.logits.grad is not None
        positive, negative = int((maps.logits.grad < 0).sum()), int((maps.logits.grad > 0).sum())
        assert positive > 0
        assert negative == 3 * positive

    def test_between_the_thresholds_anchors_are_left_out(self) -> None:
        face = torch.tensor([[0.0, 0, 10, 10]])
        shares = torch.tensor([0.52, 0.5, 0.48, 0.31, 0.28, 0.0])
        anchors = torch.stack((torch.zeros(6), torch.zeros(6), 10 * shares, torch.full((6,), 10.0)), dim=1)
        label = match(anchors, face, torch.tensor([False]), PAPER_MATCH).label
        assert label.tolist() == [POSITIVE, POSITIVE, NEITHER, NEITHER, NEGATIVE, NEGATIVE]

    def test_without_the_landmark_term_landmarks_are_not_learnt(self) -> None:
        maps = self.maps()
        config = replace(TINY, loss=replace(PAPER_LOSS, landmark=0.0))
        losses = RetinaFace(config).loss(maps, one_face())
        torch.stack(list(losses.values())).sum().backward()
        assert losses["landmark"] == 0
        assert maps.landmarks.grad is not None
        assert not maps.landmarks.grad.any()
        assert maps.boxes.grad is not None
        assert maps.boxes.grad.any()

    def test_rows_of_table_3_differ_in_one_field(self) -> None:
        rows = ABLATION
        assert list(rows) == ["FPN+Context", "+DCN", "+L_pts", "+L_pixel", "+L_pts+L_pixel"]
        pairs = [
            ("FPN+Context", "+DCN", ".deformable"),
            ("+DCN", "+L_pts", ".loss.landmark"),
            ("+DCN", "+L_pixel", ".mesh"),
            ("+L_pts", "+L_pts+L_pixel", ".mesh"),
            ("+L_pixel", "+L_pts+L_pixel", ".loss.landmark"),
        ]
        for before, after, field in pairs:
            assert changed(rows[before], rows[after]) == [field]
        meshed = rows["+L_pts+L_pixel"].mesh
        assert meshed is not None
        assert (meshed.pixel, meshed.pixels_alone, meshed.alone) == (0.01, True, False)

    def test_frozen_layers_are_no_business_of_the_optimiser(self, tmp_path: Path) -> None:
        config = replace(SMALL, backbone=replace(SMALL.backbone, frozen=2))
        torch.save(network(config).backbone.state_dict(), tmp_path / "imagenet.pth")
        model = network(config)
        everything = sum(p.numel() for p in model.parameters())
        model.backbone.load_pretrained(tmp_path / "imagenet.pth")
        fixed = sum(p.numel() for layer in model.backbone.first_layers for p in layer.parameters())
        assert fixed > 0
        groups = SGD().make(model).param_groups
        assert sum(p.numel() for group in groups for p in group["params"]) == everything - fixed

    def test_recipes_follow_the_papers_schedule(self) -> None:
        assert [recipe.name for recipe in RECIPES] == ["retinaface-r50", "retinaface-r152", "retinaface-r152-mesh"]
        assert [replace(recipe.model, mesh=None) for recipe in RECIPES] == [R50, R152, R152]
        for recipe in RECIPES:
            train, epoch = recipe.train, recipe.train.steps // 80
            assert epoch == 12_880 // 32
            assert train.batch.count(train.batch.sides[0]) == 32
            rates = [
                train.optimiser.rate * train.schedule.factor(e * epoch, train.steps) for e in (0, 5, 54, 55, 67, 68)
            ]
            assert rates == pytest.approx([1e-3, 1e-2, 1e-2, 1e-3, 1e-3, 1e-4], rel=0.01)
            assert isinstance(train.optimiser, SGD)
            assert (train.optimiser.momentum, train.optimiser.weight_decay) == (0.9, 5e-4)


class TestFiles:
    def test_weights_carry_the_configuration(self, tmp_path: Path) -> None:
        model = unsettled(network())
        save_weights(tmp_path / "small.safetensors", model, name="small")
        loaded = load_model(tmp_path / "small.safetensors")
        assert loaded.config == SMALL
        with torch.inference_mode():
            for ours, theirs in zip(model(picture(1, 3, 64, 80))[:3], loaded(picture(1, 3, 64, 80))[:3], strict=True):
                assert torch.equal(ours, theirs)

    def test_the_shipped_weights_load_as_before(self) -> None:
        """Their configuration was written when there were neither ResNets nor deformable layers."""
        described = read_metadata(SHIPPED)["config"]
        assert not {"deformable", "extra_levels"} & described.keys()
        model = load_model(SHIPPED)
        assert isinstance(model, RetinaFace)
        assert (model.config.deformable, model.config.extra_levels) == (False, 0)
        assert model.config.loss == RetinaFaceLossConfig(**described["loss"])
        seen: list[Tensor] = []
        model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        model(picture(1, 3, 40, 24))
        assert torch.equal(seen[0], (picture(1, 3, 40, 24) - described["mean"]) * described["scale"])

    def test_onnx_gives_what_torch_gives_for_every_size(self, tmp_path: Path) -> None:
        """Deformable layers whose offsets are not zero, as ``facesmith export`` writes them; one level is enough."""
        model = unsettled(network(ONE_LEVEL))
        parity = export_onnx(model, tmp_path / "one.onnx", name="one")
        assert 0 < min(parity) <= max(parity) < PARITY_TOLERANCE
        with torch.inference_mode():
            bent = model(picture(1, 3, 48, 64)).logits
            straighten(model)
            assert (bent - model(picture(1, 3, 48, 64)).logits).abs().max() > 0.01, "offsets must matter"

    def test_onnx_holds_all_five_levels(self) -> None:
        """At one size: the exporter takes minutes for this network at sizes that it does not know."""
        model = unsettled(network())
        images = torch.from_numpy(smooth_noise(np.random.default_rng(9), (1, 97, 131)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about its own internals
            program = torch.onnx.export(Exported(model), (images,), dynamo=True, opset_version=18, verbose=False)
        assert program is not None
        session = ort.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
        theirs = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.inference_mode():
            ours = [value.numpy() for value in model.export_forward(images)]
            straighten(model)
            straight = [value.numpy() for value in model.export_forward(images)]
        assert len(np.unique(ours[1])) > 50, "scores must be those of a network that sees something"
        for ours_, theirs_, straight_ in zip(ours, theirs, straight, strict=True):
            scale = np.abs(ours_).max()
            assert np.abs(ours_ - theirs_).max() / scale < PARITY_TOLERANCE
            assert np.abs(ours_ - straight_).max() / scale > 10 * PARITY_TOLERANCE
