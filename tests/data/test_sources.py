import os
from pathlib import Path

import numpy as np
import pytest

from facesmith import images
from facesmith.data.sources import Source, SourceConfig, find_sources, sources_or_all
from facesmith.errors import ImageError, LabelError


def picture(path: Path, seed: int = 0) -> Path:
    images.write(path, np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two label files and a background."""
    for i, name in enumerate(("wide/a.png", "wide/b.png", "street/c.png", "background/x/d.png", "background/e.png")):
        picture(tmp_path / name, i)
    (tmp_path / "background/notes.md").write_text("no picture")
    (tmp_path / "wide.txt").write_text("# wide/a.png\n1 2 3 4\n# wide/b.png\n5 6 7 8\n")
    (tmp_path / "street.txt").write_text("# street/c.png\n1 1 9 9\n")
    return tmp_path


class TestLayouts:
    def test_label_files_and_background(self, data: Path) -> None:
        street, wide, background = find_sources(data)
        assert [s.config for s in (street, wide, background)] == [
            SourceConfig("street", 1),
            SourceConfig("wide", 2),
            SourceConfig("background", 2),
        ]
        assert wide.paths == [data / "wide/a.png", data / "wide/b.png"]
        assert [p.name for p in background.paths] == ["e.png", "d.png"]
        assert all(len(label.boxes) == 0 for label in background.labels)

    def test_wider_face_as_published(self, tmp_path: Path) -> None:
        picture(tmp_path / "WIDER_train/images/0--Parade/a.jpg")
        (tmp_path / "wider_face_split").mkdir()
        (tmp_path / "wider_face_split/wider_face_train_bbx_gt.txt").write_text(
            "0--Parade/a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n"
        )
        (tmp_path / "wider_face_split/readme.txt").write_text("hello")
        (source,) = find_sources(tmp_path)
        assert source.paths[0].is_file()
        assert source.labels[0].boxes.tolist() == [[1, 2, 4, 6]]

    def test_retinafaces(self, tmp_path: Path) -> None:
        picture(tmp_path / "train/images/0--Parade/a.jpg")
        (tmp_path / "train/label.txt").write_text("# 0--Parade/a.jpg\n1 2 3 4\n")
        (source,) = find_sources(tmp_path)
        assert source.config.name == "label"
        assert source.paths[0].is_file()

    def test_shares_and_completeness_as_configured(self, data: Path) -> None:
        configs = (SourceConfig("wide", 0.9), SourceConfig("street", 0.1, complete=False))
        wide, street = find_sources(data, configs)
        assert (wide.config, street.config) == configs
        assert wide.load(0, None).complete
        assert not street.load(0, None).complete


class TestErrors:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match=r"no labels found; expected NAME\.txt, \.json or \.xml label files"):
            find_sources(tmp_path)
        with pytest.raises(LabelError, match=r"absent: no such file or folder; expected NAME"):
            find_sources(tmp_path / "absent")

    def test_a_source_that_is_missing(self, data: Path) -> None:
        with pytest.raises(LabelError, match="no source named film; there are background, street, wide"):
            find_sources(data, [SourceConfig("wide"), SourceConfig("film")])

    def test_an_image_that_is_missing(self, data: Path) -> None:
        (data / "wide/b.png").unlink()
        with pytest.raises(LabelError, match=r"wide: 1 of its 2 images are missing, the first is .*b\.png"):
            find_sources(data)

    def test_a_malformed_label_file(self, data: Path) -> None:
        (data / "street.txt").write_text("# street/c.png\n1 1 9\n")
        with pytest.raises(LabelError, match=r"street\.txt:2: 3 numbers"):
            find_sources(data)


class TestSharesOrAll:
    SHARES = (SourceConfig("wide", 0.7), SourceConfig("street", 0.3, complete=False))

    def test_other_folders_use_every_source_by_its_size(self, data: Path) -> None:
        for shares in ((), (*self.SHARES, SourceConfig("film"))):
            found = [(s.config.name, s.config.share) for s in sources_or_all(data, shares)]
            assert found == [("street", 1), ("wide", 2), ("background", 2)]

    def test_the_shares_where_their_sources_are(self, data: Path) -> None:
        assert tuple(source.config for source in sources_or_all(data, self.SHARES)) == self.SHARES


class TestLandmarksAFace:
    FIVE, NINETEEN = "1 1 9 9" + " 3 3 0" * 5, "1 1 9 9" + " 3 3 0" * 19

    def test_sources_without_any_take_the_others_number(self, data: Path) -> None:
        (data / "street.txt").write_text(f"# street/c.png\n{self.NINETEEN}\n")
        shapes = {s.config.name: s.load(0, None).landmarks.shape for s in find_sources(data)}
        assert shapes == {"street": (1, 19, 2), "wide": (1, 19, 2), "background": (0, 19, 2)}

    def test_two_numbers_are_an_error(self, data: Path) -> None:
        (data / "street.txt").write_text(f"# street/c.png\n{self.NINETEEN}\n")
        (data / "wide.txt").write_text(f"# wide/a.png\n{self.FIVE}\n")
        with pytest.raises(LabelError, match="differ in landmarks a face: street has 19, wide has 5"):
            find_sources(data)
        assert len(find_sources(data, [SourceConfig("street"), SourceConfig("background")])) == 2


class TestLoad:
    def source(self, data: Path) -> Source:
        return next(s for s in find_sources(data) if s.config.name == "wide")

    def test_a_sample(self, data: Path) -> None:
        sample = self.source(data).load(1, None)
        assert sample.image.tolist() == images.read(data / "wide/b.png").tolist()
        assert sample.boxes.tolist() == [[5, 6, 12, 14]]
        assert sample.landmarks.shape == (1, 5, 2)
        assert sample.ignored.tolist() == [False]

    def test_the_cache_gives_the_same_pixels_and_decodes_once(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, cache = self.source(data), tmp_path / "cache"
        plain = source.load(0, None).image
        first = np.array(source.load(0, cache).image)
        monkeypatch.setattr(images, "read", lambda path: pytest.fail(f"{path} was decoded again"))
        second = source.load(0, cache).image
        assert plain.tolist() == first.tolist() == second.tolist()
        assert not second.flags.writeable

    def test_a_changed_picture_is_decoded_again(self, data: Path, tmp_path: Path) -> None:
        source, cache = self.source(data), tmp_path / "cache"
        source.load(0, cache)
        picture(data / "wide/a.png", seed=9)
        os.utime(data / "wide/a.png", ns=(1, 1))  # however coarse the clock
        assert source.load(0, cache).image.tolist() == images.read(data / "wide/a.png").tolist()

    def test_an_interrupted_write_leaves_nothing(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, cache = self.source(data), tmp_path / "cache"

        def stopped(path: Path, pixels: object) -> None:
            path.write_bytes(b"half a")
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(np, "save", stopped)
            with pytest.raises(KeyboardInterrupt):
                source.load(0, cache)
        assert list(cache.iterdir()) == []
        assert source.load(0, cache).image.shape == (12, 16, 3)

    def test_a_damaged_picture_is_named(self, data: Path, tmp_path: Path) -> None:
        (data / "wide/a.png").write_bytes(b"\x89PNG, not")
        with pytest.raises(ImageError, match=r"a\.png"):
            self.source(data).load(0, tmp_path / "cache")
