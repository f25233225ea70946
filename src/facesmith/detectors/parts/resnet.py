"""ResNet (He et al. 2015, arXiv 1512.03385) of bottleneck blocks, RetinaFace's accurate backbone.

The stride is in a block's 3×3 convolution, and tensors have torchvision's names, so that ImageNet state dicts of
torchvision and timm (``resnet50``, ``resnet152``) load as they are.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.parts.backbone import Backbone, Tap
from facesmith.detectors.parts.resnet_config import ResNetConfig

EXPANSION = 4


class Bottleneck(nn.Module):
    """1×1 to ``width``, 3×3, 1×1 to four times ``width``; added to the input, which is projected where it must be."""

    def __init__(self, channels_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        channels_out = EXPANSION * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, 4 · width, ceil(H / stride), ceil(W / stride))."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        return F.relu(self.bn3(self.conv3(out)) + self.downsample(x), inplace=True)


class ResNet(Backbone):
    """Images to the maps C2…C5, or C3…C5, …: from ``config.first_tap`` on."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, config.width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width)
        channels, taps = config.width, []
        for i, blocks in enumerate(config.blocks):
            width = config.width * 2**i
            stage = nn.Sequential()
            for block in range(blocks):
                stage.append(Bottleneck(channels, width, stride=2 if i and not block else 1))
                channels = EXPANSION * width
            self.add_module(f"layer{i + 1}", stage)
            taps.append(Tap(channels, 4 * 2**i))
        self.untapped = config.first_tap - 2
        self.taps = tuple(taps[self.untapped :])
        stem = (self.conv1, self.bn1)
        self.first_layers = (*stem, *self.stages[: config.frozen - 1]) if config.frozen else ()

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """C2, C3, C4, C5."""
        return tuple(self.get_submodule(f"layer{i}") for i in range(1, 5))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float -> [(B, C, ceil(H / s), ceil(W / s)) for (C, s) in taps]."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.max_pool2d(x, 3, 2, padding=1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[self.untapped :]
