"""Work gives the same results on threads and on a cluster, in the items' order."""

from __future__ import annotations

import threading

import pytest

from landcover_orch import compute


def _square(value: int) -> int:
    return value * value


LAST = 8
LAST_IS_DONE = threading.Event()


def _square_first_last(value: int) -> int:
    """The square; that of 0 comes once all others have come."""
    if value == 0:
        assert LAST_IS_DONE.wait(60)
    if value == LAST:
        LAST_IS_DONE.set()
    return value * value


def _fail(value: int) -> int:
    if value == 3:
        raise ValueError("three")
    return value


def test_results_come_in_the_items_order_and_each_is_heard_once() -> None:
    heard: list[tuple[int, int]] = []
    items = list(range(50))
    assert compute.run(_square, items, done=lambda item, result: heard.append((item, result))) == [i * i for i in items]
    assert sorted(heard) == [(i, i * i) for i in items]


def test_nothing_to_do() -> None:
    assert compute.run(_square, []) == []


def test_the_first_error_is_raised() -> None:
    with pytest.raises(ValueError, match="three"):
        compute.run(_fail, [1, 2, 3, 4])


def test_listeners_are_never_called_at_once() -> None:
    inside = threading.Semaphore(1)
    clashes: list[int] = []

    def hear(item: int, result: int) -> None:
        if not inside.acquire(blocking=False):
            clashes.append(item)
            return
        sum(range(2000))
        inside.release()

    compute.run(_square, list(range(200)), done=hear)
    assert clashes == []


def test_progress_is_logged_each_tenth(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="landcover_orch.compute"):
        compute.run(_square, list(range(40)), label="squares")
    assert len(caplog.messages) == 10
    assert caplog.messages[-1] == "squares: 40 of 40"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_gives_the_same_results_in_the_items_order_and_not_in_that_of_completion() -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        heard: list[int] = []
        address = cluster.scheduler_address
        items = list(range(LAST + 1))
        found = compute.run(_square_first_last, items, done=lambda item, _: heard.append(item), cluster=address)
        assert found == compute.run(_square, items)
        assert sorted(heard) == items
        assert heard.index(0) > 1, "the first item was not done first"
        with pytest.raises(ValueError, match="three"):
            compute.run(_fail, [1, 2, 3, 4], cluster=address)
