import pytest
import torch

import texts
from flyweight.core.errors import MissingExtraError, ShapeError
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.parity import check_parity
from flyweight.deploy.score import score
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.models.minilm import minilm


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def task(request):
    torch.manual_seed(0)
    return texts.token_task(texts.small_minilm(attention=request.param))


def test_has_the_published_parameters():
    """22,713,216 are all-MiniLM-L6-v2's, as its safetensors count, with BERT's pooler, which a mean has no use for."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    with torch.device("meta"):
        model = minilm(classes=2)
    pooler, head = 384 * 384 + 384, 384 * 2 + 2
    assert sum(p.numel() for p in model.parameters()) == 22_713_216 - pooler + head


def test_padding_changes_nothing(task):
    ids, mask, _ = task.data.train.tensors
    short = int(mask.sum(1).argmin())
    length = int(mask[short].sum())
    wanted = task.model(ids[short : short + 1, :length], mask[short : short + 1, :length])
    other = ids[short : short + 1].clone()
    other[:, length:] = 9
    for given in (ids[short : short + 1], other):
        torch.testing.assert_close(task.model(given, mask[short : short + 1]), wanted, rtol=1e-4, atol=1e-6)


def test_is_the_mean_of_bert_s_states(task):
    ids, mask, _ = task.data.train.tensors
    states = task.model.bert(input_ids=ids, attention_mask=mask).last_hidden_state
    means = torch.stack([row[: int(m.sum())].mean(0) for row, m in zip(states, mask, strict=True)])
    torch.testing.assert_close(task.model(ids, mask), task.model.head(means), rtol=1e-4, atol=1e-6)


def test_a_text_of_nothing_is_no_nan(task):
    ids = torch.zeros(2, 6, dtype=torch.int64)
    assert task.model(ids, ids).isfinite().all()


def test_both_attentions_agree():
    one, other = texts.small_minilm(), texts.small_minilm(attention="sdpa")
    other.load_state_dict(one.state_dict())
    ids, mask = (t[:8] for t in texts.token_task(one).data.train.tensors[:2])
    torch.testing.assert_close(one(ids, mask), other(ids, mask), rtol=1e-4, atol=1e-6)


def test_whole_numbers_go_through_training_export_and_scores(task, tmp_path):
    model = Train(epochs=3, optimizer=adam(lr=3e-3))(task.model, task)
    found = score(model, task)
    assert found.value > 0.8
    artifact = export_onnx(model, task, tmp_path / "model.onnx")
    told = check_parity(model, artifact, task)
    assert told["top1_equal"] == 1.0 and told["examples"] == 96


def test_wider_and_deeper_are_larger():
    small, wider, deeper = (
        sum(p.numel() for p in texts.small_minilm(**more).parameters()) for more in ({}, {"hidden": 48}, {"layers": 3})
    )
    assert small < deeper and small < wider


@pytest.mark.parametrize("settings", [{"layers": 0}, {"heads": 5}, {"heads": 0}])
def test_no_such_network(settings):
    with pytest.raises(ShapeError, match="a number of heads that divides hidden"):
        minilm(**settings)


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "flyweight\[hf\]"'):
        minilm()
