"""A session as a function of tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import onnx_files
from flyweight.deploy.forward import as_forward
from flyweight.deploy.runtimes.open import open_artifact


def test_one_output_is_a_tensor(tmp_path: Path) -> None:
    session = open_artifact(onnx_files.conv_net(tmp_path / "m.onnx"))
    x = torch.randn(3, 3, 8, 8)
    found = as_forward(session)(x.requires_grad_())
    assert np.array_equal(found.numpy(), session(x.detach().numpy())[0])


def test_a_fixed_batch_takes_any_number(tmp_path: Path) -> None:
    free = as_forward(open_artifact(onnx_files.conv_net(tmp_path / "free.onnx")))
    fixed = as_forward(open_artifact(onnx_files.conv_net(tmp_path / "fixed.onnx", batch=4)))
    for count in (1, 4, 10):
        x = torch.randn(count, 3, 8, 8)
        torch.testing.assert_close(fixed(x), free(x))
