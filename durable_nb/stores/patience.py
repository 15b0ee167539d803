"""Waiting while another program writes."""

import logging
import random
import time
from collections.abc import Callable, Iterator

_LOGGER = logging.getLogger("durable_nb.stores")
_LONG = 10.0  # seconds of waiting after which one warning is logged


def patiently(path: str, refuse: Callable[[], None]) -> Iterator[None]:
    """Let others finish; nobody is ever told "database is locked", whatever it takes. `refuse` ends it by raising."""
    began, is_warned = time.monotonic(), False
    while True:
        refuse()
        time.sleep(random.uniform(0.0001, 0.0016))  # as long as a commit takes, and never in step with others
        refuse()
        if not is_warned and time.monotonic() - began > _LONG:
            is_warned = True
            _LOGGER.warning("%s has been locked by another program for %.0f s; still waiting", path, _LONG)
        yield
