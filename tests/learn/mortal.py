"""A training run for ``kill -9``: ``mortal.py FOLDER [STEP]`` kills itself in the loss of that step."""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))
import tiny
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.core.weights import save_state
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.tasks.cross_entropy import cross_entropy

calls = 0


def loss(forward, batch):
    """The cross-entropy, for as long as it lasts."""
    global calls
    calls += 1
    # Not a constant of this file: what the loss names is in its key. Mixup asks twice at each step.
    if sys.argv[2:] and calls == 2 * int(sys.argv[2]) - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return cross_entropy(forward, batch)


torch.set_num_threads(1)
folder = Path(sys.argv[1])
task = dataclasses.replace(tiny.fresh_task(), loss=loss, fit=Fit(checkpoint_seconds=0))
model = nn.Sequential(*task.model[:-1], nn.Dropout(0.3), task.model[-1])
step = Train(epochs=2, optimizer=adam(lr=5e-3), loss=mixed(0.4, distilled()))
result = run([step], model, task, Store(folder / "store"))
save_state(result.state_dict(), folder / "result.safetensors")
print(calls // 2)
