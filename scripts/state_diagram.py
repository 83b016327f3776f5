"""Draws the order's state machine from the data that the aggregate obeys.

python scripts/state_diagram.py           write docs/order-states.md
python scripts/state_diagram.py --check   exit 1 if it differs from what would be written
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from trackops_order.domain.states import TRANSITIONS, OrderState

PAGE = Path(__file__).parent.parent / "docs" / "order-states.md"

TEMPLATE = """\
# The states of an order

Generated from `services/order/trackops_order/domain/states.py` by `scripts/state_diagram.py`.

```mermaid
stateDiagram-v2
{edges}
```

Any other transition is refused with `FAILED_PRECONDITION` and reason `FORBIDDEN_TRANSITION`, which
names both states. Each arrow that is walked is one version of the order, one entry of its timeline
and one event.
"""


def page() -> str:
    """The whole page."""
    return TEMPLATE.format(edges="\n".join(f"    {edge}" for edge in _edges()))


def _edges() -> Iterator[str]:
    yield f"[*] --> {OrderState.PENDING}"
    for frm in OrderState:
        yield from (f"{frm} --> {to}" for to in OrderState if to in TRANSITIONS[frm])
        if not TRANSITIONS[frm]:
            yield f"{frm} --> [*]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        sys.exit("state diagram: run `python scripts/state_diagram.py` and commit docs")


if __name__ == "__main__":
    main()
