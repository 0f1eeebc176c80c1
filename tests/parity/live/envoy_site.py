"""The configuration of Envoy for a case."""

from itertools import groupby
from typing import Any

from tests.parity.live.backends import Address
from tests.parity.live.program import Case

__all__ = ["cluster", "listener"]

TYPE = "type.googleapis.com/envoy.extensions"


def listener(place: int, case: Case, address: Address) -> dict[str, Any]:
    """Return the listener of a case: the address, the route and the hash policies."""
    config = case["config"]
    route: dict[str, Any] = {"cluster": f"c{place}", "timeout": "0s"}
    route["hash_policy"] = [_hash_policy(policy) for policy in config.get("hash_policy", [])]
    settings = config["lb"]
    if "num_retries" in settings:
        predicate = {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": f"{TYPE}.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
        route["retry_policy"] = {
            "retry_on": "connect-failure",
            "num_retries": settings["num_retries"],
            "retry_host_predicate": [predicate],
            "host_selection_retry_max_attempts": settings["host_selection_retry_max_attempts"],
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
        }
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"s{place}",
        "use_remote_address": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": route}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"},
            }
        ],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": f"l{place}",
        "address": {"socket_address": {"address": address[0], "port_value": address[1]}},
        "filter_chains": [{"filters": [network]}],
    }


def _hash_policy(policy: dict[str, Any]) -> dict[str, Any]:
    terminal = {"terminal": policy.get("terminal", False)}
    if "cookie" in policy:
        return {"cookie": {"name": policy["cookie"]}} | terminal
    if "query_parameter" in policy:
        return {"query_parameter": {"name": policy["query_parameter"]}} | terminal
    if "source_ip" in policy:
        return {"connection_properties": {"source_ip": True}} | terminal
    header: dict[str, Any] = {"header_name": policy["header"]}
    if "regex" in policy:
        pattern = {"regex": policy["regex"]}
        header["regex_rewrite"] = {"pattern": pattern, "substitution": policy["sub"]}
    return {"header": header} | terminal


def cluster(place: int, case: Case) -> dict[str, Any]:
    """Return the cluster of a case: the hosts and the policy."""
    settings = case["config"]["lb"]
    common: dict[str, Any] = {}
    if "panic_threshold" in settings:
        common["healthy_panic_threshold"] = {"value": settings["panic_threshold"]}
    if "locality_weighted" in settings:
        common["locality_weighted_lb_config"] = {}
    if "hash_balance_factor" in settings:
        factor = settings["hash_balance_factor"]
        common["consistent_hashing_lb_config"] = {"hash_balance_factor": factor}
    cluster: dict[str, Any] = {
        "name": f"c{place}",
        "type": "STATIC",
        "connect_timeout": "20s",
        "lb_policy": case["policy"],
        "common_lb_config": common,
        "load_assignment": {
            "cluster_name": f"c{place}",
            "endpoints": _endpoints(case["config"]["hosts"]),
        },
    }
    if case["policy"] == "MAGLEV":
        cluster["maglev_lb_config"] = {"table_size": settings["table_size"]}
    elif case["policy"] == "RING_HASH":
        names = ("minimum_ring_size", "maximum_ring_size", "hash_function")
        cluster["ring_hash_lb_config"] = {
            name: settings[name] for name in names if name in settings
        }
    return cluster


def _endpoints(hosts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group the hosts by locality and priority, in their order."""
    groups: list[dict[str, Any]] = []
    for (zone, priority), group in groupby(
        hosts, key=lambda host: (host.get("locality", ""), host.get("priority", 0))
    ):
        listed = list(group)
        endpoint: dict[str, Any] = {"priority": priority}
        if zone:
            endpoint["locality"] = {"zone": zone}
        if "locality_weight" in listed[0]:
            endpoint["load_balancing_weight"] = listed[0]["locality_weight"]
        endpoint["lb_endpoints"] = [_host(host) for host in listed]
        groups.append(endpoint)
    return groups


def _host(host: dict[str, Any]) -> dict[str, Any]:
    address = {"socket_address": {"address": host["address"], "port_value": host["port"]}}
    fields: dict[str, Any] = {
        "endpoint": {"address": address},
        "load_balancing_weight": host["weight"],
    }
    if "health" in host:
        fields["health_status"] = host["health"]
    if "hash_key" in host:
        fields["metadata"] = {"filter_metadata": {"envoy.lb": {"hash_key": host["hash_key"]}}}
    return fields
