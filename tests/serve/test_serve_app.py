"""What the service answers to clients that mean well."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facesmith
from facesmith import images, load
from facesmith.runtime.portrait import LANDMARKS, paint_portrait
from serving import Running, form, png, serving


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Iterator[Running]:
    with serving(load(tiny_model, threads=1), max_network_pixels=1_000_000) as running:
        yield running


@pytest.fixture(scope="module")
def bright_cell() -> bytes:
    """A dark picture in which the tiny network sees one cell, 32…48 × 48…64, with a score of 1."""
    image = np.zeros((160, 192, 3), np.uint8)
    image[48:64, 32:48] = 255
    return images.encode("cell.png", image)


def test_a_raw_picture(tiny: Running, bright_cell: bytes) -> None:
    answer = tiny.ask("/detect", bright_cell, content_type="image/png")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    landmarks = [[37, 54], [43, 54], [40, 57], [38, 60], [42, 60]]
    assert answer.json() == {
        "model": "tiny",
        "width": 192,
        "height": 160,
        "threshold": 0.5,
        "faces": [{"box": [32, 48, 48, 64], "score": 1, "landmarks": landmarks}],
    }


@pytest.mark.parametrize(
    "kind", ["", "application/octet-stream", "application/x-www-form-urlencoded", "image/jpeg; x=1"]
)
def test_the_picture_itself_says_what_it_is(tiny: Running, bright_cell: bytes, kind: str) -> None:
    assert len(tiny.ask("/detect", bright_cell, content_type=kind).json()["faces"]) == 1


@pytest.mark.parametrize("name", ["image", "file", "whatever"])
def test_a_form(tiny: Running, bright_cell: bytes, name: str) -> None:
    body, kind = form(bright_cell, name)
    assert len(tiny.ask("/detect", body, content_type=kind).json()["faces"]) == 1


def test_a_chunked_body(tiny: Running, bright_cell: bytes) -> None:
    with tiny.connect() as client:
        client.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for start in range(0, len(bright_cell), 100):
            part = bright_cell[start : start + 100]
            client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        client.sendall(b"0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"score":1.0' in answer


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "image/png", "image/png"),
        ("", "image/*", "image/jpeg"),
        ("?format=png", "application/json", "image/png"),
        ("?format=jpeg", "", "image/jpeg"),
        ("?format=json", "image/png", "application/json"),
    ],
)
def test_the_drawn_picture(tiny: Running, bright_cell: bytes, query: str, accept: str, kind: str) -> None:
    answer = tiny.ask(f"/detect{query}", bright_cell, accept=accept)
    assert answer.headers["content-type"] == kind
    if kind.startswith("image/"):
        drawn = Image.open(io.BytesIO(answer.body))
        assert Image.MIME[str(drawn.format)] == kind
        changed = np.abs(images.read(answer.body).astype(int) - images.read(bright_cell)).max(axis=2) > 40
        assert changed[46:66, 30:50].any()
        assert not changed[80:, 80:].any()


def test_accept_headers() -> None:
    from facesmith.serve.app import wanted_format  # not above: `serving` skips where FastAPI is missing

    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    wanted = {
        "": "json",
        "*/*": "json",
        browser: "json",
        "image/webp": "json",
        "image/*,*/*;q=0.5": "jpeg",
        "application/json;q=0.4, image/png;q=0.6": "png",
        "image/png;q=0, */*;q=0.1": "json",
        "IMAGE/PNG; q=nonsense": "png",
    }
    assert {accept: wanted_format(accept) for accept in wanted} == wanted


def test_options(tiny: Running, bright_cell: bytes) -> None:
    (face,) = tiny.ask("/detect?landmarks=false", bright_cell).json()["faces"]
    assert set(face) == {"box", "score"}
    assert tiny.ask("/detect?threshold=1&size=80", bright_cell).json()["faces"] == []
    assert tiny.ask("/detect?model=tiny", bright_cell).status == 200


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("threshold=3", 422, "threshold=3"),
        ("threshold=nan", 422, "threshold=nan"),
        ("mesh=perhaps", 422, "mesh=perhaps"),
        ("format=gif", 422, "format=gif"),
        ("size=huge", 422, "no such size rule"),
        ("size=4000", 422, "4000 × 3333 pixels"),
        ("mesh=true", 422, "tiny has no mesh branch"),
        ("vertices=true", 422, "needs mesh=true"),
        ("model=other", 404, "there are: tiny"),
    ],
)
def test_wrong_options(tiny: Running, bright_cell: bytes, query: str, status: int, says: str) -> None:
    answer = tiny.ask(f"/detect?{query}", bright_cell)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert says in answer.json()["error"]


@pytest.mark.parametrize(("path", "status"), [("/detect", 405), ("/nothing", 404), ("/static/../app.py", 404)])
def test_wrong_paths_say_so_in_json(tiny: Running, path: str, status: int) -> None:
    answer = tiny.ask(path)
    assert answer.status == status
    assert path in answer.json()["error"]


def test_models_and_health(tiny: Running) -> None:
    answer = tiny.ask("/models").json()
    (model,) = answer["models"]
    assert answer["default"] == model["name"] == "tiny"
    assert model["device"] == "cpu"
    assert model["licence"] is None
    assert tiny.ask("/models/tiny/triangles").status == 404
    assert tiny.ask("/health").json() == {"status": "ok", "version": facesmith.__version__}


def test_metrics(tiny_model: Path, bright_cell: bytes) -> None:
    with serving(load(tiny_model, threads=1)) as running:
        for _ in range(3):
            running.ask("/detect?size=original", bright_cell)
        running.ask("/detect", b"no picture")
        running.ask("/nothing/here")
        lines = running.ask("/metrics").body.decode().splitlines()
    for expected in (
        'facesmith_requests_total{path="/detect",status="200"} 3',
        'facesmith_requests_total{path="/detect",status="400"} 1',
        'facesmith_requests_total{path="other",status="404"} 1',
        "facesmith_request_seconds_count 4",
        'facesmith_batch_size_bucket{le="1"} 3',
        'facesmith_faces_total{model="tiny"} 3',
        "facesmith_pictures_in_work 0",
        "facesmith_queue_length 0",
        "facesmith_held_bytes 0",
    ):
        assert expected in lines
    sample = re.compile(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [0-9.e+-]+')
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)


def test_openapi(tiny: Running) -> None:
    described = tiny.ask("/openapi.json").json()
    detect = described["paths"]["/detect"]["post"]
    assert set(detect["requestBody"]["content"]) == {"image/*", "application/octet-stream", "multipart/form-data"}
    names = {parameter["name"] for parameter in detect["parameters"]}
    assert names == {"model", "threshold", "size", "landmarks", "mesh", "vertices", "format"}
    assert {"/models", "/health", "/metrics"} <= set(described["paths"])
    assert tiny.ask("/docs").status == 404  # it would load scripts from elsewhere


def test_the_page_needs_nothing_from_elsewhere(tiny: Running) -> None:
    from facesmith.serve.app import STATIC

    page = tiny.ask("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    local = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert {"static/page.js", "static/page.css"} <= set(local)
    for path in local:
        assert tiny.ask(f"/{path}").status == 200
    for file in STATIC.iterdir():
        imported = re.findall(r'from "\./([^"]+)"', file.read_text())
        assert all((STATIC / name).exists() for name in imported)
        assert not re.search(r"//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.[a-z]", file.read_text())


def test_meshes() -> None:
    picture = images.encode("portrait.png", paint_portrait(320, 240, (160.0, 110.0), 50.0))
    models = [load(name, threads=1) for name in ("retinaface-mobilenet0.25", "retinaface-mobilenet0.25-mesh")]
    with serving(*models) as running:
        assert running.ask("/detect", picture).json()["model"] == models[0].name
        answer = running.ask("/detect?mesh=true&vertices=true", picture).json()
        triangles = running.ask(f"/models/{models[1].name}/triangles").json()
        drawn = running.ask("/detect?mesh=true&format=png", picture)
        plain = running.ask("/detect?format=png", picture)
        low = running.ask("/detect?mesh=true&threshold=0.05", picture)
    assert low.status == 422
    assert "0.1 or more" in low.json()["error"]
    (face,) = answer["faces"]
    assert answer["model"] == models[1].name
    assert np.abs(np.array(face["landmarks"]) - LANDMARKS * 50 - (160, 110)).max() < 15
    assert len(face["pose"]) == 3
    assert len(face["landmarks68"]) == 68
    assert np.max(triangles) == len(face["vertices"]) - 1
    centre = np.s_[100:140, 140:180]
    blue = [images.read(one.body)[centre][..., 2].mean() for one in (plain, drawn)]
    assert blue[1] > blue[0] + 10


def test_results_are_those_of_the_library() -> None:
    detector = load(threads=1)
    picture = images.encode("portrait.png", paint_portrait(320, 240, (160.0, 110.0), 50.0))
    expected = detector.detect(picture, threshold=0.1).to_dicts()
    for batch in (1, 4):
        with serving(detector, batch=batch) as running:
            found = json.loads(running.ask("/detect?threshold=0.1", picture).body)["faces"]
        assert found == expected


def test_png_helper() -> None:
    assert images.read(png(3, 2, 7)).tolist() == [[[7, 7, 7]] * 3] * 2
