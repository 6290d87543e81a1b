"""What torch.export says on its way to an error of ours."""

import logging
import sys
import warnings

import pytest
import torch
from torch import nn

from flyweight.core.errors import ExportError, UnsupportedError
from flyweight.deploy.export.onnx import export_onnx
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.quiet import quiet
from nets import plain_task


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(10, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = self.first(x)
        return self.second(x) if x.sum() > 0 else x


def test_a_branch_on_data_is_told_by_the_error_alone(tmp_path, capfd):
    model, example = Branching().eval(), torch.zeros(2, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnsupportedError, match=r"branches on the values of tensors"):
            couple(model, (example,))
        with pytest.raises(ExportError, match=r"if x.sum\(\) > 0"):
            export_onnx(model, plain_task(model, example), tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_what_is_said_around_it_is_heard(capsys):
    disabled = logging.root.manager.disable
    with quiet():
        print("a graph", file=sys.stderr)
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("torch.export").error("an error")
    assert capsys.readouterr() == ("", "")
    assert logging.root.manager.disable == disabled
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", stacklevel=1)
