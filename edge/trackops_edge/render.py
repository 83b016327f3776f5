"""Fills the template, for the local mesh and for the chart alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from string import Template
from typing import Any

from trackops_edge.contract import EdgeRpc, descriptor_set, edge_rpcs, transcoded_services
from trackops_edge.page import page, style_hash
from trackops_edge.replies import (
    ACCESS_LOG,
    DOCS_POLICY,
    SECURITY_HEADERS,
    header,
    local_replies,
)
from trackops_edge.settings import Address, EdgeSettings, Rate

__all__ = ["CONFIGURATION", "LEAVING", "files", "write"]

Json = dict[str, Any]

CONFIGURATION = "envoy.yaml"
"""The file to start Envoy with."""
LEAVING = "leaving"
"""The file that, replaced by one that says 1, has Envoy ask its callers to connect elsewhere."""

_TYPES = "type.googleapis.com/envoy"
_CREATIONS = "order_creations"
"""The way to the order service of the calls that `Limits.creations` counts."""
_MANY = 100_000
"""Of requests: the services bound them."""
_MORE_THAN_THE_ROUTE = 1  # s, so that the service says itself that time is up


def files(settings: EdgeSettings) -> Mapping[str, bytes]:
    """All that Envoy reads but the certificate, by the name of each file."""
    openapi = _own("openapi.json")
    texts = {
        CONFIGURATION: _configuration(settings),
        "problems.lua": _own("problems.lua"),
        LEAVING: "0",
        "openapi.json": openapi,
        "docs.html": page(json.loads(openapi)),
    }
    for secret in _secrets(settings):  # Envoy takes one from a file
        texts[_secret_file(secret["name"])] = json.dumps({"resources": [secret]}, indent=1)
    contract = descriptor_set().SerializeToString(deterministic=True)
    return {name: text.encode() for name, text in texts.items()} | {"contract.pb": contract}


def write(settings: EdgeSettings, target: Path) -> None:
    """Write the files into `target`, which Envoy will see as `settings.folder`."""
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files(settings).items():
        (target / name).write_bytes(content)


def _own(name: str) -> str:
    return resources.files("trackops_edge").joinpath(name).read_text("utf-8")


def _configuration(settings: EdgeSettings) -> str:
    values = {name: json.dumps(value) for name, value in _values(settings).items()}
    return Template(_own("envoy.yaml")).substitute(values)


def _values(settings: EdgeSettings) -> Json:
    limits, folder = settings.limits, settings.folder
    return {
        "admin_socket": str(folder / "admin.sock"),
        "listen": _address(settings.listen),
        "listen_http": _address(settings.listen_http),
        "certificate": _from_file("certificate", settings),
        "leaving_file": str(folder / LEAVING),
        "problems_file": str(folder / "problems.lua"),
        "contract_file": str(folder / "contract.pb"),
        "issuer": settings.issuer,
        "audience": settings.audience,
        "key_duration": f"{settings.key_seconds}s",
        "trusted_hops": settings.trusted_hops,
        "nobody": [{"address_prefix": "192.0.2.0", "prefix_len": 32}],
        "max_connections": limits.connections,
        "max_header_kibibytes": limits.header_kibibytes,
        "max_headers": limits.headers,
        "max_clients": limits.clients,
        "idle_timeout": f"{limits.idle_seconds}s",
        "max_request_bytes": limits.request_bytes,
        "max_response_bytes": limits.response_bytes,
        "client_bucket": _bucket(limits.per_client),
        "global_bucket": _bucket(limits.together),
        "access_log": dict(ACCESS_LOG),
        "response_headers": [
            {"remove": "grpc-accept-encoding"},
            *({"append": header(*one)} for one in SECURITY_HEADERS.items()),
        ],
        "local_replies": local_replies(),
        "grpc_services": list(transcoded_services()),
        "token_rules": list(_token_rules()),
        "clusters": list(_clusters(settings)),
        "routes": list(_routes(settings)),
    }


def _address(address: Address) -> Json:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _bucket(rate: Rate) -> Json:
    return {
        "max_tokens": rate.burst,
        "tokens_per_fill": rate.per_second,
        "fill_interval": "1s",
    }


def _secrets(settings: EdgeSettings) -> Iterator[Json]:
    """What Envoy reads again when a folder of the files changes."""
    yield _own_certificate("certificate", settings.certificate, settings.private_key)
    if tls := settings.services_tls:
        yield _own_certificate("caller", tls.certificate, tls.private_key)
        authority = {"trusted_ca": _file_of(tls.authority)}
        yield _secret("authority") | {"validation_context": authority}


def _secret_file(name: str) -> str:
    return f"secret-{name}.yaml"


def _from_file(name: str, settings: EdgeSettings) -> Json:
    """How the configuration names a secret."""
    source = {"path_config_source": {"path": str(settings.folder / _secret_file(name))}}
    return {"name": name, "sds_config": source}


def _own_certificate(name: str, chain: Path, key: Path) -> Json:
    files = {"certificate_chain": _file_of(chain), "private_key": _file_of(key)}
    return _secret(name) | {"tls_certificate": files}


def _secret(name: str) -> Json:
    return {"@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.Secret", "name": name}


def _file_of(path: Path) -> Json:
    return {"filename": str(path)}


def _token_rules() -> Iterator[Json]:
    """Who needs no token, by verb and path; the last one is for everybody else."""
    for path in ("/.well-known/jwks.json", "/openapi.json", "/docs"):
        yield {"match": {"path": path, **_verb("GET")}}
    for rpc in edge_rpcs():
        if rpc.public and "{" in rpc.template:
            raise ValueError(f"{rpc.method.full_name}: a public path has no variables")
        if rpc.public:
            yield {"match": {"path": rpc.template, **_verb(rpc.verb)}}
            yield {"match": {"path": rpc.grpc_path, **_verb("POST")}}
    yield {"match": {"prefix": "/"}, "requires": {"provider_name": "identity"}}


def _verb(verb: str) -> Json:
    return {"headers": [{"name": ":method", "string_match": {"exact": verb}}]}


def _clusters(settings: EdgeSettings) -> Iterator[Json]:
    for name in settings.services:
        yield _service(name, name, settings)
    yield _service(_CREATIONS, "order", settings, requests=settings.limits.creations)
    yield _cluster("identity_http", [settings.identity_http])
    endpoint = {"address": {"pipe": {"path": str(settings.folder / "admin.sock")}}}
    yield _endpoints("admin", [endpoint]) | {"type": "STATIC"}


def _service(name: str, service: str, settings: EdgeSettings, requests: int = _MANY) -> Json:
    """`requests` at a time; a stream is one."""
    addresses = settings.services[service]
    cluster = _cluster(name, addresses, requests)
    cluster["typed_extension_protocol_options"] = _HTTP2
    if settings.services_tls:
        cluster["transport_socket"] = _mutual_tls(addresses[0].host, settings)
    return cluster


def _mutual_tls(host: str, settings: EdgeSettings) -> Json:
    name = {"san_type": _san_type(host), "matcher": {"exact": host}}
    context = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2"],
        "tls_certificate_sds_secret_configs": [_from_file("caller", settings)],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": [name]},
            "validation_context_sds_secret_config": _from_file("authority", settings),
        },
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": "" if _san_type(host) == "IP_ADDRESS" else host,
            "common_tls_context": context,
        },
    }


def _san_type(host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        return "DNS"
    return "IP_ADDRESS"


_HTTP2: Json = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {
            "http2_protocol_options": {
                # A host that vanished is noticed also by streams on which nothing happens.
                "connection_keepalive": {"interval": "30s", "timeout": "10s"}
            }
        },
    }
}


def _cluster(name: str, addresses: Sequence[Address], requests: int = _MANY) -> Json:
    """Every address of each host's name."""
    thresholds = {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": requests}
    return _endpoints(name, [{"address": _address(one)} for one in addresses]) | {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "lb_policy": "LEAST_REQUEST",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [thresholds]},
    }


def _endpoints(name: str, endpoints: Sequence[Json]) -> Json:
    return {
        "name": name,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": one} for one in endpoints]}],
        },
    }


def _routes(settings: EdgeSettings) -> Iterator[Json]:
    """What exists. REST finds its RPC's route by the path that transcoding gives it."""
    for rpc in edge_rpcs():
        yield _route(rpc, settings)
    keys = {"path": "/.well-known/jwks.json", **_verb("GET")}
    yield {"match": keys, "route": {"cluster": "identity_http", "timeout": "5s"}}
    yield _file(settings, "/openapi.json", "openapi.json", "application/json")
    policy = DOCS_POLICY.format(style=style_hash())
    yield _file(settings, "/docs", "docs.html", "text/html; charset=utf-8") | {
        "typed_per_filter_config": {
            "envoy.filters.http.header_mutation": {
                "@type": f"{_TYPES}.extensions.filters.http.header_mutation.v3"
                ".HeaderMutationPerRoute",
                "mutations": {
                    "response_mutations": [{"append": header("content-security-policy", policy)}]
                },
            }
        }
    }


def _route(rpc: EdgeRpc, settings: EdgeSettings) -> Json:
    # What was REST is gRPC when its route is sought; gRPC-Web still says so of itself.
    grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    match = {"path": rpc.grpc_path, "headers": [grpc]}
    creates = rpc.method.full_name == "trackops.order.v1.OrderService.CreateOrder"
    action: Json = {"cluster": _CREATIONS if creates else rpc.service}
    if rpc.method.server_streaming:
        seconds = f"{settings.limits.watch_seconds}s"
        action |= {"timeout": seconds, "idle_timeout": seconds}
        return {"match": match, "route": action}
    seconds_left = settings.limits.call_seconds
    action["timeout"] = f"{seconds_left + _MORE_THAN_THE_ROUTE}s"
    if rpc.verb == "GET":
        action["retry_policy"] = _RETRIES
    deadline = {
        "header": {"key": "grpc-timeout", "value": f"{seconds_left}S"},
        "append_action": "ADD_IF_ABSENT",
    }
    return {"match": match, "route": action, "request_headers_to_add": [deadline]}


_RETRIES: Json = {
    "retry_on": "connect-failure,refused-stream,reset-before-request,unavailable",
    "num_retries": 2,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
}
"""For what only reads: the same call again changes nothing."""


def _file(settings: EdgeSettings, path: str, name: str, content_type: str) -> Json:
    body: Mapping[str, str] = {"filename": str(settings.folder / name)}
    return {
        "match": {"path": path, **_verb("GET")},
        "direct_response": {"status": 200, "body": body},
        "response_headers_to_add": [header("content-type", content_type)],
    }
