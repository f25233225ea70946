import pytest
import torch

from facesmith.errors import ConfigError
from facesmith.training.mesh_codes import Codes


def faces(count: int, rank: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(rank, 10, 6, generator=generator) * torch.tensor([1.0, 1, 1, 9, 9, 9])
    weights = torch.randn(count, rank, generator=generator)
    return 3 + torch.einsum("kr,rnc->knc", weights, directions)


def test_faces_of_a_few_directions_come_back() -> None:
    known = faces(40, 5)
    codes = Codes.fit(known, 5, shape_weight=2.0)
    assert torch.allclose(codes.decode(codes.encode(known)), known, atol=1e-3)
    assert codes.decode(torch.zeros(1, 5))[0].allclose(known.mean(dim=0), atol=1e-5)


def test_codes_are_white_and_fall_in_importance() -> None:
    known = faces(200, 8)
    codes = Codes.fit(known, 6, shape_weight=1.0)
    found = codes.encode(known)
    assert torch.allclose(found.T @ found / len(found), torch.eye(6), atol=1e-3)
    assert (codes.spread.diff() <= 0).all()


def test_statistics() -> None:
    known = faces(200, 8)
    codes = Codes.fit(known, 6, shape_weight=1.0)
    away = known - known.mean(dim=0)
    assert torch.allclose(codes.deviation[:3], away[..., :3].square().mean().sqrt().expand(3))
    assert torch.allclose(codes.deviation[3:], away[..., 3:].square().mean().sqrt().expand(3))


def test_weight_says_what_few_components_keep() -> None:
    known = faces(200, 12)

    def error(weight: float) -> float:
        codes = Codes.fit(known, 4, shape_weight=weight)
        return (codes.decode(codes.encode(known)) - known)[..., :3].square().mean().item()

    assert error(10.0) < error(0.1)


def test_too_few_faces_fail() -> None:
    with pytest.raises(ConfigError, match="8 principal components need more than 8 faces"):
        Codes.fit(faces(8, 4), 8, 1.0)
