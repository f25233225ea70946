"""Prediction files: every format read and written, recognised, and refused with file and line where it is
wrong.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facesmith.errors import LabelError
from facesmith.evaluation import predictions as files
from facesmith.evaluation.ellipses import Ellipses
from facesmith.evaluation.predictions import Predictions, align, restrict
from facesmith.faces import Faces

DATA = Path(__file__).parents[3] / "shared" / "data" / "dev"


def some_predictions(landmarks: bool = False) -> Predictions:
    rng = np.random.default_rng(7)
    found = Predictions()
    for name, n in (
        ("0--Parade/0_Parade_a_1", 3),
        ("0--Parade/0_Parade_a_2", 0),
        ("1--Handshaking/x.y_3", 40),
    ):
        corners = rng.uniform(-20, 900, (n, 2))
        boxes = np.concatenate((corners, corners + rng.uniform(0, 300, (n, 2))), axis=1)
        points = rng.uniform(0, 900, (n, 5, 2)) if landmarks else None
        found[name] = Faces(boxes, rng.uniform(-3, 1, n), points)
    return found


def assert_equal(read: Predictions, written: Predictions, pixels: float, scores: float) -> None:
    assert list(read) == list(written)
    for name, faces in written.items():
        assert len(read[name]) == len(faces)
        assert read[name].boxes == pytest.approx(faces.boxes, abs=pixels)
        assert read[name].scores == pytest.approx(faces.scores, abs=scores)
        if faces.landmarks is not None and len(faces):
            assert read[name].landmarks is not None
            assert read[name].landmarks == pytest.approx(faces.landmarks, abs=pixels)


class TestRoundTrips:
    @pytest.mark.parametrize(
        ("write", "target", "pixels", "scores", "landmarks"),
        [
            (files.write_wider_folder, "folder", 2e-4, 0, False),
            (files.write_fddb_text, "all.txt", 2e-4, 0, False),
            (files.write_coco_json, "all.json", 2e-4, 1e-7, True),
            (files.write_jsonl, "all.jsonl", 0.006, 1e-5, True),
        ],
    )
    def test_what_is_written_is_recognised_and_read(
        self,
        tmp_path: Path,
        write: Callable[[Predictions, Path], None],
        target: str,
        pixels: float,
        scores: float,
        landmarks: bool,
    ) -> None:
        written = some_predictions(landmarks)
        write(written, tmp_path / target)
        assert_equal(files.read(tmp_path / target), written, pixels, scores)

    def test_whole_numbers_survive_exactly(self, tmp_path: Path) -> None:
        written = {"a/b": Faces(np.array([[1, 2, 30, 41]]), np.array([0.1]))}
        files.write_wider_folder(written, tmp_path / "f")
        assert (tmp_path / "f/a/b.txt").read_text() == "b\n1\n1.0 2.0 29.0 39.0 0.1\n"
        files.write_fddb_text(written, tmp_path / "f.txt")
        for read in (files.read(tmp_path / "f"), files.read(tmp_path / "f.txt")):
            assert read["a/b"].boxes.tolist() == [[1, 2, 30, 41]]
            assert read["a/b"].scores[0] == np.float32(0.1)

    def test_ellipses(self, tmp_path: Path) -> None:
        rows = np.array([[30.1, 20.7, -1.3, 1 / 3, 9], [1, 1, 0, 2, 3]])
        files.write_fddb_text(
            {"a": Ellipses(rows, np.array([0.7, 1e-9])), "b": Ellipses(rows[:0], rows[:0, 0])},
            tmp_path / "e.txt",
        )
        read = files.read_fddb_ellipses(tmp_path / "e.txt")
        assert (read["a"].shapes == rows).all()
        assert read["a"].scores.tolist() == [0.7, 1e-9]
        assert len(read["b"]) == 0
        with pytest.raises(LabelError, match="holds ellipses"):
            files.read(tmp_path / "e.txt")
        files.write_fddb_text(some_predictions(), tmp_path / "r.txt")
        with pytest.raises(LabelError, match="5 numbers, expected 6"):
            files.read_fddb_ellipses(tmp_path / "r.txt")

    def test_coco_ids_of_an_annotation_file(self, tmp_path: Path) -> None:
        written = some_predictions()
        images = [{"id": 70 + i, "file_name": f"{name}.jpg"} for i, name in enumerate(written)]
        annotation = tmp_path / "annotation.json"
        annotation.write_text(json.dumps({"images": images, "annotations": []}))
        files.write_coco_json(written, tmp_path / "results.json", annotation)
        document = json.loads((tmp_path / "results.json").read_text())
        assert {row["image_id"] for row in document} == {70, 72}
        assert set(document[0]) >= {"image_id", "category_id", "bbox", "score"}
        for listed in (annotation, images):
            assert_equal(files.read_coco_json(tmp_path / "results.json", listed), written, 2e-4, 1e-7)
        with pytest.raises(LabelError, match="image_id 70 is a number; give the annotation file"):
            files.read(tmp_path / "results.json")
        with pytest.raises(LabelError, match="image_id 70 is not in the list"):
            files.read_coco_json(tmp_path / "results.json", images[1:])
        with pytest.raises(LabelError, match="1 predicted images are not in the list"):
            files.write_coco_json(written, tmp_path / "results.json", images[1:])

    def test_coco_results_load_in_pycocotools(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        coco = pytest.importorskip("pycocotools.coco")
        written = some_predictions()
        images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate(written)]
        annotation = tmp_path / "annotation.json"
        annotation.write_text(
            json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "face"}]})
        )
        files.write_coco_json(written, tmp_path / "results.json", annotation)
        loaded = coco.COCO(str(annotation)).loadRes(str(tmp_path / "results.json"))
        capsys.readouterr()
        assert len(loaded.getAnnIds(imgIds=[2])) == 40

    def test_coco_with_file_names_for_ids(self, tmp_path: Path) -> None:
        path = tmp_path / "results.json"
        rows = [{"image_id": "b/a.jpg", "bbox": [1, 2, 3, 4], "score": 0.5}]
        path.write_text(json.dumps(rows))
        assert files.read(path)["b/a"].boxes.tolist() == [[1, 2, 4, 6]]
        images = [{"id": 1, "file_name": "b/a.jpg"}, {"id": 2, "file_name": "c.jpg"}]
        read = files.read_coco_json(path, images)
        assert {name: len(faces) for name, faces in read.items()} == {"b/a": 1, "c": 0}

    def test_jsonl_sizes(self, tmp_path: Path) -> None:
        written = some_predictions()
        files.write_jsonl(written, tmp_path / "a.jsonl", dict.fromkeys(written, (640, 480)))
        row = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
        assert (row["width"], row["height"]) == (640, 480)

    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_text("old")
        with pytest.raises(KeyError):
            files.write_jsonl(some_predictions(), path, {})
        assert path.read_text() == "old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]


class TestWiderFolder:
    def write(self, folder: Path, text: str, name: str = "0--A/x.txt") -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return folder

    @pytest.mark.parametrize("first", ["x", "x.jpg", "0--A/x.jpg", "/data/0--A/x.jpg"])
    def test_the_name_may_have_folder_and_suffix(self, tmp_path: Path, first: str) -> None:
        read = files.read(self.write(tmp_path, f"{first}\n1\n10 20 30 40 0.5\n\n"))
        assert read["0--A/x"].boxes.tolist() == [[10, 20, 40, 60]]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", r"x.txt: 0 lines; expected the image's name"),
            ("y\n0\n", r"x.txt:1: names image 'y', but the file is for 'x'"),
            ("x\nmany\n", r"x.txt:2: expected the number of faces of 'x', found 'many'"),
            ("x\n-1\n", r"x.txt:2: expected the number of faces"),
            ("x\n2\n1 2 3 4 .5\n", r"x.txt:2: says 2 faces, but 1 lines follow"),
            ("x\n1\n1 2 3 4 .5\n1 2 3 4 .4\n", r"x.txt:2: says 1 faces, but 2 lines follow"),
            ("x\n2\n1 2 3 4 .5\n1 2 3 4\n", r"x.txt:4: 4 numbers, expected 5: 'x y width height score'"),
            ("x\n1\n1 2 3 4 high\n", r"x.txt:3: expected 'x y width height score', found '1 2 3 4 high'"),
            ("x\n2\n1 2 3 4 .5\n1 2 3 4 nan\n", r"x.txt:4: not finite in '1 2 3 4 nan'"),
            ("x\n1\n1 2 inf 4 .5\n", r"x.txt:3: not finite"),
            ("x\n1\n1 2 -3 4 .5\n", r"x.txt:3: a negative size in '1 2 -3 4 .5'"),
        ],
    )
    def test_malformed(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(LabelError, match=message):
            files.read(self.write(tmp_path, text))

    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match=r"no \.txt file below it"):
            files.read(tmp_path)


class TestFddbText:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("\n", "f.txt: is empty"),
            ("a\n1\n1 2 3 4 .5\nb\n2\n1 2 3 4 .5\n", r"f.txt:5: says 2 faces for 'b', but 1 lines"),
            ("a\n2\n1 2 3 4 .5\nb\n0\n", r"f.txt:2: says 2 faces for 'a', but 1 lines"),
            ("a\n1\n1 2 3 4 .5\n1 2 3 4 .4\nb\n0\n", r"f.txt:4: expected an image's name.*count too small"),
            ("a\n0\na.jpg\n0\n", r"f.txt:3: 'a' again; it is in line 1 already"),
            ("a\n", r"f.txt:1: the file ends after the name 'a'"),
            ("a\nb\n", r"f.txt:2: expected the number of faces of 'a', found 'b'"),
            ("a\n1\n1 2 3 4\n", r"f.txt:3: 4 numbers, expected 5"),
            ("a\n1\n1 2 3 4 x y\n", r"f.txt:3: expected 'x y width height score', found '1 2 3 4 x y'"),
            ("a\n2\n1 2 3 4 .5\n1 2 3 4 5 .5\n", r"f.txt:4: 6 numbers, expected 5"),
            ("a\n1\n1 2 3 -4 .5\n", r"f.txt:3: a negative size"),
            ("a\n1\n1 2 3 4 inf\n", r"f.txt:3: not finite"),
        ],
    )
    def test_malformed(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "f.txt").write_text(text)
        with pytest.raises(LabelError, match=message):
            files.read(tmp_path / "f.txt")

    def test_malformed_ellipses(self, tmp_path: Path) -> None:
        (tmp_path / "f.txt").write_text("a\n2\n3 2 0 4 5 .5\n3 -2 0 4 5 .5\n")
        with pytest.raises(LabelError, match=r"f.txt:4: a negative size .*'major minor angle"):
            files.read_fddb_regions(tmp_path / "f.txt")

    def test_suffixes_and_trailing_blanks(self, tmp_path: Path) -> None:
        (tmp_path / "f.txt").write_text("2002/a.jpg \n 1 \n1 2 3 4  .5 \n2002/b\n0\n\n \n")
        read = files.read(tmp_path / "f.txt")
        assert {name: len(faces) for name, faces in read.items()} == {"2002/a": 1, "2002/b": 0}


class TestJson:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "cannot be read as JSON"),
            ('{"a": 1}', "expected a list of detections"),
            ('[{"image_id": "a", "score": 1}]', r"detection 0: needs image_id, bbox.*KeyError: 'bbox'"),
            ('[{"image_id": "a", "bbox": [1, 2, 3], "score": 1}]', "expected four finite numbers"),
            ('[{"image_id": "a", "bbox": [1, 2, 3, 4], "score": NaN}]', "expected four finite numbers"),
            ('[{"image_id": "a", "bbox": [1, 2, -3, 4], "score": 1}]', "has a negative size"),
            ('[{"image_id": "a", "bbox": [1, 2, 3, 4], "score": 1, "keypoints": [1]}]', "keypoints of 15"),
            ('[{"image_id": "a", "bbox": "none", "score": 1}]', "detection 0: needs"),
            ("[3]", "detection 0: needs"),
            ('{"images": [{"id": 1}], "annotations": []}', "every image needs 'id' and 'file_name'"),
            (
                '{"annotations": [], "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.png"}]}',
                "share an id or a name",
            ),
        ],
    )
    def test_malformed_coco(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(LabelError, match=message):
            files.read(tmp_path / "c.json")

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('{"path": "b.jpg", "faces": [', r"j.jsonl:2: expected .*JSONDecodeError"),
            ('{"path": "b.jpg"}', r"j.jsonl:2: expected .*KeyError: 'faces'"),
            ('{"path": "b.jpg", "faces": [{"box": [1, 2, 3, 4]}]}', r"j.jsonl:2: .*KeyError: 'score'"),
            ('{"path": "b.jpg", "faces": [{"box": [1, 2, 3], "score": 1}]}', r"j.jsonl:2: .*ValueError"),
            (
                '{"path": "b.jpg", "faces": [{"box": [1, 2, 3, NaN], "score": 1}]}',
                r"j.jsonl:2: .*NaN or infinity",
            ),
            (
                '{"path": "b.jpg", "faces": [{"box": [1, 2, 3, 4], "score": Infinity}]}',
                r"j.jsonl:2: .*infinity",
            ),
            (
                '{"path": "b.jpg", "faces": [{"box": [100, 80, 20, 30], "score": 1}]}',
                r"j.jsonl:2: box .* negative size.*Was x, y, width, height written",
            ),
            ('{"path": "a.png", "faces": []}', r"j.jsonl:2: 'a' again; it is in line 1"),
            ("[]", r"j.jsonl:2: expected"),
        ],
    )
    def test_malformed_jsonl(self, tmp_path: Path, line: str, message: str) -> None:
        (tmp_path / "j.jsonl").write_text('{"path": "a.jpg", "faces": []}\n' + line + "\n")
        with pytest.raises(LabelError, match=message):
            files.read(tmp_path / "j.jsonl")

    def test_empty_jsonl(self, tmp_path: Path) -> None:
        (tmp_path / "j.jsonl").write_text("\n")
        with pytest.raises(LabelError, match="is empty"):
            files.read_jsonl(tmp_path / "j.jsonl")

    def test_missing_and_binary_files(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match="cannot be read as predictions"):
            files.read(tmp_path / "none.txt")
        (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        with pytest.raises(LabelError, match="cannot be read as predictions"):
            files.read(tmp_path / "picture.jpg")


class TestAlignment:
    names = ("0--A/x", "0--A/y", "1--B/x")

    def test_order_is_that_of_the_names(self) -> None:
        assert align({"1--B/x": 3, "0--A/x": 1, "0--A/y": 2}, self.names) == [1, 2, 3]

    def test_leading_folders_and_suffixes_do_not_matter(self) -> None:
        keys = {"/data/images/0--A/x.jpg": 1, "images\\0--A\\y.JPG": 2, "./1--B/x": 3}
        assert align(keys, self.names) == [1, 2, 3]

    def test_a_name_is_matched_at_a_folder_only(self) -> None:
        with pytest.raises(LabelError, match=r"1 image that .* does not have: '10--A/x'"):
            align({"10--A/x": 1}, ["0--A/x"])

    def test_unknown_images(self) -> None:
        with pytest.raises(LabelError, match=r"2 images .*: '0--A/z'; did you mean '0--A/\w'\?; '7'"):
            align({"0--A/x": 1, "0--A/z": 1, "7": 1}, self.names)

    def test_missing_images(self) -> None:
        with pytest.raises(
            LabelError, match=r"no predictions for 2 of 3 images: '0--A/y', '1--B/x'\. An image without"
        ):
            align({"0--A/x": 1}, self.names)

    def test_two_keys_for_one_image(self) -> None:
        with pytest.raises(LabelError, match="'0--A/x' and 'v/0--A/x' are both for image '0--A/x'"):
            align({"0--A/x": 1, "v/0--A/x": 2}, self.names)

    def test_restrict(self) -> None:
        found = {"v/1--B/x.jpg": 3, "0--A/x": 1, "0--A/q": 2}
        assert restrict(found, self.names[1:]) == {"1--B/x": 3}


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data (../shared/data/dev) is not here")
def test_official_ellipse_list_is_in_this_format() -> None:
    read = files.read_fddb_ellipses(DATA / "ground-truth" / "FDDB-folds" / "FDDB-fold-01-ellipseList.txt")
    assert len(read) == 290
    assert read["2002/08/11/big/img_591"].shapes[0].tolist() == [
        123.5833,
        85.5495,
        1.265839,
        269.6934,
        161.7812,
    ]
