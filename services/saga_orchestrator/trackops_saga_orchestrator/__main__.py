"""`python -m trackops_saga_orchestrator` serves until SIGTERM."""

from trackops_common.grpc.server import run
from trackops_saga_orchestrator.bootstrap import SagaSettings, bootstrap

if __name__ == "__main__":
    run("trackops_saga_orchestrator", SagaSettings, bootstrap)
