"""`python -m trackops_order` serves until SIGTERM."""

from trackops_common.grpc.server import run
from trackops_order.bootstrap import OrderSettings, bootstrap

if __name__ == "__main__":
    run("trackops_order", OrderSettings, bootstrap)
