"""The payment service: authorises and voids the payments of orders."""
