"""Writes what services can be told, as their settings classes say it.

python scripts/settings_table.py           write the tables of docs/settings.md
python scripts/settings_table.py --check   exit 1 if they differ from what would be written
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from trackops_common.setting_names import PREFIX
from trackops_common.settings import ServiceSettings
from trackops_identity.bootstrap import IdentitySettings
from trackops_inventory.bootstrap import InventorySettings
from trackops_order.bootstrap import OrderSettings
from trackops_outbox_relay.settings import RelaySettings
from trackops_payment.settings import PaymentSettings
from trackops_saga_orchestrator.bootstrap import SagaSettings

__all__ = ["SETTINGS", "page", "undocumented"]

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

BEGIN = "<!-- tables: written by scripts/settings_table.py -->"
END = "<!-- end of tables -->"

SETTINGS: Mapping[str, type[ServiceSettings]] = {
    "order": OrderSettings,
    "saga-orchestrator": SagaSettings,
    "outbox-relay": RelaySettings,
    "inventory": InventorySettings,
    "payment": PaymentSettings,
    "identity": IdentitySettings,
}
"""By the service's name, as Kubernetes and certificates have it."""
_CLASSES: tuple[type[ServiceSettings], ...] = (ServiceSettings, *SETTINGS.values())


def page(text: str) -> str:
    """The page with its tables written anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n" + "\n".join(_tables()) + f"\n{END}{after}"


def undocumented() -> list[str]:
    """`Class.field` of each setting without a docstring."""
    return [
        f"{cls.__name__}.{name}"
        for cls in _CLASSES
        for name in _own(cls)
        if not _docstrings(cls).get(name)
    ]


def _tables() -> Iterator[str]:
    yield from _table("Every service", ServiceSettings)
    for service, cls in SETTINGS.items():
        yield from _table(service, cls)
    yield ""


def _table(title: str, cls: type[ServiceSettings]) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| setting | default | what it says |", "|---|---|---|")
    for name, setting in _own(cls).items():
        said = " ".join([*_choices(setting), *_docstrings(cls).get(name, "").split()])
        said = said.replace("|", "\\|")
        yield f"| `{PREFIX}{name.upper()}` | {_default(setting)} | {said} |"


def _own(cls: type[ServiceSettings]) -> dict[str, FieldInfo]:
    """What `cls` is told beside what every service is, or what it has to be told and others not."""
    shared = {} if cls is ServiceSettings else ServiceSettings.model_fields
    return {
        name: setting
        for name, setting in cls.model_fields.items()
        if name not in shared or setting.is_required() != shared[name].is_required()
    }


def _default(setting: FieldInfo) -> str:
    if setting.is_required():
        return "**required**"
    value = setting.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f"`{value}`" if value not in ("", None, {}) else ""


def _choices(setting: FieldInfo) -> list[str]:
    kind = setting.annotation
    if get_origin(kind) is not Literal:
        return []
    return [", ".join(f"`{choice}`" for choice in get_args(kind)) + "."]


def _docstrings(cls: type[ServiceSettings]) -> dict[str, str]:
    """The string below each field, the most derived class's before those of its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("trackops_"):
            found |= dict(_strings_below_fields(base))
    return found


def _strings_below_fields(cls: type) -> Iterator[tuple[str, str]]:
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, below in zip(body.body, body.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if missing := undocumented():
        sys.exit(f"settings: no docstring says what {', '.join(missing)} is")
    text = PAGE.read_text()
    wanted = page(text)
    if not parser.parse_args().check:
        PAGE.write_text(wanted)
    elif text != wanted:
        sys.exit("settings: run `python scripts/settings_table.py` and commit the page")


if __name__ == "__main__":
    main()
