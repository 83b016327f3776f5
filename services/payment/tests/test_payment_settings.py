from __future__ import annotations

import pytest

from trackops_common.settings import load
from trackops_payment.settings import PaymentSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKOPS_LISTEN", "127.0.0.1:5055")
    monkeypatch.setenv("TRACKOPS_DATABASE_URL", "postgresql://role:secret@host/db")


def test_the_simulator_needs_nothing() -> None:
    assert load(PaymentSettings).payment_provider == "simulator"


@pytest.mark.parametrize(
    "url", ["https://provider.example", "https://provider.example:8443/payments/"]
)
def test_https_needs_an_address_and_a_key(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TRACKOPS_PAYMENT_PROVIDER", "https")
    monkeypatch.setenv("TRACKOPS_PAYMENT_PROVIDER_URL", url)
    monkeypatch.setenv("TRACKOPS_PAYMENT_PROVIDER_API_KEY", "hunter2")
    settings = load(PaymentSettings)
    assert settings.payment_provider_url == url
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "http://provider.example",
        "provider.example",
        "https://",
        "https://me:secret@provider.example",
        "https://provider.example?a=b",
        "https://provider.example#a",
        "https://provider.example:99999",
        "https://provider.example:0",
    ],
)
def test_only_a_plain_https_address_will_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("TRACKOPS_PAYMENT_PROVIDER_URL", url)
    with pytest.raises(SystemExit):
        load(PaymentSettings)
    assert capsys.readouterr().err == (
        "trackops: setting TRACKOPS_PAYMENT_PROVIDER_URL is wrong:"
        " it is https://host[:port][/path]\n"
    )


@pytest.mark.parametrize("key", [" hunter2", "hunter2\n", "hünter2"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    monkeypatch.setenv("TRACKOPS_PAYMENT_PROVIDER_API_KEY", key)
    with pytest.raises(SystemExit):
        load(PaymentSettings)
    shown = capsys.readouterr().err
    assert "TRACKOPS_PAYMENT_PROVIDER_API_KEY is wrong" in shown
    assert key.strip() not in shown
