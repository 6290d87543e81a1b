import sys

import pytest
import torch

import texts
from flyweight.core.errors import MissingExtraError, TaskError
from flyweight.tasks.word_pieces import word_pieces

PIECE = {word: number for number, word in enumerate(texts.VOCABULARY)}


def test_pieces_between_marks_cut_and_filled(tmp_path):
    path = texts.write_tokenizer(tmp_path)
    ids, mask = word_pieces(["Tasteless film.", "a " * 40, "", "zebra"], path, 6)
    wanted = [
        ["[CLS]", "taste", "##less", "film", ".", "[SEP]"],
        ["[CLS]", "a", "a", "a", "a", "[SEP]"],
        ["[CLS]", "[SEP]", *["[PAD]"] * 4],
        ["[CLS]", "[UNK]", "[SEP]", *["[PAD]"] * 3],
    ]
    assert ids.tolist() == [[PIECE[piece] for piece in row] for row in wanted]
    assert mask.tolist() == [[int(piece != "[PAD]") for piece in row] for row in wanted]
    assert ids.dtype == mask.dtype == torch.int64


def test_many_texts_stay_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("flyweight.tasks.word_pieces._AT_ONCE", 3)
    path = texts.write_tokenizer(tmp_path)
    said = [texts.WORDS[n % 5] for n in range(8)]
    assert word_pieces(said, path, 4)[0][:, 1].tolist() == [PIECE[word] for word in said]


def test_a_length_without_room(tmp_path):
    with pytest.raises(TaskError, match=r"a text of 2 pieces has no room"):
        word_pieces(["a"], tmp_path / "tokenizer.json", 2)


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "flyweight\[text\]"'):
        word_pieces(["a"], tmp_path / "tokenizer.json")
