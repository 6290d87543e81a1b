"""Sparse training on uneven batches, alone or under torchrun; keeps what each process has: ``crew.py PATH``."""

import os
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent.parent.parent))
import tiny
from flyweight.compress.prune.regrow.regrow import Regrow
from flyweight.compress.prune.regrow.rigl import rigl
from flyweight.compress.prune.regrow.set_ import set_
from flyweight.compress.prune.regrow.snfs import snfs
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.core.weights import save_state
from flyweight.learn.optimizers import sgd
from flyweight.learn.train import Train

path = sys.argv[1]
torch.set_num_threads(1)
torch.manual_seed(0)
task = tiny.uneven_task()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 4))
kept = {}
for rule in (rigl(every=2), snfs(every=3), set_(every=3)):
    recipe = [Regrow(0.7, rule), Train(epochs=2, optimizer=sgd(lr=0.05), batch_size=16)]
    result = run(recipe, model, task, Store(f"{path}-store"))
    kept |= {f"{type(rule).__name__}.{key}": value for key, value in result.state_dict().items()}
save_state(kept, Path(f"{path}-{os.environ.get('RANK', '0')}"))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
