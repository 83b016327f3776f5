"""Generates the stubs package from the contracts.

    python scripts/proto.py           lay out the imports, write libs/stubs
    python scripts/proto.py --check   the same into a temporary folder; exit 1 if libs/stubs differs
    python scripts/proto.py --imports only lay out the imports (for buf)

The imports that are not ours come from the packages that publish them: google's
from googleapis-common-protos, protovalidate's from its Maven artefact.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.metadata
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc
from jgo.maven import MavenContext

ROOT = Path(__file__).parent.parent
PROTOS = ROOT / "protos"
IMPORTS = ROOT / ".build" / "protos"
STUBS = ROOT / "libs" / "stubs"
GENERATED = ("trackops", "buf")

GOOGLE_IMPORTS = (
    "google/api/annotations.proto",
    "google/api/http.proto",
    "google/rpc/status.proto",
)
VALIDATE_IMPORT = "buf/validate/validate.proto"
VALIDATE_ARTEFACT = ("build.buf", "protovalidate", "1.1.0")


def lay_out_imports() -> None:
    """Put every imported .proto that is not ours below IMPORTS; does nothing where it is."""
    packages = importlib.metadata.distribution("googleapis-common-protos")
    for name in GOOGLE_IMPORTS:
        _write_if_new(IMPORTS / name, Path(str(packages.locate_file(name))).read_bytes())
    if not (IMPORTS / VALIDATE_IMPORT).exists():
        group, artefact, version = VALIDATE_ARTEFACT
        jar = MavenContext().project(group, artefact).at_version(version).artifact().resolve()
        with zipfile.ZipFile(jar) as archive:
            _write_if_new(IMPORTS / VALIDATE_IMPORT, archive.read(VALIDATE_IMPORT))


def _write_if_new(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def well_known_imports() -> Path:
    """Where google/protobuf lies."""
    return Path(grpc_tools.__file__).parent / "_proto"


def generate(target: Path) -> None:
    """Write the stubs of every contract, and of buf.validate, below `target`."""
    ours = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    services = [name for name in ours if name.endswith("_service.proto")]
    common = [f"-I{PROTOS}", f"-I{IMPORTS}", f"-I{well_known_imports()}"]
    _protoc(
        *common,
        f"--python_out={target}",
        f"--mypy_out=readable_stubs:{target}",
        *ours,
        VALIDATE_IMPORT,
    )
    _protoc(*common, f"--grpc_python_out={target}", f"--mypy_grpc_out={target}", *services)


def _protoc(*arguments: str) -> None:
    plugins = [
        f"--plugin={name}={Path(sys.executable).parent / name}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    if protoc.main(["protoc", *plugins, *arguments]) != 0:
        sys.exit("proto: protoc failed; its message stands above")


def differing_files(fresh: Path) -> list[str]:
    """Generated files that are missing, left over or different in libs/stubs."""
    names = {
        str(path.relative_to(base))
        for base in (fresh, STUBS)
        for package in GENERATED
        for path in (base / package).rglob("*_pb2*.py*")
        if path.suffix in (".py", ".pyi")
    }
    return sorted(
        name
        for name in names
        if not ((fresh / name).exists() and (STUBS / name).exists())
        or not filecmp.cmp(fresh / name, STUBS / name, shallow=False)
    )


def replace_stubs(fresh: Path) -> None:
    """Put what was generated in the place of libs/stubs' generated packages."""
    for package in GENERATED:
        shutil.rmtree(STUBS / package, ignore_errors=True)
        shutil.copytree(fresh / package, STUBS / package)
        (STUBS / package / "py.typed").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args()
    lay_out_imports()
    if options.imports:
        return
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        if not options.check:
            replace_stubs(Path(fresh))
        elif stale := differing_files(Path(fresh)):
            sys.exit("proto: run `make proto` and commit; differing: " + ", ".join(stale))


if __name__ == "__main__":
    main()
