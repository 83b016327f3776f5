"""`python -m trackops_inventory` serves until SIGTERM."""

from trackops_common.grpc.server import run
from trackops_inventory.bootstrap import InventorySettings, bootstrap

if __name__ == "__main__":
    run("trackops_inventory", InventorySettings, bootstrap)
