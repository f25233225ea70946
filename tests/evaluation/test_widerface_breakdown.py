"""WIDER FACE by face size, by attribute, image by image."""

import json

import numpy as np
import pytest
from detection_cases import FAR, faces, wider_truth

from facesmith.errors import ConfigError
from facesmith.evaluation import widerface


class TestBreakdown:
    labels = wider_truth({"a": [(0, 0, 10, 10), (100, 0, 40, 40)], "b": [(0, 0, 10, 12), FAR]}, ignored=[("b", 1)])
    found = {
        "a": faces((0, 0, 10, 10, 0.9), (100, 0, 40, 40, 0.4), (300, 300, 9, 9, 0.8)),
        "b": faces((200, 0, 50, 50, 0.7), (*FAR, 0.95), (0, 300, 10, 10, 0.1)),
    }

    def test_sizes(self) -> None:
        small, large = widerface.breakdown(self.found, self.labels, threshold=0.5).sizes
        assert (small.smallest, small.below, small.faces) == (8, 16, 2)
        assert (small.recall, small.recall_above_threshold) == (0.5, 0.5)
        assert (large.smallest, large.faces, large.recall, large.recall_above_threshold) == (32, 1, 1, 0)
        # the false box of 50 px at .7 ranks before the face at .4; those of 9 and 10 px do not count here
        assert large.average_precision == pytest.approx(0.5)
        assert small.average_precision == pytest.approx(0.5)

    def test_images_and_false_boxes(self) -> None:
        table = widerface.breakdown(self.found, self.labels, threshold=0.5)
        assert [(row.name, row.faces, row.missed, row.false) for row in table.images] == [
            ("a", 2, 1, 1),
            ("b", 1, 1, 1),
        ]
        assert [(row.name, row.score) for row in table.false_boxes] == [
            ("a", pytest.approx(0.8)),
            ("b", pytest.approx(0.7)),
            ("b", pytest.approx(0.1)),
        ]
        assert table.false_boxes[0].box == (300, 300, 309, 309)
        assert len(widerface.breakdown(self.found, self.labels, threshold=0.5, longest=1).images) == 1
        json.dumps(table.to_dict())

    def test_attributes(self) -> None:
        blur = np.array([0, 2, 2, 0], np.uint8)
        labels = widerface.Truth(
            self.labels.names,
            self.labels.boxes,
            self.labels.offsets,
            self.labels.subsets,
            {"blur": blur},
            None,
        )
        rows = widerface.breakdown(self.found, labels, threshold=0.5).attributes
        assert [(row.attribute, row.level, row.faces, row.recall) for row in rows] == [
            ("blur", "clear", 1, 1.0),
            ("blur", "heavy", 2, 0.5),
        ]

    def test_unknown_subset(self) -> None:
        with pytest.raises(ConfigError, match="no subset 'hard'; there are all"):
            widerface.breakdown(self.found, self.labels, threshold=0.5, subset="hard")
