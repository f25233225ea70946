"""Graph convolution by Chebyshev polynomials of the Laplacian (RetinaFace, eq. 2; Defferrard et al. 2016).

Features of a batch of meshes are (n, B, C) here, vertices first: a sparse matrix then works on rows of B·C
numbers that lie side by side, and mixing channels is one dense product.
"""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.retinaface.mesh.topology import SparseMatrix


class SparseProduct(nn.Module):
    """A fixed sparse matrix (m, n) times features (n, ...), rows of at most d entries each.

    The matrix and its transpose are kept as tables of column numbers and weights: forward and backward both only
    gather, so results do not depend on the order in which threads finish. Under ``torch.compile`` plain operators are
    given instead, which it fuses (on a GPU into Triton kernels).
    """

    columns: Tensor
    weights: Tensor
    columns_t: Tensor
    weights_t: Tensor

    def __init__(self, matrix: SparseMatrix) -> None:
        super().__init__()
        for suffix, source in (("", matrix), ("_t", matrix.T)):
            columns, weights = _table(source)
            self.register_buffer("columns" + suffix, columns, persistent=False)
            self.register_buffer("weights" + suffix, weights, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(n, ...) -> (m, ...)."""
        flat = features.reshape(len(features), -1)
        if torch.compiler.is_compiling() or flat.dtype != torch.float32:
            out = _gathered(flat, self.columns, self.weights)
        else:
            out = cast(
                Tensor,
                _Product.apply(flat, self.columns, self.weights, self.columns_t, self.weights_t),  # type: ignore[no-untyped-call]
            )
        return out.reshape(-1, *features.shape[1:])


class ChebyshevConv(nn.Module):
    """y = Σ_k T_k(L̃) x Θ_k + bias, k < order; eq. 2 for several channels.

    Args:
        laplacian: the product with the scaled Laplacian L̃ of the level.
        channels_in: channels of x.
        channels_out: channels of y.
        order: number K of polynomials.
    """

    def __init__(self, laplacian: SparseProduct, channels_in: int, channels_out: int, order: int) -> None:
        super().__init__()
        self.laplacian = laplacian
        self.weight = nn.Parameter(torch.empty(order, channels_in, channels_out))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        bound = math.sqrt(6 / (order * channels_in))  # He's, for the non-linearity that follows
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(n, B, channels_in) -> (n, B, channels_out)."""
        _, channels_in, channels_out = self.weight.shape
        product = self._narrowing(x) if channels_out < channels_in else self._widening(x)
        out: Tensor = product + self.bias
        return out

    def _widening(self, x: Tensor) -> Tensor:
        """Polynomials of the input first: T_k x = 2 L̃ T_(k-1) x - T_(k-2) x."""
        terms = [x]
        for k in range(1, len(self.weight)):
            step = self.laplacian(terms[-1])
            terms.append(step if k == 1 else 2 * step - terms[-2])
        return torch.cat(terms, dim=-1) @ self.weight.flatten(0, 1)

    def _narrowing(self, x: Tensor) -> Tensor:
        """Channels first, then Clenshaw's recurrence: the sparse products see only the fewer output channels."""
        order, channels_in, _ = self.weight.shape
        mixed = x @ self.weight.transpose(0, 1).reshape(channels_in, -1)
        terms = mixed.chunk(order, dim=-1)
        if order == 1:
            return terms[0]
        after, current = torch.zeros_like(terms[-1]), terms[-1]
        for term in reversed(terms[1:-1]):
            after, current = current, term + 2 * self.laplacian(current) - after
        total: Tensor = terms[0] + self.laplacian(current) - after
        return total


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, columns: Tensor, weights: Tensor, *transposed: Tensor) -> Tensor:
        ctx.save_for_backward(columns, weights, *transposed)
        product: Tensor = F.embedding_bag(columns, features, mode="sum", per_sample_weights=weights)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        columns, weights, columns_t, weights_t = ctx.saved_tensors
        back = _Product.apply(gradients[0].contiguous(), columns_t, weights_t, columns, weights)  # type: ignore[no-untyped-call]
        return back, None, None, None, None


def _gathered(features: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """The same in operators that every exporter, compiler and dtype knows."""
    weights = weights.to(features.dtype)
    pairs = zip(columns.unbind(1), weights.unbind(1), strict=True)
    terms = [features[column] * weight[:, None] for column, weight in pairs]
    return sum(terms[1:], terms[0])


def _table(matrix: SparseMatrix) -> tuple[Tensor, Tensor]:
    """(m, d) column numbers and float32 weights; rows with fewer than d entries are filled up with weight 0."""
    matrix = matrix.tocsr()
    counts = np.diff(matrix.indptr)
    slot = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    rows = np.repeat(np.arange(matrix.shape[0]), counts)
    columns = np.zeros((matrix.shape[0], max(1, counts.max())), np.int64)
    weights = np.zeros(columns.shape, np.float32)
    columns[rows, slot], weights[rows, slot] = matrix.indices, matrix.data
    return torch.from_numpy(columns), torch.from_numpy(weights)
