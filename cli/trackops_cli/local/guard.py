"""Stops a test run's stack when the run itself was killed and cannot: `python -m … <home>`.

Reads standard input, a pipe that only the run holds open; its end means that the run is over.
"""

import shutil
import sys
from pathlib import Path


def main(home: Path) -> None:
    sys.stdin.read()
    if home.exists():
        _clean_up(home)


def _clean_up(home: Path) -> None:
    from trackops_cli.local.ports import Ports
    from trackops_cli.local.stack import LocalStack

    LocalStack(home, Ports()).stop(grace_seconds=0)
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
