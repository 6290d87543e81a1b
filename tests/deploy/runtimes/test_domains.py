"""A file's domains are read from its end, whatever lies before it."""

from pathlib import Path

import onnx
import pytest
from onnx import helper

import onnx_files
from flyweight.deploy.runtimes.domains import domains


def test_the_domains_of_a_file(tmp_path: Path) -> None:
    path = onnx_files.conv_net(tmp_path / "m.onnx", 512)
    assert domains(path) == {""}
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("mine: with words\nand ümlauts", 300))
    model.metadata_props.add(key="opset", value="not.a.domain")
    onnx.save(model, path)
    assert domains(path) == {"", "mine: with words\nand ümlauts"}


@pytest.mark.parametrize(
    "content",
    [b"", b"rubbish" * 50, b"\x42\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x08"],
)
def test_what_is_no_file_of_onnx_has_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    assert not domains(path) - {""}
    assert domains(tmp_path / "gone.onnx") == frozenset()
