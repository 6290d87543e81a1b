import functools
import itertools

import pytest
import torch

import texts
from flyweight.core.errors import TaskError
from flyweight.tasks import movie_reviews as module
from flyweight.tasks.load import BUILT_IN, load_task


def _reviews():
    """Every sentence of four words, and some of them a second time."""
    words = ["good", "bad", "film", "taste", "love"]
    said = [" ".join(four) for four in itertools.product(words, repeat=4)]
    return [(text, int(text.count("good") > text.count("bad"))) for text in said + said[:20]]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    small = texts.small_minilm()
    texts.write_minilm(folder, small)
    path = texts.write_reviews(folder / "reviews.csv", _reviews())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "minilm", lambda classes: texts.small_minilm(classes))
        yield small, functools.partial(module.movie_reviews, reviews=path, model=folder)


def test_the_splits_share_no_text(made):
    data = made[1](length=8).data
    rows = [{tuple(row.tolist()) for row in getattr(data, name).tensors[0]} for name in ("train", "select", "report")]
    assert [len(r) for r in rows] == [625 - 93 - 62, 62, 93]
    assert len(set.union(*rows)) == 625
    assert all(torch.equal(a, b[:512]) for a, b in zip(data.calibrate.tensors, data.train.tensors, strict=True))


def test_texts_that_are_read_alike_count_as_one(made):
    """Of two words and the marks, 25 beginnings are left."""
    data = made[1](length=4).data
    assert sum(len(split) for split in (data.train, data.select, data.report)) == 25


def test_labels_stay_with_their_texts_and_classes_are_mixed(made):
    data = made[1](length=8).data
    good, bad = texts.VOCABULARY.index("good"), texts.VOCABULARY.index("bad")
    for split in (data.train, data.select, data.report):
        ids, mask, labels = split.tensors
        assert torch.equal(labels, ((ids == good).sum(1) > (ids == bad).sum(1)).long())
        assert (mask.sum(1) == 6).all()
        assert 0.25 < labels[: len(labels) // 2].double().mean() < 0.55


def test_is_the_same_each_time_and_leaves_the_generator(made):
    state = torch.random.get_rng_state()
    one, other = made[1](length=8), made[1](length=8)
    assert torch.equal(torch.random.get_rng_state(), state)
    for split in ("train", "select", "report"):
        pairs = zip(getattr(one.data, split).tensors, getattr(other.data, split).tensors, strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


def test_the_model_has_the_values_and_takes_the_example(made):
    task = made[1](length=8, epochs=2)
    assert torch.equal(
        task.model.bert.embeddings.word_embeddings.weight, made[0].bert.embeddings.word_embeddings.weight
    )
    assert task.model(*task.example).shape == (2, 2)
    assert task.train.epochs == 2


def test_too_few_reviews(made, tmp_path):
    path = texts.write_reviews(tmp_path / "few.csv", [("good", 1), ("bad", 0), ("film", 1)])
    with pytest.raises(TaskError, match="3 reviews are too few"):
        made[1](reviews=path)


def test_is_known_by_name(monkeypatch):
    assert BUILT_IN["movie-reviews"] == "flyweight.tasks.movie_reviews.movie_reviews"
    monkeypatch.setattr(module, "movie_reviews", lambda: "the task")
    assert load_task("movie-reviews") == "the task"
