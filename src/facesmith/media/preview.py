"""A window that shows pictures as they come; Python's own tkinter, because OpenCV's headless wheels have no windows."""

import time
from typing import Any, Self

import cv2
import numpy as np

from facesmith.errors import DeviceError, MissingExtraError
from facesmith.images import RGB

RATE = 25
"""Pictures a second that are shown at most; those between are passed over."""

SHARE = 0.8
"""How much of the screen's width and height the window takes at most."""


class Preview:
    """The window; for the main thread, inside ``with``. ``q``, Esc or its button closes it.

    Args:
        title: of the window.

    Attributes:
        is_open: whether nobody has closed it.

    Raises:
        MissingExtraError: this Python has no tkinter.
        DeviceError: there is no screen.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise MissingExtraError(
                "the preview needs tkinter, which this Python lacks; install it (Debian and Ubuntu: python3-tk), or go "
                "without the preview"
            ) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise DeviceError(f"there is no screen for the preview ({error}); go without it") from error
        self._picture = tkinter.PhotoImage(master=self._root)
        self._error: type[Exception] = tkinter.TclError
        self.is_open = True
        self._shown = -1.0
        self._root.title(title)
        self._root.resizable(False, False)
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        for key in ("q", "<Escape>"):
            self._root.bind(key, self._key)
        tkinter.Label(self._root, image=self._picture, borderwidth=0).pack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, image: RGB) -> None:
        """Show ``image`` (H, W, 3), as large as it is or fits the screen; nothing once the window is closed."""
        if not self.is_open or time.monotonic() - self._shown < 1 / RATE:
            return
        self._shown = time.monotonic()
        try:
            screen = self._root.winfo_screenwidth(), self._root.winfo_screenheight()
            self._picture.configure(data=ppm(fitted(image, screen)), format="PPM")
            self._root.update()  # keys, the button, and the window itself
        except self._error:  # the screen went away
            self.is_open = False

    def close(self) -> None:
        """Close the window; it may be closed already."""
        if self.is_open:
            self.is_open = False
            self._root.destroy()

    def _key(self, _: Any) -> None:
        self.close()


def fitted(image: RGB, screen: tuple[int, int]) -> RGB:
    """``image``, made smaller where it takes more than :data:`SHARE` of the ``screen`` (width, height)."""
    scale = min(1.0, *(SHARE * side / own for side, own in zip(screen, image.shape[1::-1], strict=True)))
    if scale == 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    smaller: Any = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    pixels: RGB = smaller
    return pixels


def ppm(image: RGB) -> bytes:
    """``image`` as a file that Tk takes without compression (portable pixmap, P6)."""
    return b"P6 %d %d 255\n" % (image.shape[1], image.shape[0]) + np.ascontiguousarray(image).tobytes()
