"""Prints what is installed beside the Python that runs it, as CycloneDX 1.6 in JSON.

<image's python> scripts/sbom.py trackops-order > sbom.cdx.json

Needs nothing but the standard library and no network. The same packages give the same bytes: there
is no time and no random number in it. Packages of the base image's system are not listed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from typing import Any
from urllib.parse import quote

__all__ = ["bill"]

Json = dict[str, Any]

_EXTRA = re.compile(r";.*\bextra\s*==")
"""Of a requirement that only an extra brings."""


def bill(about: str, installed: Iterable[Distribution]) -> Json:
    """The bill of materials of the application `about`, which is one of `installed`.

    Raises:
        KeyError: it is not installed.
    """
    packages = {_normal(one.name): one for one in installed}
    main = packages[_normal(about)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "component": _component("application", main),
        },
        "components": [
            _component("library", one) for _, one in sorted(packages.items()) if one is not main
        ],
        "dependencies": [
            {"ref": _purl(one), "dependsOn": _needs(one, packages)}
            for _, one in sorted(packages.items())
        ],
    }


def _component(kind: str, package: Distribution) -> Json:
    purl = _purl(package)
    found = {
        "type": kind,
        "bom-ref": purl,
        "name": _normal(package.name),
        "version": package.version,
        "purl": purl,
    }
    licences = package.metadata.get_all("License-Expression", [])
    return found | ({"licenses": [{"expression": one} for one in licences]} if licences else {})


def _needs(package: Distribution, packages: Mapping[str, Distribution]) -> Sequence[str]:
    """Those of `packages` that it names as its requirements."""
    wanted = {
        _normal(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])
        for line in package.requires or ()
        if not _EXTRA.search(line)
    }
    return sorted(_purl(packages[name]) for name in wanted & packages.keys())


def _purl(package: Distribution) -> str:
    return f"pkg:pypi/{_normal(package.name)}@{quote(package.version)}"


def _normal(name: str) -> str:
    """As package indexes compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    made = bill(sys.argv[1], distributions())
    json.dump(made, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
