"""What an order has gone through."""

from __future__ import annotations

import uuid

from trackops_common.testing import ManualClock
from trackops_order.application.get_timelines import GetTimelines
from trackops_order.domain.errors import OrderNotFound
from trackops_order.domain.order import Rejection
from trackops_order.domain.states import OrderState
from trackops_order.testing import InMemoryOrders, placed


def test_a_timeline_has_every_state_oldest_first() -> None:
    orders = InMemoryOrders()
    order, unknown = placed().order, uuid.uuid4()
    order_id = order.order_id
    with orders() as work:
        work.orders.add([order])
        work.commit([])
    with orders() as work:
        order = work.orders.lock([order_id])[order_id]
        work.orders.save([order.close(Rejection("R", "m"), ManualClock().now())])
        work.commit([])

    get = GetTimelines(
        orders, lambda entries: repr([(e.version, e.state) for e in entries]).encode()
    )
    timeline, missing = get([order_id, unknown])

    assert isinstance(missing, OrderNotFound)
    assert timeline == repr([(1, OrderState.PENDING), (2, OrderState.REJECTED)]).encode()
    assert orders.timelines([order_id])[order_id][1].rejection == Rejection("R", "m")
