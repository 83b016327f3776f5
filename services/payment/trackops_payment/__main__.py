"""`python -m trackops_payment` serves until SIGTERM."""

from trackops_common.grpc.server import run
from trackops_payment.bootstrap import PaymentSettings, bootstrap

if __name__ == "__main__":
    run("trackops_payment", PaymentSettings, bootstrap)
