"""The native library on every path that this machine has, each in a process of its own (``abi_worker.py``)."""

import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("abi_worker.py")
PATHS = ("portable", "avx2", "avx512")


class Worker:
    """One process; a crash of it is an error that names the signal, and the next call starts another."""

    def __init__(self, path, **environment):
        self.path, self.environment, self.process = path, environment, None
        self.says = self.start()

    def start(self):
        environment = {**os.environ, **self.environment, "FLYWEIGHT_KERNELS": self.path}
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        return self.receive()

    def receive(self):
        head = self.process.stdout.read(8)
        if len(head) < 8:
            self.process.stdin.close()
            code, self.process = self.process.wait(), None
            raise AssertionError(f"the library ended its process on path {self.path}: exit {code}")
        return pickle.loads(self.process.stdout.read(struct.unpack("<q", head)[0]))

    def __call__(self, kind, told, x, residual, runs):
        if self.process is None:
            self.start()
        packed = pickle.dumps((kind, told, x, residual, runs), protocol=5)
        self.process.stdin.write(struct.pack("<q", len(packed)) + packed)
        self.process.stdin.flush()
        return self.receive()

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
            self.process = None


def available_paths(**environment):
    """A worker for each path that the machine has, by its name."""
    workers = {path: Worker(path, **environment) for path in PATHS}
    for path, worker in list(workers.items()):
        if worker.says != path:
            workers.pop(path).close()
    return workers
