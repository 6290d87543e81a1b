"""Prunes while two processes train, and keeps what each of them has: ``crew.py PATH`` under torchrun."""

import dataclasses
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
import tiny
from flyweight.compress.prune.lottery import LotteryTicket
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.schedules.iterative import iterative
from flyweight.compress.prune.scores.movement import movement
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.channel import channel
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.core.weights import save_state
from flyweight.learn.fit import Fit
from flyweight.learn.train import Train

path = sys.argv[1]
torch.set_num_threads(1)
task = dataclasses.replace(tiny.fresh_task(), fit=Fit(device="cpu", precision="no"))
train = Train(epochs=1, batch_size=64)
kept = {}
for name, recipe in {
    "movement": [Prune(0.6, movement(), schedule=cubic(every=0.2)), train],
    "channels": [Prune(0.5, taylor(), channel(), schedule=cubic(every=0.2)), train],
    "ticket": [LotteryTicket(0.5, train, rounds=1, rewind=3)],
    "rounds": [Prune(0.5, taylor(), schedule=iterative(2, train))],
}.items():
    result = run(recipe, task.model, task, Store(f"{path}-store"))
    kept |= {f"{name}.{key}": value for key, value in result.state_dict().items()}
save_state(kept, Path(f"{path}-{os.environ.get('RANK', '0')}"))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
