"""How BFBox's supernets are trained, for each preset of the space; ``facesmith search bfbox`` uses these.

``tiny``: 5,000 steps of 16 windows of 256², for a CPU. ``paper`` (section 5.1): 150,000 steps of 28 windows of 640² by
SGD at 1e-3, a tenth of it from step 60,000 on, on four GPUs of 24 GB; not run here. The paper does not say how its
learning rate starts; here it rises over the first 1,000 steps.
"""

from dataclasses import replace

from facesmith.data.anchor_sampling import ANCHORS
from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import SGD, AdamW
from facesmith.training.schedule import Cosine, Drops

PAPER_AUGMENT = AugmentConfig(grey=0.0, blur=0.0, ignore_below=8.0, anchors=ANCHORS)
"""Data-anchor-sampling, colour and flip, as in the paper."""

_PAPER = TrainConfig(
    steps=150_000,
    batch=BatchConfig(images=28, sides=(640,), augment=PAPER_AUGMENT),
    optimiser=SGD(rate=1e-3, momentum=0.9, weight_decay=5e-5),
    schedule=Drops(warmup=1_000, at=(60_000 / 150_000,)),
    ema=0.9995,
    save_every=1_000,
    workers=8,
)

SUPERNETS = {
    "tiny": TrainConfig(
        steps=5_000,
        batch=BatchConfig(images=16, sides=(256,), augment=AugmentConfig(ignore_below=5.0)),
        optimiser=AdamW(rate=2e-3, weight_decay=0.02),
        schedule=Cosine(warmup=100, final=0.02),
        ema=0.995,
        save_every=100,
    ),
    "paper": _PAPER,
}
"""Preset -> training of its supernet."""

PAPER_FINAL = replace(_PAPER, steps=80_000, schedule=Drops(warmup=1_000, at=(60_000 / 80_000,)))
"""The found network's own training (section 5.1)."""
