import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.numerics.affine import (
    SMALLEST_SCALE,
    affine_grid,
    dequantize,
    fake_quantize,
    quantize,
    symmetric_scale,
)
from flyweight.numerics.codes import CodeRange

ROUNDING = 1e-5
"""Float32 has 24 bits and a code at most 8: quotients and products are off by some 2^-23, relative to the range."""

ranges = st.builds(CodeRange, st.integers(2, 8), st.just(True), st.booleans()) | st.builds(
    CodeRange, st.integers(2, 8), st.just(False)
)
values = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=40)


def naive(x: float, low: float, high: float, codes: CodeRange) -> tuple[int, float]:
    """Algorithms 2 and 3 word for word, one number at a time."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / (codes.high - codes.low), SMALLEST_SCALE)
    zero_point = min(max(round(codes.low - low / scale), codes.low), codes.high)
    code = min(max(round(min(max(x, low), high) / scale) + zero_point, codes.low), codes.high)
    return code, scale * (code - zero_point)


def grid_of(x: torch.Tensor, codes: CodeRange) -> tuple[torch.Tensor, torch.Tensor]:
    return affine_grid(x.min(), x.max(), codes)


@settings(max_examples=150, deadline=None)
@given(values, ranges)
def test_error_is_half_a_step_zero_is_exact_codes_are_in_range(listed, codes):
    x = torch.tensor(listed)
    scale, zero_point = grid_of(x, codes)
    stored = quantize(x, scale, zero_point, codes)
    back = dequantize(stored, scale, zero_point)
    assert stored.min() >= codes.low and stored.max() <= codes.high
    assert (back - x).abs().max() <= scale / 2 + ROUNDING * x.abs().max()
    zero = quantize(torch.zeros(1), scale, zero_point, codes)
    assert dequantize(zero, scale, zero_point).item() == 0.0
    assert torch.equal(quantize(back, scale, zero_point, codes), stored)
    assert torch.equal(fake_quantize(back, scale, zero_point, codes), back)


@settings(max_examples=100, deadline=None)
@given(values, ranges)
def test_agrees_with_the_algorithms_word_for_word(listed, codes):
    x = torch.tensor(listed)
    scale, zero_point = grid_of(x, codes)
    stored = quantize(x, scale, zero_point, codes)
    for value, code in zip(x.tolist(), stored.tolist(), strict=True):
        wanted, back = naive(value, float(x.min()), float(x.max()), codes)
        # Doubles and floats part only where a quotient is half a code away from two.
        position = value / float(scale)
        near_tie = abs(abs(position - math.floor(position)) - 0.5) < 1e-3
        zero_tie = abs(abs((float(x.min()) / float(scale)) % 1) - 0.5) < 1e-3
        assert code == wanted or ((near_tie or zero_tie) and abs(code - wanted) <= 1)
        assert abs(float(scale) * (code - float(zero_point)) - back) <= float(scale) * 1.01 + ROUNDING


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_agrees_with_torch_per_tensor_values_and_gradients(bits):
    codes = CodeRange(bits, signed=False)
    x = torch.randn(4000, generator=torch.Generator().manual_seed(bits)) * 2
    scale, zero_point = affine_grid(torch.tensor(-1.3), torch.tensor(2.1), codes)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    got = fake_quantize(ours, scale, zero_point, codes)
    wanted = torch.fake_quantize_per_tensor_affine(theirs, float(scale), int(zero_point), codes.low, codes.high)
    # torch multiplies by 1 / s where ONNX divides by s: some ties fall to the other side.
    same = (got - wanted).abs() < 1e-6
    assert same.float().mean() > 0.999
    weight = torch.randn(4000, generator=torch.Generator().manual_seed(9))
    (got * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert torch.equal(ours.grad[same], theirs.grad[same])
    assert (ours.grad == 0).any() and (ours.grad != 0).any()


def test_agrees_with_torch_per_channel():
    codes = CodeRange(8, narrow=True)
    x = torch.randn(5, 60, generator=torch.Generator().manual_seed(0))
    scale = symmetric_scale(x.amin(1, keepdim=True), x.amax(1, keepdim=True), codes)
    got = fake_quantize(x, scale, torch.zeros(()), codes)
    wanted = torch.fake_quantize_per_channel_affine(
        x, scale.reshape(-1), torch.zeros(5, dtype=torch.int32), 0, codes.low, codes.high
    )
    assert ((got - wanted).abs() < 1e-6).float().mean() > 0.99
    assert torch.equal(got.abs().amax(1), (127 * scale).reshape(-1))


def test_the_gradient_passes_inside_and_stops_outside():
    codes = CodeRange(4)
    x = torch.tensor([-9.0, -8.4, -8.0, 0.2, 7.4, 7.6, 20.0], requires_grad=True)
    fake_quantize(x, torch.tensor(1.0), torch.tensor(0.0), codes).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0, 0]


def test_zeros_have_a_grid_too():
    scale, zero_point = affine_grid(torch.tensor(0.0), torch.tensor(0.0), CodeRange(8, signed=False))
    assert scale == pytest.approx(SMALLEST_SCALE)
    assert fake_quantize(torch.zeros(3), scale, zero_point, CodeRange(8, signed=False)).tolist() == [0, 0, 0]


def test_half_precision_keeps_its_dtype():
    codes = CodeRange(8, signed=False)
    x = torch.rand(10).bfloat16().requires_grad_()
    result = fake_quantize(x, torch.tensor(1 / 255), torch.tensor(0.0), codes)
    result.sum().backward()
    assert result.dtype == x.grad.dtype == torch.bfloat16
