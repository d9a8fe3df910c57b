"""Idle workers go to trajectories in turn."""

from __future__ import annotations

import asyncio

from rayfe.on_ray.fair_queue import FairQueue


def served(*asks: str, workers: int = 1) -> list[str]:
    """Who is served in which order when all ask at once and each gives its worker back before the next is served."""

    async def run() -> list[str]:
        queue: FairQueue[int] = FairQueue()
        order: list[str] = []

        async def ask(who: str) -> None:
            worker = await queue.get(who)
            order.append(who)
            await asyncio.sleep(0)
            queue.put(worker)

        asking = [asyncio.create_task(ask(who)) for who in asks]
        await asyncio.sleep(0)
        for worker in range(workers):
            queue.put(worker)
        await asyncio.gather(*asking)
        assert queue.idle == workers
        return order

    return asyncio.run(run())


def test_a_trajectory_with_many_parts_does_not_keep_the_others_waiting() -> None:
    assert served("a", "a", "a", "a", "b", "c") == ["a", "b", "c", "a", "a", "a"]


def test_trajectories_take_turns() -> None:
    assert served("a", "a", "a", "b", "b", "b") == ["a", "b", "a", "b", "a", "b"]


def test_two_workers_serve_two_trajectories_at_a_time() -> None:
    assert served("a", "a", "b", "b", workers=2)[:2] == ["a", "b"]


def test_who_comes_first_is_served_first() -> None:
    assert served("c", "b", "a") == ["c", "b", "a"]


def test_who_stops_waiting_takes_no_worker_along() -> None:
    async def run() -> None:
        queue: FairQueue[int] = FairQueue()
        gone, handed = asyncio.create_task(queue.get("a")), asyncio.create_task(queue.get("b"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        queue.put(1)
        handed.cancel()  # after it was handed the worker, before it could take it
        await asyncio.gather(gone, handed, return_exceptions=True)
        assert queue.idle == 1

    asyncio.run(run())


def test_the_worker_that_was_idle_longest_comes_next_and_the_last_one_is_given_up() -> None:
    async def run() -> None:
        queue: FairQueue[int] = FairQueue()
        for worker in (1, 2, 3):
            queue.put(worker)
        assert queue.take() == 3
        assert await queue.get("a") == 1
        queue.remove(2)
        assert queue.take() is None


def test_a_worker_is_filled_before_the_next_and_idle_ones_come_last() -> None:
    async def run() -> None:
        queue: FairQueue[str] = FairQueue(3)
        for worker in ("one", "two"):
            queue.add(worker)
        assert [await queue.get(who) for who in "abcd"] == ["one", "one", "one", "two"]
        queue.put("one")
        assert queue.idle == 0 and queue.take() is None
        assert await queue.get("e") == "one"  # it has one free place, the other two
        for worker in ("one", "one", "two", "one"):
            queue.put(worker)
        assert queue.idle == 2 and queue.take() == "one"
        assert [await queue.get(who) for who in "abc"] == ["two"] * 3
        assert queue.idle == 0

    asyncio.run(run())


def test_all_places_of_a_worker_go_to_those_who_wait_trajectories_in_turn() -> None:
    async def run() -> None:
        queue: FairQueue[str] = FairQueue(3)
        order: list[str] = []

        async def ask(who: str) -> None:
            await queue.get(who)
            order.append(who)

        asking = [asyncio.create_task(ask(who)) for who in "aaabb"]
        await asyncio.sleep(0)
        queue.add("one")
        await asyncio.sleep(0)
        assert order == ["a", "b", "a"] and queue.idle == 0
        queue.add("two")
        await asyncio.gather(*asking)
        assert queue.idle == 0 and await queue.get("c") == "two"

    asyncio.run(run())
