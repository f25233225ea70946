"""``facesmith train``: one command from labelled photographs to a detector. A subcommand a recipe."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from facesmith.errors import ConfigError, MissingExtraError
from facesmith.runtime.cpus import available_cpus, chosen_threads

try:
    import torch

    from facesmith.data.sources import sources_or_all
    from facesmith.detectors.base import DetectorNetwork
    from facesmith.detectors.parts.backbone import Backbone
    from facesmith.detectors.retinaface.mesh.branch import MeshBranch
    from facesmith.detectors.retinaface.mesh.pretrained import SHIPPED_DECODER
    from facesmith.detectors.weights import build, read_description, save_weights, start_from
    from facesmith.training.ddp import Process, local_processes
    from facesmith.training.loop import TrainConfig, train
    from facesmith.training.memory import keep_freed_memory
    from facesmith.training.recipes import RECIPES
    from facesmith.training.recipes.recipe import Recipe
    from facesmith.training.validation import validator
except ImportError as error:
    raise MissingExtraError(f"training needs {error.name}: pip install 'facesmith[train]'") from error


@dataclass(frozen=True)
class Run:
    """Train a detector. Run the same command again to go on after an interruption; start it by torchrun to
    use many processes. Writes checkpoint.pt, log.jsonl and, at the end, NAME.safetensors (`facesmith export`
    makes ONNX of it)."""

    recipe: tyro.conf.Suppress[Recipe]
    data: Path
    """training photographs: NAME.txt label files beside their images and background/, or WIDER FACE as
    published"""
    train: TrainConfig
    out: Path | None = None
    """output folder; by default runs/NAME"""
    model: Path | None = None
    """another network to train by this recipe: best.json of `facesmith search`, or a file of that form"""
    init: Path | None = None
    """weights (.safetensors) of the same network to start from; those of a RetinaFace may lack its mesh branch"""
    decoder: Path | None = None
    """pre-trained mesh decoder (.safetensors) of a RetinaFace with a mesh branch; by default the shipped one"""
    pretrained: Path | None = None
    """ImageNet weights of the backbone to start from: a state dict (.safetensors, .pth) of torchvision or timm"""
    cache: Path | None = None
    """folder in which decoded pixels are kept: faster epochs for about 3 bytes a pixel of disk"""
    val: tuple[Path, Path] | None = None
    """ground truth (.mat lists or a label file) and image folder for AP during training
    (--train.evaluate-every)"""
    device: str = "cpu"
    """cpu or cuda"""
    threads: int | None = None
    """CPU threads of each process; by default all that may be used, shared out among torchrun's processes"""

    def run(self) -> int:
        """Train from the start or from where the last run stopped."""
        process = Process.start(self.device)
        try:
            self._run_as(process)
        finally:
            process.end()
        return 0

    def _run_as(self, process: Process) -> None:
        if self.val and not self.train.evaluate_every:
            raise ConfigError("--val needs --train.evaluate-every: the number of steps between evaluations")
        keep_freed_memory()
        threads = chosen_threads(self.threads or max(available_cpus() // local_processes(), 1))
        torch.set_num_threads(threads)
        torch.manual_seed(self.train.seed)
        name, config = read_description(self.model) if self.model else (self.recipe.name, self.recipe.model)
        out = self.out or Path("runs") / name
        model = build(config)
        if self.pretrained:
            _pretrain(model, self.pretrained)
        self._load_decoder(model)
        if self.init:
            start_from(self.init, model)
        final = out / f"{name}.safetensors"
        judge = validator(*self.val, out=final, name=name, threads=threads) if self.val else None
        sources = sources_or_all(self.data, self.recipe.sources)
        averaged = train(model, sources, self.train, out, process=process, cache=self.cache, evaluate=judge)
        if process.rank == 0:
            save_weights(final, averaged, name=name, steps=self.train.steps)
            print(f"{final}: {self.train.steps} steps")

    def _load_decoder(self, model: DetectorNetwork) -> None:
        branch = getattr(model, "mesh", None)
        if isinstance(branch, MeshBranch):
            if branch.config.alone and not self.init:
                raise ConfigError("this recipe trains the mesh branch alone: --init must name the detector's weights")
            branch.load_decoder(self.decoder or SHIPPED_DECODER)
        elif self.decoder:
            raise ConfigError(f"--decoder is for a RetinaFace with a mesh branch; this {type(model).__name__} has none")


def _pretrain(model: DetectorNetwork, path: Path) -> None:
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, Backbone):
        raise ConfigError(
            f"--pretrained is for ResNet and MobileNet backbones; {type(model).__name__} has another here"
        )
    backbone.load_pretrained(path)


Train = tyro.extras.subcommand_type_from_defaults(
    {recipe.name: Run(recipe=recipe, data=tyro.MISSING, train=recipe.train) for recipe in RECIPES},
    prefix_names=False,
)
