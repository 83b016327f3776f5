"""The payment service: authorises, captures, voids and refunds the payments of orders."""
