"""The requests of docs/serve.md, as they stand there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesmith import images, load, weights
from facesmith.runtime.portrait import paint_portrait
from serving import Running, serving

DOCS = (Path(__file__).parents[2] / "docs/serve.md").read_text()
COMMANDS = re.findall(r"^curl .*$", DOCS, re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the commands need curl")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serving(load(weights.DEFAULT, threads=1), load(weights.MESHES, threads=1)) as running:
        yield running


@pytest.mark.parametrize("command", COMMANDS)
def test_a_request(command: str, running: Running, tmp_path: Path) -> None:
    images.write(tmp_path / "photo.jpg", paint_portrait(320, 240, (160.0, 110.0), 50.0))
    typed = command.replace("localhost:8000", f"127.0.0.1:{running.port}").replace("curl ", "curl -sS --fail ", 1)
    printed = subprocess.run(typed, shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
    if output := re.search(r"-o (\S+)", command):
        assert images.read(tmp_path / output[1]).shape == (240, 320, 3)
    elif "/detect" in command:
        (face,) = json.loads(printed)["faces"]
        assert ("pose" in face) == ("mesh" in command)
    elif "/metrics" in command:
        assert printed.startswith(b"# HELP")
    else:
        assert json.loads(printed)


def test_every_parameter_is_described(running: Running) -> None:
    parameters = running.ask("/openapi.json").json()["paths"]["/detect"]["post"]["parameters"]
    assert re.findall(r"^\| `(\w+)` \|", DOCS, re.MULTILINE) == [one["name"] for one in parameters]
