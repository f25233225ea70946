"""MobileNet v1 (Howard et al. 2017, arXiv 1704.04861), the light backbone of RetinaFace."""

from torch import Tensor, nn

from facesmith.detectors.parts.backbone import Backbone, Tap
from facesmith.detectors.parts.convolution import ConvUnit, DepthwiseSeparable
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig


class MobileNet(Backbone):
    """Images to one map a tap. ``taps`` gives their channels and strides."""

    def __init__(self, config: MobileNetConfig) -> None:
        super().__init__()
        self.stem = ConvUnit(3, config.stem, kernel=config.stem_kernel, stride=config.stem_stride)
        self.stages = nn.ModuleList()
        channels, stride = config.stem, config.stem_stride
        taps = []
        layers: list[nn.Module] = [self.stem]
        for blocks in config.stages:
            stage = nn.Sequential()
            for width, block_stride in blocks:
                stage.append(DepthwiseSeparable(channels, width, stride=block_stride))
                channels, stride = width, stride * block_stride
            self.stages.append(stage)
            layers.extend(stage)
            taps.append(Tap(channels, stride))
        self.taps = tuple(taps)
        self.first_layers = tuple(layers[: config.frozen])

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float -> [(B, C, ceil(H / s), ceil(W / s)) for (C, s) in taps]."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
