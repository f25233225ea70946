"""Every error that facesmith raises on purpose; catch ``FacesmithError`` to catch them all."""


class FacesmithError(Exception):
    """Base of all errors raised on purpose. The message says what was wrong, where, and what would be right."""


class ImageError(FacesmithError, ValueError):
    """An image cannot be read or has a form that cannot be used."""


class VideoError(FacesmithError, ValueError):
    """A video file or camera cannot be read or written, or is another than it was."""


class ImageTooLargeError(ImageError):
    """An image has more pixels than are allowed."""


class LabelError(FacesmithError, ValueError):
    """A label, ground-truth or prediction file is malformed; the message names file and line."""


class ModelError(FacesmithError, ValueError):
    """A model name is unknown, or a model file is not one that facesmith can run."""


class DeviceError(FacesmithError, RuntimeError):
    """The device that was asked for is not available. Nothing falls back in silence."""


class ConfigError(FacesmithError, ValueError):
    """A setting is out of range or contradicts another."""


class MissingExtraError(FacesmithError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""


class TrainingError(FacesmithError, RuntimeError):
    """Training cannot go on (for instance, a loss became NaN)."""
