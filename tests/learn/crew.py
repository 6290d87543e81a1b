"""Trains two networks on uneven batches, alone or under torchrun, and keeps what each process has: ``crew.py PATH``."""

import dataclasses
import os
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))
import tiny
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.core.weights import save_state
from flyweight.learn.optimizers import sgd
from flyweight.learn.train import Train

path = sys.argv[1]
rank = os.environ.get("RANK", "0")
torch.set_num_threads(1)
torch.manual_seed(0)
task = tiny.uneven_task()
train = Train(epochs=2, optimizer=sgd(lr=0.05), batch_size=16)
kept = {}
plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, tiny.CLASSES))
for name, model in (("plain", plain), ("normed", task.model)):
    recipe = [train, dataclasses.replace(train, epochs=1, seed=1)]
    result = run(recipe, model, task, Store(f"{path}-store"))
    again = run(recipe, model, task, Store(f"{path}-store"))
    assert all(value.equal(again.state_dict()[key]) for key, value in result.state_dict().items())
    kept |= {f"{name}.{key}": value for key, value in result.state_dict().items()}
save_state(kept, Path(f"{path}-{rank}"))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
