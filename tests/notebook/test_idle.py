"""When a kernel counts as idle."""

import threading

from durable_nb.notebook.idle import Idle


def test_it_rings_after_every_cell() -> None:
    rung = threading.Semaphore(0)
    idle = Idle(lambda: 0.01, rung.release)
    try:
        idle.end()
        assert rung.acquire(timeout=30)
        idle.begin()
        idle.end()
        assert rung.acquire(timeout=30)
    finally:
        idle.stop()


def test_it_does_not_ring_while_a_cell_runs() -> None:
    rung = threading.Semaphore(0)
    idle = Idle(lambda: 0.01, rung.release)
    with idle._changed:  # the next cell follows before the thread can look
        idle.end()
        idle.begin()
    idle.stop()
    assert not rung.acquire(blocking=False)


def test_a_cell_begins_when_the_call_has_ended() -> None:
    called, may_end, begun = threading.Event(), threading.Event(), threading.Event()

    def then() -> None:
        called.set()
        assert may_end.wait(30)
        order.append("called")

    def cell() -> None:
        idle.begin()
        order.append("begun")
        begun.set()

    order: list[str] = []
    idle = Idle(lambda: 0.0, then)
    try:
        idle.end()
        assert called.wait(30)
        threading.Thread(target=cell).start()
        may_end.set()
        assert begun.wait(30)
        assert order == ["called", "begun"]
    finally:
        idle.stop()


def test_it_ends_when_it_is_stopped() -> None:
    idle = Idle(lambda: 60, lambda: None)
    idle.end()
    idle.stop()
    assert idle._thread is not None
    idle._thread.join(30)
    assert not idle._thread.is_alive()
