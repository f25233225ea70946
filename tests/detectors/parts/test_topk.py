import pytest
import torch

from facesmith.detectors.parts.topk import top_candidates


@pytest.mark.parametrize(("anchors", "count"), [(50, 10), (10, 10), (3, 10), (1, 10)])
def test_rows_fall_and_are_the_greatest(anchors: int, count: int) -> None:
    logits = torch.randn(4, anchors, generator=torch.Generator().manual_seed(0))
    best, index = top_candidates(logits, count)
    assert best.shape == index.shape == (4, count)
    used = min(anchors, count)
    scores = logits.sigmoid()
    torch.testing.assert_close(best[:, :used], scores.sort(dim=1, descending=True).values[:, :used])
    torch.testing.assert_close(scores.gather(1, index)[:, :used], best[:, :used])
    assert (best.diff(dim=1) <= 0).all()


def test_unused_rows_have_score_zero_and_a_valid_index() -> None:
    best, index = top_candidates(torch.tensor([[-3.0, 2.0]]), 4)
    assert index[0, :2].tolist() == [1, 0]
    assert (best[0, 2:] == 0).all()
    assert (index < 2).all()
