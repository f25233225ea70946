import numpy as np
import pytest
import torch

from facesmith.detectors.retinaface.mesh.chebyshev import ChebyshevConv, SparseProduct
from facesmith.detectors.retinaface.mesh.topology import Level, Topology

LEVEL = Level(4)


def spectral(laplacian: np.ndarray, x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Σ_k Θ_k cos(k arccos λ) on the eigenvectors: T_k by its definition, with no recurrence and no sparsity."""
    values, vectors = np.linalg.eigh(laplacian)
    terms = np.stack([np.cos(k * np.arccos(np.clip(values, -1, 1))) for k in range(len(theta))])  # (K, n)
    spectrum = np.einsum("nm,nbc->mbc", vectors, x)
    return np.einsum("nm,km,mbc,kcd->nbd", vectors, terms, spectrum, theta)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize(("channels_in", "channels_out"), [(3, 5), (5, 3), (4, 4)])
def test_convolution_against_the_eigenvectors(order: int, channels_in: int, channels_out: int) -> None:
    torch.manual_seed(0)
    conv = ChebyshevConv(SparseProduct(LEVEL.scaled_laplacian), channels_in, channels_out, order)
    torch.nn.init.normal_(conv.bias)
    x = torch.randn(len(LEVEL), 2, channels_in)
    expected = spectral(LEVEL.scaled_laplacian.toarray(), x.double().numpy(), conv.weight.detach().double().numpy())
    expected = expected + conv.bias.detach().numpy()
    assert np.allclose(conv(x).detach().numpy(), expected, atol=2e-5)


def test_sparse_products_against_dense_ones_with_gradients() -> None:
    topology = Topology.build(2, 2)
    torch.manual_seed(1)
    for matrix in (topology.up(0), topology.down(0), topology.finest.scaled_laplacian):
        dense = torch.from_numpy(matrix.toarray()).float()
        x = torch.randn(matrix.shape[1], 3, 4, requires_grad=True)
        y = SparseProduct(matrix)(x)
        expected = torch.einsum("mn,nbc->mbc", dense, x)
        assert torch.allclose(y, expected, atol=1e-6)
        seed = torch.randn_like(y)
        (gradient,) = torch.autograd.grad(y, x, seed)
        assert torch.allclose(gradient, torch.einsum("mn,mbc->nbc", dense, seed), atol=1e-6)


def test_float64_and_export_take_the_plain_path() -> None:
    product = SparseProduct(LEVEL.scaled_laplacian)
    x = torch.randn(len(LEVEL), 2, 3)
    assert torch.allclose(product(x.double()).float(), product(x), atol=1e-6)
    conv = ChebyshevConv(product, 3, 2, 4)
    exported = torch.export.export(conv, (x,)).module()
    assert torch.allclose(exported(x), conv(x), atol=1e-6)


def test_gradients_against_finite_differences() -> None:
    torch.manual_seed(2)
    level = Level(2)
    conv = ChebyshevConv(SparseProduct(level.scaled_laplacian), 3, 2, 4).double()
    x = torch.randn(len(level), 1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, (x,))


def test_a_batch_equals_single_meshes() -> None:
    conv = ChebyshevConv(SparseProduct(LEVEL.scaled_laplacian), 4, 4, 6)
    x = torch.randn(len(LEVEL), 3, 4)
    together = conv(x)
    for i in range(3):
        assert torch.allclose(conv(x[:, i : i + 1])[:, 0], together[:, i], atol=1e-5)
