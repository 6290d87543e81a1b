"""Energy: the idle machine is subtracted, counters are found in their order, and none is invented."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path

import pytest

from flyweight.core.errors import FlyweightError
from flyweight.measure.energy import energy, find_counter


class Meter:
    """A machine that draws 10 W, and 0.5 J more for each call."""

    name = "fake"

    def __init__(self) -> None:
        self.start, self.calls = time.perf_counter(), 0

    def joules(self) -> float:
        return 10 * (time.perf_counter() - self.start) + 0.5 * self.calls

    def call(self) -> None:
        self.calls += 1
        time.sleep(0.005)


def test_the_idle_machine_is_subtracted() -> None:
    meter = Meter()
    found = energy(meter.call, meter, seconds=0.2)
    assert found.millijoules == pytest.approx(500, rel=0.02)
    assert found.counter == "fake"


def test_no_more_than_idle_is_none_with_the_reason() -> None:
    meter = Meter()
    found = energy(lambda: time.sleep(0.005), types.SimpleNamespace(name="fake", joules=lambda: -meter.joules()), 0.05)
    assert found.millijoules is None or found.millijoules < 5
    still = energy(lambda: None, types.SimpleNamespace(name="still", joules=lambda: 7.0), 0.02)
    assert still.millijoules is None
    assert still.why.startswith("still counted 0 J in 0.0 s, and 0 J of the idle machine")


def rapl(sys_class: Path, microjoules: list[int]) -> list[Path]:
    files = []
    for i, value in enumerate(microjoules):
        zone = sys_class / "powercap" / f"intel-rapl:{i}"
        (zone / f"intel-rapl:{i}:0").mkdir(parents=True)
        (zone / "name").write_text(f"package-{i}\n")
        (zone / "max_energy_range_uj").write_text("1000000\n")
        (zone / "energy_uj").write_text(f"{value}\n")
        (zone / f"intel-rapl:{i}:0" / "name").write_text("core\n")
        files.append(zone / "energy_uj")
    return files


def test_rapl_sums_packages_and_survives_its_own_overflow(tmp_path: Path) -> None:
    one, two = rapl(tmp_path, [900_000, 100_000])
    counter, why = find_counter(sys=tmp_path)
    assert counter is not None
    assert (counter.name, why) == ("RAPL", "")
    first = counter.joules()
    one.write_text("100000")  # from 0.9 J over 1 J to 0.1 J
    two.write_text("150000")
    assert counter.joules() - first == pytest.approx(0.2 + 0.05)


def test_rapl_that_only_root_may_read_says_so(tmp_path: Path) -> None:
    (file,) = rapl(tmp_path, [1])
    file.unlink()
    counter, why = find_counter(sys=tmp_path)
    assert counter is None
    assert "no counter: no energy of the chip" in why
    assert "energy_uj cannot be read (most systems let only root)" in why


def test_a_chips_own_counter_comes_first_and_cores_are_not_counted_twice(tmp_path: Path) -> None:
    rapl(tmp_path, [1])
    chip = tmp_path / "hwmon" / "hwmon3"
    chip.mkdir(parents=True)
    for i, label in enumerate(("Ecore000", "Esocket0")):
        (chip / f"energy{i}_label").write_text(label)
        (chip / f"energy{i}_input").write_text(str(3_000_000 * (i + 1)))
    counter, _ = find_counter(sys=tmp_path)
    assert counter is not None
    assert (counter.name, counter.joules()) == ("hwmon", 6.0)


def test_nvml_counts_only_for_models_that_run_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 1000 * (handle + 1),
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    counter, _ = find_counter("cuda:1", sys=tmp_path)
    assert counter is not None
    assert (counter.name, counter.joules()) == ("NVML", 2.0)
    assert find_counter("cpu", sys=tmp_path)[0] is None


def test_nvml_without_a_driver_is_a_reason() -> None:
    counter, why = find_counter("cuda:0")
    assert counter is not None or "NVML cannot be read" in why


def test_a_reading_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_meter.py").write_text("def joules():\n    return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    counter, _ = find_counter(meter="my_meter:joules", sys=tmp_path)
    assert counter is not None
    assert (counter.name, counter.joules()) == ("my_meter:joules", 3)
    with pytest.raises(FlyweightError, match=r"the meter 'my_meter:watts' cannot be read: AttributeError.*joules"):
        find_counter(meter="my_meter:watts", sys=tmp_path)
