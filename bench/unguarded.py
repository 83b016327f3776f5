"""The order service without authentication, authorisation and validation, for what they cost.

    python -m bench.unguarded

No setting of the service does this: their code is replaced here, before it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from trackops_cli.local.mesh import is_serving
from trackops_cli.local.ports import Ports
from trackops_cli.local.stack import LocalStack
from trackops_common.auth import ANYONE, Caller, enter_call
from trackops_common.grpc import admission, endpoints
from trackops_common.grpc.server import run
from trackops_order.bootstrap import OrderSettings, bootstrap

__all__ = ["unguarded_order_service"]

_START_SECONDS = 60.0


@contextmanager
def unguarded_order_service(stack: LocalStack) -> Iterator[str]:
    """A second process on the stack's servers; host:port of its gRPC.

    Raises:
        SystemExit: it does not serve within a minute.
    """
    ports = Ports.free()
    target, http = f"127.0.0.1:{ports.order}", f"127.0.0.1:{ports.order_http}"
    told = stack.services["order"].command().environment
    environment = {**os.environ, **told, "TRACKOPS_LISTEN": target, "TRACKOPS_HTTP_LISTEN": http}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.unguarded"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + _START_SECONDS
        while not is_serving(target):
            if process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit("bench: the order service without its guards does not serve")
            time.sleep(0.1)
        yield target
    finally:
        process.terminate()
        process.wait()


async def _admit_anyone(_admission: admission.Admission, _metadata: object) -> None:
    enter_call(Caller(ANYONE))


def main() -> None:
    setattr(admission.Admission, "admit", _admit_anyone)  # noqa: B010 - another signature
    setattr(endpoints, "validation_failure", lambda _: None)  # noqa: B010 - imported there
    run("trackops_order", OrderSettings, bootstrap)


if __name__ == "__main__":
    main()
