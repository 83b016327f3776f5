"""`python -m trackops_identity` serves until SIGTERM."""

from trackops_common.grpc.server import run
from trackops_identity.bootstrap import IdentitySettings, bootstrap

if __name__ == "__main__":
    run("trackops_identity", IdentitySettings, bootstrap)
