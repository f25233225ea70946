"""``facesmith train``: one command from labelled photographs to a detector. A subcommand a recipe."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from facesmith.errors import ConfigError, MissingExtraError
from facesmith.runtime import load
from facesmith.runtime.cpus import available_cpus, chosen_threads

try:
    import torch

    from facesmith.data.sources import sources_or_all
    from facesmith.detectors.retinaface.config import RetinaFaceConfig
    from facesmith.detectors.weights import read_description, save_weights, start_from
    from facesmith.training.ddp import Process, local_processes
    from facesmith.training.loop import TrainConfig, train
    from facesmith.training.memory import keep_freed_memory
    from facesmith.training.recipes import RECIPES
    from facesmith.training.recipes.recipe import Recipe
    from facesmith.training.start import Start
    from facesmith.training.teacher import Teacher, TeacherConfig, shared_out, unlabelled
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
    """training photographs: a folder with labels (RetinaFace's, WIDER FACE's, COCO, YOLO-pose, CVAT or Label Studio)
    and background/, or a label file"""
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
    """weights of the backbone to start from: an ImageNet state dict (.safetensors, .pth) of torchvision or timm, or a
    facesmith detector with the same backbone (.safetensors)"""
    teacher: str | None = None
    """a trained detector (a name of `facesmith models`, or a file) that fills in what labels lack: landmarks, and faces
    in incompletely labelled photographs"""
    unlabelled: Path | None = None
    """photographs without labels, which --teacher labels alone; they are drawn by their number"""
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
        if self.unlabelled and not self.teacher:
            raise ConfigError("--unlabelled needs --teacher: a detector that labels these photographs")
        if self.val and not self.train.evaluate_every:
            raise ConfigError("--val needs --train.evaluate-every: the number of steps between evaluations")
        keep_freed_memory()
        threads = chosen_threads(self.threads or max(available_cpus() // local_processes(), 1))
        torch.set_num_threads(threads)
        torch.manual_seed(self.train.seed)
        name, config = read_description(self.model) if self.model else (self.recipe.name, self.recipe.model)
        out = self.out or Path("runs") / name
        if isinstance(config, RetinaFaceConfig) and config.mesh and config.mesh.alone and not self.init:
            raise ConfigError("this recipe trains the mesh branch alone: --init must name the detector's weights")
        model = Start(self.pretrained, self.decoder).network(config)
        if self.init:
            start_from(self.init, model)
        final = out / f"{name}.safetensors"
        judge = validator(*self.val, out=final, name=name, threads=threads) if self.val else None
        sources = sources_or_all(self.data, self.recipe.sources)
        if self.unlabelled:
            sources = shared_out(sources, unlabelled(self.unlabelled))
        teacher = (
            Teacher(load(self.teacher, device=self.device, threads=threads), TeacherConfig()) if self.teacher else None
        )
        averaged = train(
            model, sources, self.train, out, process=process, cache=self.cache, evaluate=judge, teacher=teacher
        )
        if process.rank == 0:
            save_weights(final, averaged, name=name, steps=self.train.steps)
            print(f"{final}: {self.train.steps} steps")


Train = tyro.extras.subcommand_type_from_defaults(
    {recipe.name: Run(recipe=recipe, data=tyro.MISSING, train=recipe.train) for recipe in RECIPES},
    prefix_names=False,
)
