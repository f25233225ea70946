"""Detection in shards: the plan, a worker, and a whole run on a local Ray that is killed and goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import CELL
from facesmith import cli, images, load
from facesmith.cluster.plan import FACES, PICTURES, Plan, Shard, shard_file
from facesmith.cluster.run import Totals, totals
from facesmith.cluster.worker import Worker
from facesmith.errors import ConfigError
from facesmith.faces import Faces
from facesmith.runtime import Detector


def bright(path: Path, faces: int) -> None:
    """A picture in which the tiny network sees so many faces."""
    image = np.zeros((2 * CELL, 4 * CELL, 3), np.uint8)
    image[:CELL, : faces * CELL] = 250
    images.write(path, image)


def find(detector: Detector, image: images.RGB) -> Faces:
    return detector.detect(image, size="original", threshold=0.9)


class TestPlan:
    NAMES = [f"p/{i}.jpg" for i in range(120)]

    def test_a_new_one_and_the_same_again(self, tmp_path: Path) -> None:
        plan = Plan.begin(tmp_path, iter(self.NAMES), {"size": "auto", "tiles": None})
        assert len(plan) == 3
        assert [len(shard.paths) for shard in plan.left()] == [50, 50, 20]
        (tmp_path / PICTURES).mkdir()
        shard_file(tmp_path, PICTURES, 1).touch()
        again = Plan.begin(tmp_path, iter(["other.jpg"]), {"tiles": None, "size": "auto"})
        assert again.paths == self.NAMES
        assert [(shard.number, shard.paths[0]) for shard in again.left()] == [(0, "p/0.jpg"), (2, "p/100.jpg")]

    def test_every_picture_is_in_one_shard(self, tmp_path: Path) -> None:
        names = [f"{i}.jpg" for i in range(12_345)]
        shards = list(Plan.begin(tmp_path, names, {}).left())
        assert [path for shard in shards for path in shard.paths] == names
        assert 100 <= len(shards) <= 102

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        names = ["line\nbreak.jpg", os.fsdecode(b"\xff.jpg"), 'quo"te.jpg']
        Plan.begin(tmp_path, names, {})
        assert Plan.begin(tmp_path, [], {}).paths == names

    def test_other_settings(self, tmp_path: Path) -> None:
        Plan.begin(tmp_path, self.NAMES, {"size": "auto", "model": "a"})
        with pytest.raises(ConfigError, match=r"other settings \(model: 'a', now 'b'\); name another folder"):
            Plan.begin(tmp_path, self.NAMES, {"size": "auto", "model": "b"})

    def test_a_changed_list(self, tmp_path: Path) -> None:
        Plan.begin(tmp_path, self.NAMES, {})
        (tmp_path / "paths.jsonl").write_text('"a.jpg"\n')
        with pytest.raises(ConfigError, match=r"paths\.jsonl: was changed since the run began"):
            Plan.begin(tmp_path, self.NAMES, {})

    def test_no_pictures(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="there are no pictures"):
            Plan.begin(tmp_path, [], {})
        assert list(tmp_path.iterdir()) == []


class TestWorker:
    def work(self, tiny_model: Path, folder: Path, *paths: str) -> dict[str, Any]:
        loader = partial(load, tiny_model, threads=1)
        return Worker(loader, find, folder, folder / "out")({"number": 7, "paths": list(paths)})

    def test_two_tables(self, tiny_model: Path, tmp_path: Path) -> None:
        pq = pytest.importorskip("pyarrow.parquet")
        bright(tmp_path / "two.png", 2)
        bright(tmp_path / "none.png", 0)
        (tmp_path / "broken.jpg").write_bytes(b"no picture")
        counts = self.work(tiny_model, tmp_path, "two.png", "none.png", "broken.jpg", "absent.jpg")
        assert counts == {"number": 7, "pictures": 4, "unreadable": 2}
        faces = pq.read_table(shard_file(tmp_path / "out", FACES, 7)).to_pylist()
        assert [(row["path"], row["face"], row["y1"], row["x2"] - row["x1"]) for row in faces] == [
            ("two.png", 0, 0, CELL),
            ("two.png", 1, 0, CELL),
        ]
        pictures = pq.read_table(shard_file(tmp_path / "out", PICTURES, 7)).to_pylist()
        assert [(row["path"], row["width"], row["height"], row["faces"]) for row in pictures] == [
            ("two.png", 64, 32, 2),
            ("none.png", 64, 32, 0),
            ("broken.jpg", None, None, None),
            ("absent.jpg", None, None, None),
        ]
        assert "broken.jpg" in pictures[2]["error"]
        assert totals(tmp_path / "out") == Totals(4, 2, 2)

    def test_an_interrupted_write_is_not_done(
        self, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pq = pytest.importorskip("pyarrow.parquet")
        bright(tmp_path / "two.png", 2)
        plan = Plan.begin(tmp_path / "out", ["two.png"], {})
        whole, written = pq.write_table, list[Path]()

        def stopped(table: object, path: Path) -> None:
            written.append(path)
            if len(written) == 2:
                path.write_bytes(b"half a")
                raise KeyboardInterrupt
            whole(table, path)

        with monkeypatch.context() as patch:
            patch.setattr(pq, "write_table", stopped)
            with pytest.raises(KeyboardInterrupt):
                self.work(tiny_model, tmp_path, "two.png")
        assert list(plan.left()) == [Shard(0, ["two.png"])]
        assert [path.name for path in (tmp_path / "out" / PICTURES).iterdir()] == []


class TestFlags:
    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--cluster", "local"], "--cluster ADDRESS and --shards DIR, the folder of its results, belong together"),
            (["--shards", "x"], "belong together"),
            (["--cluster", "local", "--shards", "x", "--json"], "writes Parquet files only"),
            (["--cluster", "local", "--shards", "x", "--mesh"], "writes Parquet files only"),
        ],
    )
    def test_that_contradict(self, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["detect", "a.jpg", *flags]) == 2
        assert message in capsys.readouterr().err


def test_a_killed_run_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    """On a local Ray: killed after the first shard, started again, every picture is there once."""
    pytest.importorskip("ray.data")
    pq = pytest.importorskip("pyarrow.parquet")
    for i in range(150):
        bright(tmp_path / f"in/{i:03}.png", i % 4)
    command = [sys.executable, "-m", "facesmith", "detect", "in", "--cluster", "local", "--shards", "out"]
    command += ["--model", str(tiny_model), "--size", "original", "--threshold", "0.9"]
    environment = os.environ | {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        while first.poll() is None and not shard_file(tmp_path / "out", PICTURES, 0).exists():
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.wait()
    done = len(list((tmp_path / "out" / PICTURES).glob("*.parquet")))
    assert done >= 1, (tmp_path / "log").read_text()
    second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "out: 150 pictures, 223 faces, 0 pictures unreadable, 3 shards" in second.stdout
    paths = [row["path"] for row in pq.read_table(tmp_path / "out" / PICTURES).to_pylist()]
    assert sorted(paths) == [f"in/{i:03}.png" for i in range(150)]
    faces = pq.read_table(tmp_path / "out" / FACES).to_pylist()
    assert len(faces) == 223
    assert len({(row["path"], row["face"]) for row in faces}) == 223
    assert json.loads((tmp_path / "out/run.json").read_text())["pictures"] == 150
