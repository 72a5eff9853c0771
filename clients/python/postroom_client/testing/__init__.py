"""A test kit for applications that use Postroom: a real router, clients and services, faults, assertions that wait.

With pytest the fixtures `postroom` and `postroom_alone` are there as soon as `postroom-client[testing]` is installed.
Everywhere else: `async with router() as postroom`.
"""

from ._assertions import assert_event
from ._chains import Broken, assert_chain, check_chain
from ._postroom import Postroom
from ._process import RouterFailed, RouterMissing, RouterProcess
from ._router import router

__all__ = [
    "Broken",
    "Postroom",
    "RouterFailed",
    "RouterMissing",
    "RouterProcess",
    "assert_chain",
    "assert_event",
    "check_chain",
    "router",
]
