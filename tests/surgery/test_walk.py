import pytest
import torch
from torch import nn

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.sparsify.l0_gates import L0Gates
from flyweight.core.errors import UnknownNameError
from flyweight.surgery.walk import matching, replace_, walk, within
from nets import plain_task


def net():
    return nn.Sequential(
        *(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.ReLU())),
        nn.ModuleDict({"head": nn.Linear(4, 5), "other": nn.Conv1d(1, 1, 1)}),
    )


def test_walk_finds_kinds_and_leaves_out_what_globs_cover():
    model = net()
    assert [n for n, _ in walk(model, (nn.Linear,))] == ["0", "1.0", "2.head"]
    assert [n for n, _ in walk(model, (nn.Linear, nn.Conv1d), exclude=("1", "*.head"))] == ["0", "2.other"]
    assert [n for n, _ in walk(model, (nn.Linear,), exclude=("1.*", "0"))] == ["2.head"]


def test_a_name_lies_within_itself_and_its_parents_only():
    assert within("a.b.c", {"a.b"})
    assert within("a.b", {"a.b"})
    assert not within("a.bc", {"a.b"})
    assert not within("a", {"a.b"})


def test_a_glob_that_matches_nothing_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"no module of Sequential matches '2.haed'. Did you mean '2.head'\?"):
        matching(net(), ("2.haed",))
    with pytest.raises(UnknownNameError, match="matches 'x'"):
        list(walk(net(), exclude=("x",)))


def test_replace_puts_a_module_in_place():
    model = net()
    new = nn.Identity()
    replace_(model, "1.0", new)
    assert model[1][0] is new
    replace_(model, "2.head", new)
    assert model[2]["head"] is new


def test_replace_knows_every_name_of_a_shared_module():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, shared)
    replace_(model, "1", nn.Identity())
    assert model[0] is shared
    assert torch.equal(model(torch.ones(1, 2)), shared(torch.ones(1, 2)))


@pytest.mark.parametrize("name", ["", "1.9", "2.haed"])
def test_replacing_what_is_not_there_is_refused(name):
    with pytest.raises(UnknownNameError, match=f"there is no module of Sequential {name!r}"):
        replace_(net(), name, nn.Identity())


def test_one_string_is_no_tuple_of_globs():
    with pytest.raises(UnknownNameError, match=r"globs come in a tuple, and here is 'stem'. Give \('stem',\)"):
        matching(nn.Sequential(nn.ReLU()), "stem")
    task = plain_task(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
    for step in (Prune(0.5, exclude="0"), Remove(exclude="0"), Quantize(exclude="0"), L0Gates(exclude="0")):
        with pytest.raises(UnknownNameError, match="come in a tuple"):
            step(task.model, task)
    with pytest.raises(UnknownNameError, match=r"and here is 3. Give some as in \(\"stem\", \"head.\*\"\)."):
        matching(task.model, 3)
