"""Codes that an order takes: of currencies, and of countries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trackops_order.domain.details import Address, OrderDetails
from trackops_order.domain.errors import InvalidOrder
from trackops_order.testing import placed

SOMEWHERE = Address("Ada", ("1 High St",), "", "London", "", "GB")
NOWHERE = replace(SOMEWHERE, country_code="UK")


@pytest.mark.parametrize("code", ["ABC", "XXX", "XAU", "DEM", "", "eur"])
def test_a_currency_that_iso_4217_does_not_list_is_refused(code: str) -> None:
    with pytest.raises(InvalidOrder) as refused:
        placed(currency_code=code)

    assert refused.value.field == "currency_code"


@pytest.mark.parametrize(
    ("details", "field"),
    [
        (OrderDetails(shipping_address=NOWHERE), "shipping_address.country_code"),
        (OrderDetails(SOMEWHERE, NOWHERE), "billing_address.country_code"),
    ],
)
def test_a_country_that_iso_3166_does_not_list_is_refused(
    details: OrderDetails, field: str
) -> None:
    with pytest.raises(InvalidOrder) as refused:
        placed(details=details)

    assert refused.value.field == field
    assert placed(details=OrderDetails(SOMEWHERE, SOMEWHERE)).order.details is not None
