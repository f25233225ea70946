"""The preview window: without a screen everywhere, with one under Xvfb where that is installed."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from facesmith.errors import DeviceError, MissingExtraError
from facesmith.media.preview import Preview, fitted, ppm


def test_without_tkinter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(MissingExtraError, match="python3-tk"):
        Preview("title")


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there is always a screen")
def test_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(DeviceError, match=r"no screen for the preview .*go without it"):
        Preview("title")


def test_pictures_fit_the_screen() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    assert fitted(image, (1920, 1080)) is image
    assert fitted(image, (400, 1080)).shape == (240, 320, 3)
    assert fitted(image, (1920, 300)).shape == (240, 320, 3)
    assert fitted(np.zeros((1, 9000, 3), np.uint8), (100, 100)).shape == (1, 80, 3)


def test_the_format_for_tk() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)[:, ::-1]
    assert ppm(image) == b"P6 2 2 255\n" + bytes([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8])


WINDOW = """
import sys, time
import numpy as np
from facesmith.media.preview import Preview

image = np.zeros((60, 80, 3), np.uint8)
image[:, :40], image[:, 40:] = (200, 30, 60), (10, 120, 240)
with Preview("faces") as preview:
    assert preview.is_open
    preview.show(image)
    photo = preview._picture
    assert (photo.width(), photo.height()) == (80, 60)
    assert [tuple(photo.get(x, 30)) for x in (5, 75)] == [(200, 30, 60), (10, 120, 240)]
    preview._shown = time.monotonic() + 9
    preview.show(image[:30])  # too soon after the last
    assert photo.height() == 60
    preview._shown = time.monotonic() - 0.05
    preview.show(image[:30])
    assert photo.height() == 30
    preview._shown = -1
    preview._root.focus_force()
    preview._root.event_generate(sys.argv[1])
    preview.show(image)
    assert not preview.is_open
    preview.show(image)  # does nothing
    preview.close()
with Preview("again"):
    pass
print("shown")
"""


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="Xvfb is not installed")
@pytest.mark.parametrize("key", ["<q>", "<Escape>"])
def test_on_a_screen(key: str) -> None:
    pytest.importorskip("tkinter")
    command = ["xvfb-run", "-a", sys.executable, "-c", WINDOW, key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("shown\n", 0), done.stderr
