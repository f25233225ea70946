"""Pre-train the mesh decoder: an auto-encoder of coloured faces with an L1 loss (CoMA; Zhou et al. 2019).

    python -m facesmith.training.mesh_autoencoder --ict ICT --data PHOTOGRAPHS --out mesh-decoder.safetensors

``--ict`` is a folder with ``ict_face.npz`` (``mesh_faces.FaceModel``); ``--data`` is a folder that ``facesmith train
--data`` takes, without it skins are procedural only. Shapes are drawn anew each step, so held-out faces differ from
the training's in people and expressions; held-out skins come from other photographs. The same command gives the
same weights. A step takes about 0.1 s of one CPU core; after 2,400 steps of 8 faces the mean vertex error was 1.11 mm
(0.74 % of the face's width; 0.28 mm for principal components with as many numbers, 5.36 mm for the average face).
"""

import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from facesmith.data.sample import Sample
from facesmith.data.sources import find_sources
from facesmith.detectors.retinaface.mesh.config import MeshConfig
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.detectors.retinaface.mesh.pretrained import save_decoder
from facesmith.errors import ConfigError, TrainingError
from facesmith.runtime.torch_session import torch_device
from facesmith.training.mesh_codes import Codes
from facesmith.training.mesh_faces import MILLIMETRES, FaceModel, FaceSampler, Palette, PhotoSkins, five_points

_CODES_STEP, _HELD_OUT_STEP = -1, -2
_HELD_OUT_SKINS = 10
"""Every tenth skin from photographs is kept for judging."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """How the decoder is fitted.

    Attributes:
        steps: optimiser steps.
        batch: faces a step.
        rate: greatest learning rate of Adam; falls by a cosine to a hundredth.
        warmup: steps until it is reached.
        shape_weight: of errors in x, y, z relative to those in r, g, b, both in standard deviations.
        codes_from: faces that the codes (``mesh_codes``) are fitted to.
        photo_skins: most skins read from photographs.
        seed: of weights and faces.
        evaluate_every: steps between evaluations.
        held_out: faces that are judged.

    Raises:
        ConfigError: a number is out of range.
    """

    steps: int = 6_000
    batch: int = 8
    rate: float = 2e-3
    warmup: int = 100
    shape_weight: float = 3.0
    codes_from: int = 2000
    photo_skins: int = 400
    seed: int = 0
    evaluate_every: int = 500
    held_out: int = 64

    def __post_init__(self) -> None:
        counts = (self.steps, self.batch, self.evaluate_every, self.held_out, self.warmup, self.codes_from)
        if min(counts) < 1 or self.photo_skins < 0:
            raise ConfigError(f"an auto-encoder needs steps, batches and evaluations of at least 1, not {self}")
        if not (self.rate > 0 and self.shape_weight > 0 and self.seed >= 0):
            raise ConfigError(f"rate and shape_weight must be above 0 and seed at least 0, not {self}")


@dataclass(frozen=True)
class Pretrain:
    """Pre-train the mesh decoder on random faces."""

    ict: Path
    """folder with the linear face model ict_face.npz (the arrays of ICT-FaceKit)"""
    out: Path
    """file of the decoder's weights (.safetensors)"""
    data: Path | None = None
    """folder of training photographs with five landmarks; without it skins are procedural"""
    config: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    model: MeshConfig = field(default_factory=MeshConfig)
    device: str = "cpu"
    """cpu, cuda or cuda:N"""

    def run(self) -> None:
        """Prepare faces, train, write; prints a JSON line an evaluation."""
        train, held_out = samplers(self.ict / "ict_face.npz", self.data, self.model, self.config.photo_skins)
        decoder, found = pretrain(self.model, self.config, train, held_out, device=self.device)
        facts = {
            "figures": dataclasses.asdict(found),
            "training": dataclasses.asdict(self.config),
            "shapes": "ICT-FaceKit (MIT), identities and expressions drawn at random",
            "skins": f"procedural and {len(train.photos)} from photographs" if len(train.photos) else "procedural",
            "licence": "that of the photographs" if len(train.photos) else "MIT",
        }
        save_decoder(self.out, decoder, **facts)


@dataclass(frozen=True)
class Judgement:
    """Mean errors over held-out faces.

    Attributes:
        shape_mm: distance of a vertex from its reconstruction in millimetres.
        shape_percent: the same in per cent of the average face's width.
        landmarks_mm: distance of the 68 landmarks.
        colour: absolute error of r, g, b in 0 … 255.
        linear_mm: ``shape_mm`` of the linear decoder of the same codes (principal components).
        linear_colour: ``colour`` of the same.
        average_mm: ``shape_mm`` when every face is taken for the average one.
        average_colour: ``colour`` of the average skin.
    """

    shape_mm: float
    shape_percent: float
    landmarks_mm: float
    colour: float
    linear_mm: float
    linear_colour: float
    average_mm: float
    average_colour: float


def samplers(faces: Path, photos: Path | None, config: MeshConfig, skins: int) -> tuple[FaceSampler, FaceSampler]:
    """Faces to train on and to judge by, with skins from different photographs."""
    level = config.topology.finest
    model = FaceModel.load(faces, level)
    bank = torch.zeros(0, len(level), 3, dtype=torch.uint8)
    if photos is not None and skins:
        bank = PhotoSkins(level, model).collect(_large_faces(photos), skins)
    held_out = torch.arange(len(bank)) % _HELD_OUT_SKINS == 0
    palette = Palette(level)
    return FaceSampler(model, palette, bank[~held_out]), FaceSampler(model, palette, bank[held_out])


def pretrain(
    model: MeshConfig, config: AutoencoderConfig, faces: FaceSampler, held_out: FaceSampler, *, device: str = "cpu"
) -> tuple[MeshDecoder, Judgement]:
    """Fit a decoder to the codes of random faces; the last judgement.

    Raises:
        TrainingError: the loss is not finite.
        DeviceError: there is no such device.
    """
    place = torch_device(device)
    codes = Codes.fit(faces.sample(config.codes_from, config.seed, _CODES_STEP), model.latent, config.shape_weight)
    codes = codes.to(place)
    torch.manual_seed(config.seed)
    decoder = MeshDecoder(model).to(place)
    decoder.set_statistics(codes.mean, codes.deviation)
    judged = held_out.sample(config.held_out, config.seed, _HELD_OUT_STEP).to(place)
    landmarks = torch.from_numpy(faces.model.landmarks).to(place)
    optimiser = torch.optim.Adam(decoder.parameters(), config.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _factor(step, config))
    started = time.monotonic()
    for step in tqdm(range(config.steps), unit="step", mininterval=1, disable=not sys.stderr.isatty()):
        batch = faces.sample(config.batch, config.seed, step).to(place)
        loss = ((decoder(codes.encode(batch)) - batch).abs() / codes.deviation * codes.weights).mean()
        if not loss.isfinite():
            raise TrainingError(f"step {step}: the loss is {loss.item()}; lower the rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % config.evaluate_every == 0 or step + 1 == config.steps:
            found = judge(decoder, codes, judged, landmarks)
            row = {"step": step + 1, "loss": loss.item(), **dataclasses.asdict(found)}
            print(json.dumps({**row, "seconds": round(time.monotonic() - started, 1)}), flush=True)
    return decoder, found


@torch.no_grad()
def judge(decoder: MeshDecoder, codes: Codes, faces: Tensor, landmarks: Tensor) -> Judgement:
    """Errors of the decoder, of the linear one, and of the average face."""
    wanted = codes.encode(faces)
    rebuilt = torch.cat([decoder(part) for part in torch.split_with_sizes(wanted, _pieces(len(wanted)))])
    shape, colour = _errors(rebuilt, faces)
    linear_shape, linear_colour = _errors(codes.decode(wanted), faces)
    average_shape, average_colour = _errors(codes.mean.expand_as(faces), faces)
    across = codes.mean[:, 0]
    width = (across.max() - across.min()).item() * MILLIMETRES
    return Judgement(
        shape,
        100 * shape / width,
        _errors(rebuilt[:, landmarks], faces[:, landmarks])[0],
        colour,
        linear_shape,
        linear_colour,
        average_shape,
        average_colour,
    )


def _errors(rebuilt: Tensor, faces: Tensor) -> tuple[float, float]:
    away = rebuilt - faces
    return away[..., :3].norm(dim=-1).mean().item() * MILLIMETRES, away[..., 3:].abs().mean().item() * 255


def _pieces(count: int, most: int = 32) -> list[int]:
    return [min(most, count - start) for start in range(0, count, most)]


def _factor(step: int, config: AutoencoderConfig) -> float:
    fallen = 0.505 + 0.495 * math.cos(math.pi * step / config.steps)
    return min(1.0, (step + 1) / config.warmup) * fallen


def _large_faces(photos: Path) -> Iterator[Sample]:
    """Only photographs with a face that is large enough are decoded."""
    for source in find_sources(photos):
        for number, label in enumerate(source.labels):
            points = five_points(label.landmarks)
            if (np.linalg.norm(points[:, 1] - points[:, 0], axis=1) >= PhotoSkins.least_eye_distance).any():
                yield source.load(number, None)


if __name__ == "__main__":
    tyro.cli(Pretrain).run()
