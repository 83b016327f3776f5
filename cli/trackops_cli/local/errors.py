"""What can go wrong while the local stack starts.

StackError                 one line for the reader, no traceback
├── InvalidSetting         an environment variable holds something unusable
├── PortTaken              another process listens where one of ours should
├── DiskFull               no room for the servers' data
├── ServerDied             a process ended before it was ready
├── ServerNotReady         a process runs but does not answer in time
├── DataUnreadable         another version of a server wrote the data that ours is to read
├── CommandFailed          a preparing command (initdb, storage format) failed
├── JarUnavailable         a jar of Kafka can be neither found nor downloaded
├── PasswordLost           the data directory knows another password than the state directory
├── NotLoggedIn            nobody is logged in, and there is no development mesh to fall back on
├── IdentityRefused        the identity service gave no token, or did not answer
├── IncompleteTls          some of the variables that TLS needs lack
├── CertificateUnusable    a certificate of ours is missing, damaged or expired
└── Interrupted            another part failed first; this one stopped waiting
"""

from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "CertificateUnusable",
    "CommandFailed",
    "DataUnreadable",
    "DiskFull",
    "IdentityRefused",
    "IncompleteTls",
    "Interrupted",
    "InvalidSetting",
    "JarUnavailable",
    "NotLoggedIn",
    "PasswordLost",
    "PortTaken",
    "ServerDied",
    "ServerNotReady",
    "StackError",
]


class StackError(Exception):
    """The local stack cannot do what was asked; `str()` is one line for its user."""


class InvalidSetting(StackError):
    def __init__(self, variable: str, value: str, expected: str) -> None:
        super().__init__(f"{variable}={value!r} is not {expected}")
        self.variable = variable


class PortTaken(StackError):
    """`holder` describes the listening process, or is empty when it cannot be seen."""

    def __init__(self, port: int, wanted_by: str, variable: str, holder: str = "") -> None:
        by = f" by {holder}" if holder else ""
        super().__init__(
            f"port {port}, wanted by {wanted_by}, is taken{by}; free it or set {variable}"
        )
        self.port = port


class DiskFull(StackError):
    def __init__(self, where: Path, detail: str = "") -> None:
        why = f" ({detail})" if detail else ""
        super().__init__(f"no space left on the disk of {where}{why}")
        self.where = where


class ServerDied(StackError):
    """With its last words, since the log of a stack that is taken down goes with it."""

    def __init__(self, name: str, log: Path, last_words: str) -> None:
        said = f" ({last_words})" if last_words else ""
        super().__init__(f"{name} died before it was ready{said}; its log: {log}")
        self.name = name
        self.log = log


class ServerNotReady(StackError):
    def __init__(self, name: str, log: Path, seconds: float) -> None:
        super().__init__(f"{name} was not ready after {seconds:.0f} s; its log: {log}")
        self.name = name
        self.log = log


class DataUnreadable(StackError):
    def __init__(self, name: str, data: Path, log: Path) -> None:
        super().__init__(
            f"{name} cannot read {data}, which a newer version has written; "
            f"`trackops reset` (`make reset`) starts over without that data; its log: {log}"
        )
        self.data = data


class CommandFailed(StackError):
    def __init__(self, what: str, log: Path) -> None:
        super().__init__(f"{what} failed; its output: {log}")
        self.log = log


class JarUnavailable(StackError):
    def __init__(self, coordinate: str, reason: str) -> None:
        super().__init__(f"cannot fetch {coordinate} from Maven Central: {reason}")
        self.coordinate = coordinate


class PasswordLost(StackError):
    def __init__(self, secrets: Path) -> None:
        super().__init__(
            f"Postgres refuses the password in {secrets}; "
            "restore that file, or start over with `trackops reset`"
        )


class NotLoggedIn(StackError):
    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; `trackops login` logs in")


class IdentityRefused(StackError):
    """`reason` is the error's in the contract, empty where nobody answered."""

    def __init__(self, target: str, why: str, *, reason: str = "", no_answer: bool = False) -> None:
        super().__init__(f"identity at {target}: {why}")
        self.reason = reason
        self.no_answer = no_answer


class IncompleteTls(StackError):
    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(f"TLS needs {', '.join(missing)} too")
        self.missing = missing


class CertificateUnusable(StackError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; `trackops up` renews those of the local stack")


class Interrupted(StackError):
    def __init__(self, name: str) -> None:
        super().__init__(f"stopped waiting for {name}")
