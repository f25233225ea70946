"""The page in a real browser: headless Chromium, driven as a user would; skipped where there is none."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesmith import images, load
from serving import Running, gated, serving

pytest.importorskip("selenium", reason="the page is tested with selenium: pip install selenium")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="the page is tested in Chromium: install chromium and chromedriver"
)

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1200,900 "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
SECONDS = 60


@pytest.fixture(scope="module")
def running(tiny_model: Path) -> Iterator[Running]:
    with serving(load(tiny_model, threads=1), gated()[0]) as running:
        yield running


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chromium(downloads: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    yield browser
    browser.quit()


@pytest.fixture
def page(chromium: Any, running: Running, tmp_path: Path) -> Any:
    """The page with a picture that has a cell of 1 and one of 0.6, as the tiny network sees them."""
    image = np.zeros((160, 192, 3), np.uint8)
    image[48:64, 32:48], image[96:112, 128:144] = 255, 153
    images.write(tmp_path / "cells.png", image)
    chromium.get(f"http://127.0.0.1:{running.port}/")
    until(lambda: chromium.find_elements(By.CSS_SELECTOR, "#first option"))
    chromium.find_element(By.ID, "file").send_keys(str(tmp_path / "cells.png"))
    until(lambda: status(chromium) == "2 faces")
    return chromium


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "the page does not do what it should"
        time.sleep(0.05)


def status(page: Any) -> str:
    return str(page.find_element(By.ID, "status").text)


def green(page: Any, figure: int = 0) -> int:
    """How many pixels of a panel's picture have the colour of boxes."""
    return int(
        page.execute_script(
            """const canvas = document.querySelectorAll("canvas")[arguments[0]];
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let i = 0; i < data.length; i += 4) count += data[i] < 110 && data[i + 1] > 180 && data[i + 2] < 160;
            return count;""",
            figure,
        )
    )


def test_the_threshold_is_live(page: Any, running: Running) -> None:
    asked = running.service.metrics.seconds.count
    both = green(page)
    slider = page.find_element(By.ID, "threshold")
    slider.send_keys(Keys.ARROW_RIGHT * 20)
    assert status(page) == "1 face (1 more below 0.70)"
    assert 0 < green(page) < both
    slider.send_keys(Keys.ARROW_LEFT * 20)
    assert status(page) == "2 faces"
    assert green(page) == both
    assert running.service.metrics.seconds.count == asked


def test_what_is_shown(page: Any) -> None:
    everything = green(page)
    page.find_element(By.ID, "scores").click()
    without_scores = green(page)
    page.find_element(By.ID, "boxes").send_keys(Keys.SPACE)
    assert everything > without_scores > green(page)
    assert not page.find_element(By.ID, "mesh").is_enabled()  # no model here has meshes


def test_two_models_side_by_side(page: Any) -> None:
    Select(page.find_element(By.ID, "second")).select_by_value("gated")
    until(lambda: status(page).startswith("tiny: 2 faces · gated: 0 faces"))
    assert [one.text for one in page.find_elements(By.TAG_NAME, "h2")] == ["tiny", "gated"]
    assert green(page, 0) > green(page, 1) == 0


def test_saving(page: Any, downloads: Path) -> None:
    page.find_element(By.ID, "threshold").send_keys(Keys.ARROW_RIGHT * 20)
    page.find_element(By.ID, "save-json").click()
    page.find_element(By.ID, "save-picture").click()
    found, picture = downloads / "cells-faces.json", downloads / "cells-faces.jpg"
    until(lambda: found.exists() and picture.exists())
    (row,) = json.loads(found.read_text())
    assert (row["model"], row["width"], row["height"], row["threshold"]) == ("tiny", 192, 160, 0.7)
    assert [face["box"] for face in row["faces"]] == [[32, 48, 48, 64]]
    assert images.read(picture).shape == (160, 192, 3)


def test_a_file_that_is_no_picture(page: Any, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    page.find_element(By.ID, "file").send_keys(str(tmp_path / "note.txt"))
    until(lambda: status(page) == "note.txt is not a picture that this browser can show.")


def test_the_camera(page: Any, running: Running) -> None:
    asked = running.service.metrics.seconds.count
    button = page.find_element(By.ID, "camera")
    button.click()
    until(lambda: running.service.metrics.seconds.count >= asked + 3)
    assert (button.text, button.get_attribute("aria-pressed")) == ("Stop camera", "true")
    button.click()
    until(lambda: button.text == "Use camera")
    assert page.find_element(By.ID, "save-picture").is_enabled()


def test_a_phone(page: Any) -> None:
    page.set_window_size(500, 800)  # Chromium's narrowest window; the frame below is narrower
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        until(lambda: page.execute_script("return innerWidth") == 360)
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
        assert page.find_element(By.TAG_NAME, "canvas").size["width"] <= 360
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.set_window_size(1200, 900)


def test_everything_is_reached_by_the_keyboard(page: Any) -> None:
    page.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(12):
        page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
        reached.append(page.execute_script("return document.activeElement.id"))
    controls = ["file", "camera", "first", "second", "threshold", "boxes", "scores", "landmarks"]
    assert [one for one in reached if one] == [*controls, "save-picture", "save-json"]


def test_nothing_went_wrong_in_the_console(chromium: Any) -> None:
    assert [line for line in chromium.get_log("browser") if line["level"] == "SEVERE"] == []
