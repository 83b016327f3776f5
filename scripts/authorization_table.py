"""Writes which role may call which RPC, as the contracts and the permissions say it.

python scripts/authorization_table.py           write the table of docs/authorization.md
python scripts/authorization_table.py --check   exit 1 if it differs from what would be written
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor
from trackops.common.v1.authorization_pb2 import Authorization

from trackops_common.contracts import rpcs
from trackops_common.grpc.admission import authorization_of
from trackops_common.permissions import Permission, Role, Scope, scope_of

PAGE = Path(__file__).parent.parent / "docs" / "authorization.md"

BEGIN = "<!-- table: written by scripts/authorization_table.py -->"
END = "<!-- end of table -->"


def page(text: str) -> str:
    """The page with its table written anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n" + "\n".join(_table()) + f"\n{END}{after}"


def _table() -> Iterator[str]:
    roles = list(Role)
    for service, methods in groupby(rpcs(), key=lambda rpc: rpc.containing_service.full_name):
        yield from ("", f"### {service}", "")
        yield f"| RPC | permission | {' | '.join(roles)} |"
        yield "|---" * (len(roles) + 2) + "|"
        for method in methods:
            option = authorization_of(method)
            cells = [_cell(option, role) for role in roles]
            yield f"| {_name(method)} | {option.permission or 'public'} | {' | '.join(cells)} |"
    yield ""


def _name(method: MethodDescriptor) -> str:
    return f"{method.name} (stream)" if method.server_streaming else str(method.name)


def _cell(option: Authorization, role: Role) -> str:
    if option.public:
        return "yes"
    scope = scope_of(frozenset({role}), Permission(option.permission))
    if scope is Scope.OWN:
        return "own" if option.own_resources else ""
    return "yes" if scope else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = PAGE.read_text()
    wanted = page(text)
    if not parser.parse_args().check:
        PAGE.write_text(wanted)
    elif text != wanted:
        sys.exit("authorization: run `python scripts/authorization_table.py` and commit the page")


if __name__ == "__main__":
    main()
