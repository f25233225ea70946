import xml.etree.ElementTree as ET

import numpy as np

from facesmith.search.pareto import front, svg


def test_front_by_hand() -> None:
    costs = np.array([3.0, 1, 2, 2, 4, 5, 1])
    scores = np.array([5.0, 1, 4, 3, 5, 6, 2])
    assert front(costs, scores).tolist() == [6, 2, 0, 5]


def test_front_is_what_nothing_dominates() -> None:
    rng = np.random.default_rng(0)
    costs, scores = rng.integers(0, 40, 500).astype(float), rng.integers(0, 40, 500).astype(float)
    dominated = (
        (costs[None] <= costs[:, None])
        & (scores[None] >= scores[:, None])
        & ((costs[None] < costs[:, None]) | (scores[None] > scores[:, None]))
    ).any(1)
    chosen = front(costs, scores)
    assert {(costs[i], scores[i]) for i in chosen} == set(zip(costs[~dominated], scores[~dominated], strict=True))
    assert np.all(np.diff(costs[chosen]) > 0)
    assert np.all(np.diff(scores[chosen]) > 0)


def test_picture_is_small_well_formed_and_shows_the_marks() -> None:
    rng = np.random.default_rng(0)
    costs, scores = rng.uniform(4e7, 6.5e7, 100_000), rng.uniform(9, 16, 100_000)
    marks = {"best": (6.4e7, 16.4), "released <0.5G>": (6.54e7, 13.18)}
    text = svg(costs, scores, marks, cost="MACs & more", score="score", limit=6.5e7)
    assert len(text) < 3_000_000
    root = ET.fromstring(text)
    words = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"best", "released <0.5G>", "MACs & more", "score", "60M"} <= words
    width, height = (float(n) for n in root.attrib["viewBox"].split()[2:])
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height


def test_one_point_is_a_picture_too() -> None:
    text = svg(np.array([5.0]), np.array([1.0]), {}, cost="ms", score="score", limit=5.0)
    ET.fromstring(text)
