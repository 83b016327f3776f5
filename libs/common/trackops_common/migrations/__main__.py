"""`python -m trackops_common.migrations <package>` brings that schema to its newest revision.

TRACKOPS_DATABASE_URL, or a file as for any setting, names the package's own role; see `upgrade`.
"""

import sys

from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.exc import OperationalError

from trackops_common import settings
from trackops_common.migrations import newest_revision, upgrade
from trackops_common.setting_names import PREFIX

__all__ = ["MigrationSettings"]


class MigrationSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    database_url: settings.ServerUrl
    """`postgresql://role:password@host:port/database`."""


def main() -> None:
    """Exits with 1 and one line where Postgres is away or refuses the role."""
    (package,) = sys.argv[1:]
    url = settings.load(MigrationSettings).database_url.get_secret_value()
    try:
        upgrade(package, url)
    except OperationalError as error:
        sys.exit(f"migrations: {package}: {error.orig}")
    sys.stdout.write(f"{package} is at {newest_revision(package)}\n")


if __name__ == "__main__":
    main()
