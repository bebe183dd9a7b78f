from __future__ import annotations

import pytest

from backends.threads import Governor, governor


class Machine:
    """Steps take 24 ms with two threads; threads that have no core of their own make them fifteen times slower."""

    def __init__(self, cores: int, counts, chosen: int) -> None:
        self.now, self.cores, self.busy = 0.0, cores, 0
        self.governor = Governor(counts, chosen, clock=lambda: self.now)

    def step(self) -> float:
        threads = self.governor.threads
        crowded = threads > max(self.cores - self.busy, 1)
        seconds = 0.048 / threads * (15 if crowded else 1)
        self.now += seconds
        self.governor.took(seconds)
        return seconds

    def run(self, seconds: float) -> float:
        """Mean time of the steps of that long."""
        end, times = self.now + seconds, []
        while self.now < end:
            times.append(self.step())
        return sum(times) / len(times)


def test_fewer_threads_while_another_program_runs_and_all_of_them_afterwards():
    machine = Machine(2, (1, 2), 2)
    machine.run(5)
    assert machine.governor.threads == 2
    machine.busy = 1
    machine.run(2)
    assert machine.run(60) < 0.055  # one thread takes 48 ms; trying two again costs little
    machine.busy = 0
    machine.run(65)
    assert machine.governor.threads == 2 and machine.run(5) == pytest.approx(0.024)


def test_steps_that_have_become_longer_do_not_count_as_slow_for_ever():
    clock = [0.0]
    watched = Governor((1, 2), 2, clock=lambda: clock[0])

    def step(one_thread_s):
        seconds = one_thread_s / watched.threads
        clock[0] += seconds
        watched.took(seconds)

    for _ in range(20):
        step(0.048)
    for _ in range(200):  # a long conversation: three times the work
        step(0.150)
    with_all = 0
    for _ in range(100):
        with_all += watched.threads == 2
        step(0.150)
    assert with_all == 100


def test_a_start_on_a_busy_machine_is_made_good():
    machine = Machine(2, (1, 2), 1)
    machine.run(4)
    assert machine.governor.threads == 2


@pytest.mark.parametrize(("busy", "threads"), [(1, 7), (3, 4), (6, 1)])
def test_only_as_few_as_are_needed(busy, threads):
    machine = Machine(8, (1, 4, 7, 8), 8)
    machine.run(5)
    machine.busy = busy
    machine.run(20)
    assert machine.run(1) < 0.048 / threads * 1.2 or machine.governor.threads == threads


def test_a_single_hiccup_and_a_growing_conversation_change_nothing():
    watching = Governor((1, 2), 2)
    seconds = 0.02
    for number in range(2000):
        seconds *= 1.001
        assert watching.took(seconds * (20 if number % 10 == 9 else 1)) == 2


def test_one_core_needs_no_governor(monkeypatch):
    monkeypatch.setattr("backends.threads.usable_cores", lambda: 1)
    assert governor(1) is None
