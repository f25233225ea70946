from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facesmith.errors import LabelError
from facesmith.evaluation import verification
from facesmith.evaluation.embedding import Embeddings
from facesmith.evaluation.result import Provenance
from facesmith.evaluation.verification import CFP_FP, LFW, Pairs, Templates

Array = npt.NDArray[np.float64]
PROVENANCE = Provenance("test")


def embeddings(features: npt.ArrayLike, **more: Any) -> Embeddings:
    array = np.asarray(features, np.float32)
    return Embeddings(tuple(f"i{k}" for k in range(len(array))), array, **more)


def pairs_of(left: list[int], right: list[int], same: list[bool]) -> Pairs:
    images = tuple(f"i{k}" for k in range(max(left + right) + 1))
    return Pairs(LFW, images, np.array(left), np.array(right), np.array(same))


def random_pairs(seed: int, n: int = 60, noise: float = 0.6) -> tuple[Array, Pairs]:
    """Features (m, d) and n pairs, half of one person, mixed."""
    rng = np.random.default_rng(seed)
    persons = rng.normal(0, 1, (15, 6))
    who = np.repeat(np.arange(15), 4)
    features = persons[who] + rng.normal(0, noise, (60, 6))
    same = np.tile([True, False, False, True], n // 4 + 1)[:n]
    left = rng.integers(0, 60, n)
    right = np.where(same, who[left] * 4 + rng.integers(0, 4, n), (left + rng.integers(8, 52, n)) % 60)
    same = who[left] == who[right]
    return features, pairs_of(left.tolist(), right.tolist(), same.tolist())


def slow_pairs(features: Array, truth: Pairs) -> dict[str, float]:
    """Fold by fold, threshold by threshold, pair by pair."""
    unit = [f / np.sqrt((f**2).sum()) for f in features]
    n = len(truth.same)
    distance = [float(((unit[a] - unit[b]) ** 2).sum()) for a, b in zip(truth.left, truth.right, strict=True)]
    sizes = [n // 10 + (fold < n % 10) for fold in range(10)]
    accuracy, val, far = [], [], []
    for fold in range(10):
        start = sum(sizes[:fold])
        test = list(range(start, start + sizes[fold]))
        train = [i for i in range(n) if i not in test]
        best, chosen = -1.0, 0.0
        for threshold in np.arange(0, 4, 0.01):
            right = sum((distance[i] < threshold) == truth.same[i] for i in train) / len(train)
            if right > best:
                best, chosen = right, threshold
        accuracy.append(sum((distance[i] < chosen) == truth.same[i] for i in test) / len(test))
        thresholds = np.arange(0, 4, 0.001)
        strangers = [distance[i] for i in train if not truth.same[i]]
        rates = [sum(d < t for d in strangers) / len(strangers) for t in thresholds]
        limit = 0.0
        if max(rates) >= 1e-3:
            j = max(k for k, rate in enumerate(rates) if rate <= 1e-3)
            limit = thresholds[j] + (1e-3 - rates[j]) / (rates[j + 1] - rates[j]) * 0.001
        val.append(np.mean([distance[i] < limit for i in test if truth.same[i]]))
        far.append(np.mean([distance[i] < limit for i in test if not truth.same[i]]))
    return {
        "accuracy": float(np.mean(accuracy)),
        "accuracy_deviation": float(np.std(accuracy)),
        "val@far=0.001": float(np.mean(val)),
        "far": float(np.mean(far)),
    }


# --- pairs


@pytest.mark.parametrize("seed", range(4))
def test_pairs_equal_the_loop(seed: int) -> None:
    features, truth = random_pairs(seed, n=63)
    result = verification.evaluate(embeddings(features), truth, provenance=PROVENANCE)
    expected = slow_pairs(np.asarray(features, np.float32).astype(np.float64), truth)
    assert 0.5 < expected["accuracy"] < 1
    for name, value in expected.items():
        assert result.metrics[name] == pytest.approx(value, abs=1e-9), name
    assert (result.images, result.official_images, result.is_subset) == (126, 12000, True)


def test_separable_pairs_are_all_right() -> None:
    features, truth = random_pairs(0, noise=0.001)
    result = verification.evaluate(embeddings(features), truth, provenance=PROVENANCE)
    assert result.metrics["accuracy"] == result.metrics["val@far=0.001"] == 1.0
    assert result.metrics["accuracy_deviation"] == 0.0


def test_the_length_of_features_does_not_matter_and_mirror_images_are_added() -> None:
    features, truth = random_pairs(1)
    plain = verification.evaluate(embeddings(features), truth, provenance=PROVENANCE).metrics
    scaled = features * np.random.default_rng(0).uniform(0.5, 2, (len(features), 1))
    assert verification.evaluate(embeddings(scaled), truth, provenance=PROVENANCE).metrics == pytest.approx(plain)
    offset = np.random.default_rng(0).normal(0, 3, features.shape)
    both = np.stack([features + offset, features - offset], axis=1)
    result = verification.evaluate(embeddings(both), truth, provenance=PROVENANCE)
    assert result.metrics["accuracy"] == pytest.approx(plain["accuracy"])
    assert "mirror image are added" in result.notes[0]


def test_a_pair_at_the_threshold_is_rejected() -> None:
    """Distances: one person 0, two persons 2; every threshold above 0 up to 2 is right, the first is .01."""
    truth = pairs_of([0, 0] * 10, [1, 2] * 10, [True, False] * 10)
    features = [[1, 0], [2, 0], [0, 1]]
    metrics = verification.evaluate(embeddings(features), truth, provenance=PROVENANCE).metrics
    assert metrics["threshold"] == pytest.approx(0.01)
    assert metrics["accuracy"] == 1.0


def test_an_impossible_false_accept_rate_gives_no_validation() -> None:
    """Opposite strangers have the distance 4, which no threshold reaches: it is 0 and accepts nobody."""
    truth = pairs_of([0, 0] * 10, [1, 2] * 10, [True, False] * 10)
    metrics = verification.evaluate(embeddings([[1, 0], [1, 0], [-1, 0]]), truth, provenance=PROVENANCE).metrics
    assert metrics["val@far=0.001"] == 0.0


def test_missed_faces_are_counted_and_noted() -> None:
    features, truth = random_pairs(2)
    result = verification.evaluate(embeddings(features, missed=("i3", "i9", "unused")), truth, provenance=PROVENANCE)
    assert result.counts["no_face"] == 2
    assert any(f"in 2 of {len(truth.images)} images" in note for note in result.notes)


def test_folds_need_both_kinds_of_pairs() -> None:
    truth = pairs_of([0] * 20, [1] * 20, [True] * 10 + [False] * 10)
    with pytest.raises(LabelError, match=r"fold 1 of 10 has no pair of two persons"):
        verification.evaluate(embeddings(np.eye(2)), truth, provenance=PROVENANCE)


# --- templates


def random_templates(seed: int) -> tuple[Embeddings, Templates]:
    rng = np.random.default_rng(seed)
    n, t = 90, 18
    template = np.sort(np.append(rng.integers(0, t, n - t), np.arange(t)))
    media = rng.integers(0, 4, n)
    order = np.lexsort((media, template))
    features = rng.normal(0, 1, (6, 5))[template % 6] + rng.normal(0, 1.2, (n, 5))
    both = np.stack([features, features + rng.normal(0, 0.3, features.shape)], axis=1).astype(np.float32)
    left, right = (part.ravel() for part in np.meshgrid(np.arange(t), np.arange(t)))
    kept = left < right
    names = tuple(f"i{k}" for k in range(n))
    truth = Templates(names, template[order], media[order], left[kept], right[kept], (left % 6 == right % 6)[kept])
    return Embeddings(names, both, rng.uniform(0.5, 1, n).astype(np.float32)), truth


def slow_templates(found: Embeddings, truth: Templates, weighted: bool) -> dict[str, float]:
    vectors = {}
    for t in sorted(set(truth.template.tolist())):
        total = np.zeros(found.features.shape[2])
        for m in sorted(set(truth.media[truth.template == t].tolist())):
            rows = [i for i in range(len(truth.template)) if truth.template[i] == t and truth.media[i] == m]
            parts = []
            for i in rows:
                feature = found.features[i, 0] + found.features[i, 1]
                parts.append(feature * found.scores[i] if weighted and found.scores is not None else feature)
            total += np.mean(parts, axis=0)
        vectors[t] = total / np.linalg.norm(total)
    cosine = [float(vectors[a] @ vectors[b]) for a, b in zip(truth.left, truth.right, strict=True)]
    positives, negatives = int(truth.same.sum()), int((~truth.same).sum())
    points = [(0, 0)]
    for threshold in sorted(set(cosine), reverse=True):
        hits = sum(c >= threshold and s for c, s in zip(cosine, truth.same, strict=True))
        points.append((sum(c >= threshold for c in cosine) - hits, hits))
    inner = points[1:]
    corners = [points[0], inner[0]]
    for before, here, after in zip(inner, inner[1:], inner[2:], strict=False):
        if (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1]):
            corners.append(here)
    corners.append(inner[-1])
    figures = {}
    for target in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        nearest = min(abs(false / negatives - target) for false, _ in corners)
        hits = max(hit for false, hit in corners if abs(false / negatives - target) == nearest)
        figures[f"TAR@{target:.0e}"] = hits / positives
    return figures


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_templates_equal_the_loop(seed: int, weighted: bool) -> None:
    found, truth = random_templates(seed)
    result = verification.evaluate(found, truth, provenance=PROVENANCE, weighted=weighted)
    assert result.metrics == pytest.approx(slow_templates(found, truth, weighted), abs=1e-6)
    assert 0 < result.metrics["TAR@1e-01"] < 1
    assert any(("weighed by" if weighted else "no weighing") in note for note in result.notes)
    assert result.official_images == 469375


def test_a_video_counts_as_one_medium() -> None:
    """Three frames of one video and one still: the video's mean weighs as much as the still."""
    features = [[1, 0], [1, 0], [1, 0], [0, 1.0]]
    template, media = np.array([0, 0, 0, 0]), np.array([7, 7, 7, 8])
    vectors = verification.template_vectors(features, template, media)
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5]])
    stills = verification.template_vectors(features, template, np.array([1, 2, 3, 4]))
    np.testing.assert_allclose(stills, [[3 / 10**0.5, 1 / 10**0.5]])
    weighted = verification.template_vectors(features, template, media, [0, 0, 3, 1])
    np.testing.assert_allclose(weighted, [[0.5**0.5, 0.5**0.5]])


def test_features_of_a_template_are_not_normalised_first() -> None:
    vectors = verification.template_vectors([[3, 0], [0, 4.0]], np.array([0, 0]), np.array([1, 2]))
    np.testing.assert_allclose(vectors, [[0.6, 0.8]])


def test_equal_media_numbers_of_different_templates_stay_apart() -> None:
    vectors = verification.template_vectors([[1, 0], [0, 1.0]], np.array([0, 1]), np.array([5, 5]))
    np.testing.assert_allclose(vectors, np.eye(2))


def test_a_template_without_weight_is_like_no_other() -> None:
    vectors = verification.template_vectors([[1, 0], [0, 1.0]], np.array([0, 1]), np.array([1, 1]), [0, 1])
    np.testing.assert_allclose(vectors, [[0, 0], [0, 1]])


def test_roc_by_hand() -> None:
    similarity = np.array([0.9, 0.8, 0.8, 0.7, 0.1])
    same = np.array([True, True, False, False, True])
    false, true = verification.roc(similarity, same)
    assert false.tolist() == [0, 0, 0.5, 1, 1]
    np.testing.assert_allclose(true, [0, 1 / 3, 2 / 3, 2 / 3, 1])
    with pytest.raises(LabelError, match="both needed"):
        verification.roc(similarity, np.ones(5, bool))


def test_weighing_needs_scores() -> None:
    found, truth = random_templates(0)
    bare = Embeddings(found.names, found.features)
    with pytest.raises(LabelError, match="needs the detector's scores"):
        verification.evaluate(bare, truth, provenance=PROVENANCE, weighted=True)


def test_image_names_must_match() -> None:
    found, truth = random_templates(0)
    more = Embeddings((*found.names, "spare"), np.concatenate([found.features, found.features[:1]]))
    bare = Embeddings(found.names, found.features)
    results = [verification.evaluate(one, truth, provenance=PROVENANCE) for one in (more, bare)]
    assert results[0].metrics == results[1].metrics
    fewer = Embeddings(found.names[1:], found.features[1:])
    with pytest.raises(LabelError, match="no predictions for 1 of 90 images: 'i0'"):
        verification.evaluate(fewer, truth, provenance=PROVENANCE)
    other = Embeddings((*found.names[:-1], "I89"), found.features)
    with pytest.raises(LabelError, match="'I89'; did you mean 'i89'"):
        verification.evaluate(other, truth, provenance=PROVENANCE)


# --- label files


def test_lfw_pairs(tmp_path: Path) -> None:
    lines = ["10\t1"]
    for i in range(10):
        lines += [f"Person_{i}\t1\t4", f"Person_{i}\t2\tOther_{i}\t13"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    truth = verification.load_pairs(tmp_path / "pairs.txt", LFW)
    assert truth.images[:4] == (
        "Person_0/Person_0_0001",
        "Person_0/Person_0_0004",
        "Person_0/Person_0_0002",
        "Other_0/Other_0_0013",
    )
    assert truth.same.tolist() == [True, False] * 10


def test_paths_with_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{i % 2} x/{i}.jpg x/{i + 1}.jpg\n\n" for i in range(12)))
    truth = verification.load_pairs(tmp_path / "a.txt", verification.AGEDB_30)
    assert truth.same.tolist() == [False, True] * 6
    assert len(truth.images) == 13
    assert truth.images[truth.right[3]] == "x/4"


def write_cfp(folder: Path) -> None:
    protocol = folder / "Protocol"
    for side, kind in (("F", "frontal"), ("P", "profile")):
        protocol.mkdir(parents=True, exist_ok=True)
        rows = [f"{i} ../Data/Images/{i:03d}/{kind}/01.jpg" for i in range(1, 12)]
        (protocol / f"Pair_list_{side}.txt").write_text("\n".join(rows) + "\n")
    for fold in range(1, 11):
        (protocol / "Split" / "FP" / f"{fold:02d}").mkdir(parents=True)
        (protocol / "Split" / "FP" / f"{fold:02d}" / "same.txt").write_text(f"{fold},{fold}\n")
        (protocol / "Split" / "FP" / f"{fold:02d}" / "diff.txt").write_text(f"{fold},{fold + 1}\n")


def test_cfp_protocol(tmp_path: Path) -> None:
    write_cfp(tmp_path)
    truth = verification.load_pairs(tmp_path, CFP_FP)
    assert truth.same.tolist() == [True, False] * 10
    assert truth.images[truth.left[2]] == "Data/Images/002/frontal/01"
    assert truth.images[truth.right[3]] == "Data/Images/003/profile/01"


def test_ijbc_lists(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("1.jpg 30 9\n2.jpg 7 5\n3.jpg 30 8\n4.jpg 7 5\n")
    (tmp_path / "p.txt").write_text("7 30 0\n30 30 1\n")
    truth = verification.load_templates(tmp_path / "m.txt", tmp_path / "p.txt")
    assert truth.images == ("2", "4", "3", "1")
    assert truth.template.tolist() == [0, 0, 1, 1]
    assert truth.media.tolist() == [5, 5, 8, 9]
    assert (truth.left.tolist(), truth.right.tolist(), truth.same.tolist()) == ([0, 1], [1, 1], [False, True])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10 1\nA 1 2\nA 1\n", r"p\.txt:3: expected 'name n1 n2'"),
        ("10 1\nA 1 B x\n", r"p\.txt:2: expected 'name n1 n2'"),
        ("1 a.jpg b.jpg\n2 a.jpg b.jpg\n", r"p\.txt:2: expected '0 path path'"),
        ("1 a.jpg b.jpg\n\n0 a.jpg\n", r"p\.txt:3: expected '0 path path'"),
        ("1 a.jpg b.jpg\n", "1 pairs cannot make 10 folds"),
    ],
)
def test_bad_pair_files(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(LabelError, match=message):
        verification.load_pairs(tmp_path / "p.txt", LFW)


def test_bad_protocol_folders(tmp_path: Path) -> None:
    write_cfp(tmp_path)
    path = tmp_path / "Protocol" / "Split" / "FP" / "03" / "diff.txt"
    path.write_text("3,77\n")
    with pytest.raises(LabelError, match=r"diff\.txt:1: expected 'frontal,profile'"):
        verification.load_pairs(tmp_path, CFP_FP)
    path.unlink()
    with pytest.raises(LabelError, match=r"diff\.txt: cannot be read"):
        verification.load_pairs(tmp_path, CFP_FP)
    (tmp_path / "Protocol" / "Pair_list_P.txt").write_text("a b c\n")
    with pytest.raises(LabelError, match=r"Pair_list_P\.txt:1: expected 'number path'"):
        verification.load_pairs(tmp_path, CFP_FP)


@pytest.mark.parametrize(
    ("media", "pairs", "message"),
    [
        ("1.jpg 30\n", "30 30 1\n", r"m\.txt:1: expected 'image template media'"),
        ("1.jpg 30 1\n1.png 30 2\n", "30 30 1\n", r"m\.txt: an image is named twice"),
        ("", "30 30 1\n", r"m\.txt: is empty"),
        ("1.jpg 30 1\n", "30 31 1\n", r"p\.txt:1: \[30, 31, 1\] has a template that"),
        ("1.jpg 30 1\n", "30 30 1\n30 30 2\n", r"p\.txt:2: \[30, 30, 2\]"),
        ("1.jpg 30 1\n", "30 30\n", r"p\.txt: expected three numbers"),
        ("1.jpg 30 1\n", "30 x 1\n", r"p\.txt: expected lines 'template template label'"),
    ],
)
def test_bad_template_files(media: str, pairs: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(media)
    (tmp_path / "p.txt").write_text(pairs)
    with pytest.raises(LabelError, match=message):
        verification.load_templates(tmp_path / "m.txt", tmp_path / "p.txt")
