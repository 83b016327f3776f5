"""`python -m tests.model`: what is explored, what each flaw leads to, and how.

With names of flaws: those alone, each with the shortest way to where it shows.
"""

from __future__ import annotations

import sys

from .sections import FLAWS, SECTIONS, explored


def main(names: list[str]) -> None:
    write = sys.stdout.write
    if not names:
        write(f"{'section':20} {'states':>8} {'steps':>9} {'depth':>6} {'CPU s':>6}  broken\n")
        for section in SECTIONS:
            found = explored(section)
            broken = found.broken.invariant if found.broken else "nothing"
            write(
                f"{section:20} {found.states:8,} {found.steps:9,} {found.depth:6}"
                f" {found.cpu_seconds:6.1f}  {broken}\n"
            )
        write("\n")
    for flaw in FLAWS:
        if not names or flaw.name in names:
            found = explored(flaw.section, flaw.name)
            caught = found.broken.invariant if found.broken else "NOT FOUND"
            write(f"{flaw.name:32} {flaw.section:12} {found.states:8,}  {caught}\n")
            if names and found.broken:
                write(f"{found.broken.trace}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
