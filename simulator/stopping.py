"""How a run ends on Ctrl-C and SIGTERM: first in good order, the second time at once."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPTED = 130
"""Exit status of a program that Ctrl-C ended, as shells know it (128 + SIGINT)."""


def run_until_stopped(main: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    """Return what `main` returns; it is given an event that the first SIGINT or SIGTERM sets."""

    async def guarded() -> int:
        stop = asyncio.Event()
        task = asyncio.ensure_future(main(stop))

        def on_signal() -> None:
            if stop.is_set():
                task.cancel()
            stop.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)
        try:
            return await task
        except asyncio.CancelledError:
            return INTERRUPTED

    return asyncio.run(guarded())


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what the work returns, or None if `stop` comes first; then the work is cancelled."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def to_its_end(work: Coroutine[Any, Any, None], *, at_most_s: float) -> None:
    """Do what must be done also where the task is cancelled, before or meanwhile, but then for so long at most.

    Cancelled once more, it ends at once.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine is run by one
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working}, timeout=at_most_s if task.cancelling() else None)
    except asyncio.CancelledError:
        if task.cancelling() == 1:
            await asyncio.wait({working}, timeout=at_most_s)
        raise
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    if not working.cancelled():
        working.result()
