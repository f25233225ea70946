"""The weight-shared supernet: every choice of every block has weights, every training step trains one random path.

Single path one-shot (Guo et al. 2019): each step draws an architecture uniformly, whatever was drawn before, and only
the weights on its path are touched. The draw of a step is a function of the seed and of the number of steps taken
before, which is part of the weights; so a run that is resumed from a checkpoint draws what it would have drawn.

Where a block changes its input's shape, the bottlenecks that may stand there share the 1×1 layer of their shortcut.
With one each, what the next block sees would be in another basis for every choice before it: on the tiny space, class
loss after 360 steps .62, and .46 with shared ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facesmith.detectors.bfbox.blocks import make_block, share_shortcut
from facesmith.detectors.bfbox.loss import BFBoxMaps
from facesmith.detectors.bfbox.model import BFBox, BFBoxBase
from facesmith.detectors.bfbox.pyramid import Attention, gates_of
from facesmith.detectors.bfbox.space import Genes, Preset, source_indices, uniform_path


@dataclass(frozen=True)
class SupernetConfig:
    """A supernet.

    Attributes:
        preset: space and detector; ``preset.detector.attention`` says whether merges are weighed.
        seed: of the paths.
    """

    preset: Preset
    seed: int = 0


class Supernet(BFBoxBase):
    """All architectures of a space in one network; ``forward`` in training takes a random path.

    Attributes:
        taken: () int64, training steps so far.
    """

    taken: Tensor

    def __init__(self, config: SupernetConfig) -> None:
        detector, space = config.preset.detector, config.preset.space
        super().__init__(detector)
        self.config = config
        self.space = space
        positions, channels = [], detector.stem
        for stage, (choices_of_blocks, width) in enumerate(zip(space.stages, detector.widths, strict=True)):
            for place, choices in enumerate(choices_of_blocks):
                stride = 2 if stage and not place else 1
                blocks = [make_block(b, channels, width, squeeze=detector.squeeze, stride=stride) for b in choices]
                share_shortcut(blocks)
                positions.append(nn.ModuleList(blocks))
                channels = width
        self.positions = nn.ModuleList(positions)
        self.attention = Attention([len(choices) for choices in space.positions]) if detector.attention else None
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        self.initialise()

    def forward(self, images: Tensor) -> BFBoxMaps:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps of the next random path; in training only."""
        assert self.training, "a supernet has no weights of its own to evaluate; ask for a network()"
        genes = uniform_path(self.space, self.config.seed, int(self.taken))
        self.taken += 1
        return self.path(images, genes)

    def path(self, images: Tensor, genes: Genes) -> BFBoxMaps:
        """:meth:`forward` of the architecture of ``genes``."""
        logits = self._logits(genes)
        gates = None if logits is None else gates_of(logits)
        return self.detect(images, self._stages(genes), self.space.decode(genes).merges, gates)

    @torch.no_grad()
    def network(self, genes: Genes) -> BFBox:
        """The network of ``genes`` with a copy of its weights, in evaluation mode."""
        model = BFBox(self.config.preset.config(self.space.decode(genes)))
        for mine, theirs in zip(self._stages(genes), model.stages, strict=True):
            for source, target in zip(mine, theirs.children(), strict=True):
                target.load_state_dict(source.state_dict())
        for name in ("stem", "pyramid", "head"):
            getattr(model, name).load_state_dict(getattr(self, name).state_dict())
        logits = self._logits(genes)
        if model.gates is not None and logits is not None:
            model.gates.copy_(logits)
        return model.eval()

    def _stages(self, genes: Genes) -> Iterator[list[nn.Module]]:
        chosen = iter(zip(self.positions, genes, strict=False))
        for stage in self.space.stages:
            yield [list(choices.children())[gene] for choices, gene in (next(chosen) for _ in stage)]

    def _logits(self, genes: Genes) -> Tensor | None:
        """Of the attention, one for each merge with another input, in their order."""
        if self.attention is None:
            return None
        at = torch.from_numpy(source_indices(self.space.decode(genes).merges)).to(self.taken.device)
        logits: Tensor = self.attention(genes[: len(self.positions)])[at[:, 0], at[:, 1]]
        return logits
