"""The curvature of a loss in a model's outputs, as a few directions for each example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from flyweight.core.errors import UnsupportedError
from flyweight.core.task import Batch, Task

EXACT = 64
"""Up to so many outputs an example, the curvature is taken apart exactly."""
DRAWS = 8
"""How many labels are drawn for each example where outputs are more."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass: the outputs ``z``, ``(examples, …)`` each, that carry gradients to the model, and S of
    :func:`factor`, one ``(examples, directions, …)`` for each of them."""

    outputs: tuple[Tensor, ...]
    factor: tuple[Tensor, ...]


def factor(model: nn.Module, task: Task, batch: Batch) -> Pass:
    """S with Σ_c S_nc·S_ncᵀ = H_n = ∂²ℓ_n/∂z_n² for each example n of ``batch``; ``task.loss`` is the mean of ℓ_n.

    With :data:`EXACT` outputs an example or fewer H_n is made by double backward, one column after another, and S_n is
    its square root (directions of negative curvature are left out: the Gauss-Newton matrix has none where the loss is
    convex in the outputs). With more, where H proves to be that of softmax cross-entropy over dimension 1, S_n holds
    p − onehot(y) of :data:`DRAWS` labels y drawn from p = softmax(z), over √draws, so that it is unbiased. Else
    S_n = ∂ℓ_n/∂z_n, which makes the empirical Fisher matrix of the Gauss-Newton's.
    Raises :class:`UnsupportedError` where the loss does not reach the model.
    """
    count = len(batch[0])
    outputs: list[Tensor] = []
    leaves: list[Tensor] = []

    def forward(*inputs: Any, **named: Any) -> Any:
        def cut(x: Any) -> Any:
            if not isinstance(x, Tensor) or not x.requires_grad:
                return x
            outputs.append(x)
            leaves.append(x.detach().requires_grad_())
            return leaves[-1]

        return pytree.tree_map(cut, model(*inputs, **named))

    loss = task.loss(forward, batch)
    if not leaves or not loss.requires_grad:
        raise UnsupportedError(
            "UnsupportedError: the task's loss carries no gradient to the model, so its curvature is unknown. "
            "It has to call forward(*inputs) and return a tensor made of the result."
        )
    if any(z.dim() == 0 or len(z) != count for z in leaves):
        raise UnsupportedError(
            f"UnsupportedError: curvature is found example by example, and of {count} examples the model gives outputs "
            f"of shapes {[tuple(z.shape) for z in leaves]}. Each needs the examples along dimension 0; "
            "score by taylor(), or by obs(), which need not know."
        )
    slopes = [
        torch.zeros_like(z) if g is None else g
        for z, g in zip(leaves, torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True), strict=True)
    ]
    sizes = [z[0].numel() for z in leaves]
    if sum(sizes) <= EXACT:
        root = _root(_hessian(slopes, leaves, sizes) * count)
    elif len(leaves) == 1 and (drawn := _softmax_draws(slopes[0], leaves[0], count)) is not None:
        return Pass(tuple(outputs), (drawn,))
    else:
        root = torch.cat([g.detach().flatten(1) for g in slopes], 1).unsqueeze(1) * count
    parts = [
        part.reshape(count, -1, *z.shape[1:]) for part, z in zip(torch.split(root, sizes, dim=2), leaves, strict=True)
    ]
    return Pass(tuple(outputs), tuple(parts))


def _hessian(slopes: list[Tensor], leaves: list[Tensor], sizes: list[int]) -> Tensor:
    """``(examples, K, K)``: each example's block, K the outputs of one example together."""
    columns = [
        torch.cat(_products(slope.flatten(1)[:, k].sum(), leaves), 1)
        for slope, size in zip(slopes, sizes, strict=True)
        for k in range(size)
    ]
    return torch.stack(columns, 2)


def _products(scalar: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """∂ scalar / ∂ z of each, ``(examples, outputs)``; zeros where it does not depend on it."""
    if not scalar.requires_grad:
        return [torch.zeros_like(z).flatten(1) for z in leaves]
    found = torch.autograd.grad(scalar, leaves, retain_graph=True, allow_unused=True)
    return [(torch.zeros_like(z) if g is None else g).flatten(1) for z, g in zip(leaves, found, strict=True)]


def _root(hessian: Tensor) -> Tensor:
    """S ``(examples, directions, K)`` with Σ_c S_c·S_cᵀ the positive part of each ``(K, K)``."""
    values, vectors = torch.linalg.eigh((0.5 * (hessian + hessian.transpose(1, 2))).double())
    root: Tensor = (vectors * values.clamp(min=0).sqrt().unsqueeze(1)).transpose(1, 2)
    return root.to(hessian.dtype)


def _softmax_draws(slope: Tensor, z: Tensor, count: int) -> Tensor | None:
    """Drawn directions ``(examples, draws, classes, …)``; None where the loss is no softmax cross-entropy of ``z``."""
    if z.dim() < 2:
        return None
    p = z.detach().softmax(1)
    places = p[0, 0].numel()
    probe = torch.randn_like(p)
    found = _products((slope * probe).sum(), [z])[0].reshape(p.shape) * (count * places)
    wanted = p * probe - p * (p * probe).sum(1, keepdim=True)
    if not torch.allclose(found, wanted, rtol=1e-2, atol=1e-4 * float(wanted.abs().max())):
        return None
    flat = p.movedim(1, -1).reshape(-1, p.shape[1])
    labels = torch.multinomial(flat, DRAWS, replacement=True)  # (examples · places, draws)
    drawn: Tensor = flat.unsqueeze(1) - nn.functional.one_hot(labels, p.shape[1]).to(p.dtype)
    drawn = drawn.reshape(count, *p.shape[2:], DRAWS, p.shape[1]).movedim(-2, 1).movedim(-1, 2)
    return drawn.div(float(DRAWS * places) ** 0.5)
