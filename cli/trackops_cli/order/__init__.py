"""`trackops order`: orders, one after the other, and all that happened to one."""

from trackops_cli.order.commands import app
from trackops_cli.order.timeline import timeline

__all__ = ["app", "timeline"]
