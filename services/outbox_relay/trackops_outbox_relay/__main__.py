"""`python -m trackops_outbox_relay` relays until SIGTERM."""

from trackops_common.grpc.server import run
from trackops_outbox_relay.bootstrap import bootstrap
from trackops_outbox_relay.settings import RelaySettings

if __name__ == "__main__":
    run("trackops_outbox_relay", RelaySettings, bootstrap)
