"""One Optuna study in the run's folder: asked and told by any number of processes, and never the same trial twice."""

from __future__ import annotations

import contextlib
import fcntl
import warnings
from collections.abc import Iterator
from typing import Any

from flyweight.core.errors import unknown_name
from flyweight.core.owner import lives, owner
from flyweight.core.point import Point
from flyweight.search.candidate import Terms

SAMPLERS = ("tpe", "nsga2", "random")
_OWNER, _REASON, _FLOOR = "owner", "failure", "quality>=floor"


class Study:
    """Trials in the folder's ``trials.journal``: quality upwards, every cost downwards; the budgets, and the quality
    that ``max_drop`` allows, as constraints.

    The journal is Optuna's, locked for each entry, so workers may share it. A trial whose process was killed is
    entered anew with its choices, and finds its finished steps in the store.
    """

    def __init__(self, terms: Terms, sampler: str = "tpe", seed: int = 0) -> None:
        if sampler not in SAMPLERS:
            raise unknown_name("sampler", sampler, SAMPLERS)
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.costs, self.budgets, self.floor = terms.folder, terms.costs, terms.budgets, terms.floor
        self.sampler, self.seed = sampler, seed
        storage = JournalStorage(JournalFileBackend(str(terms.folder / "trials.journal")))
        # Constraints are stored with a trial when it is told, so other budgets are another study.
        drop = () if self.floor is None else (f"drop<={terms.max_drop:g}",)
        name = " ".join(("quality", *self.costs, *map(str, self.budgets), *drop))
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=["maximize" if i == 0 else "minimize" for i in range(1 + len(self.costs))],
            load_if_exists=True,
        )
        self._states = optuna.trial.TrialState

    @property
    def finished(self) -> int:
        """Trials that were told, the failed among them."""
        trials = self._study.get_trials(deepcopy=False)
        return sum(t.state.is_finished() and not self._given_up(t) for t in trials)

    @property
    def started(self) -> int:
        """Trials that are finished, or under way in a living process."""
        trials = self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,))
        return self.finished + len(trials)

    def recover(self) -> None:
        """Enters the trials of dead processes anew; call it before asking."""
        with self._alone():  # between asking and signing a trial looks like a dead process's
            for trial in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
                if not lives(trial.user_attrs.get(_OWNER)):
                    self.release(trial)

    def release(self, trial: Any) -> None:
        """Gives up ``trial``, and enters it anew for whoever asks next."""
        self._study.enqueue_trial(trial.params)
        with contextlib.suppress(RuntimeError):  # another process released it in the meantime
            self._study.tell(trial.number, state=self._states.FAIL)

    def ask(self, most: int | None = None) -> Any:
        """The next trial, marked as this process's; None where ``most`` are finished or under way."""
        with self._alone():
            started = self.started
            if most is not None and started >= most:
                return None
            # A sampler is made anew for every trial, under a seed of its own: a search that was stopped goes on as if
            # it had not been.
            self._study.sampler = self._sampler((self.seed * 1_000_003 + started) % 2**32)
            trial = self._study.ask()
            trial.set_user_attr(_OWNER, owner())
            return trial

    def tell(self, trial: Any, point: Point) -> None:
        """Tells what became of ``trial``; one that failed, or has a cost that was not measured, is told as failed."""
        values = {name: point.value(name) for name in ("quality", *self.costs)}
        told = [value for value in values.values() if value is not None]
        if point.failure is not None or len(told) < len(values):
            missing = [name for name, value in values.items() if value is None]
            trial.set_user_attr(_REASON, point.failure or f"not measured: {', '.join(missing)}")
            self._study.tell(trial, state=self._states.FAIL)
            return
        for budget in self.budgets:
            trial.set_constraint(str(budget), budget.excess(point))
        if self.floor is not None:
            trial.set_constraint(_FLOOR, max(0.0, self.floor - told[0]))
        self._study.tell(trial, told)

    def fail(self, trial: Any, reason: str) -> None:
        """Tells that ``trial`` became no candidate."""
        trial.set_user_attr(_REASON, reason)
        self._study.tell(trial, state=self._states.FAIL)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.folder / "trials.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _given_up(self, trial: Any) -> bool:
        return trial.state == self._states.FAIL and _REASON not in trial.user_attrs

    def _sampler(self, seed: int) -> Any:
        import optuna

        if self.sampler == "tpe":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                # Grouped, for which choices exist hangs on others; lying, so that workers keep apart.
                return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
        if self.sampler == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=16)
        return optuna.samplers.RandomSampler(seed=seed)
