"""Work on a stream with an executor, in bounded memory and with the order kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Generator[Result, None, None]:
    """Yield the results of a function in the order of the items, which are taken only as results are.

    `Executor.map` would take all items at once. Closing the iterator gives up what has not begun.

    Args:
        executor: runs the function; stays the caller's.
        function: what to do with each item; for processes a function of a module, and what it raises comes out here.
        items: may be endless.
        ahead: how many items may be in work or waiting besides the one whose result is due.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
