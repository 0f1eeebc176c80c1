"""``predict`` picks what the balancer of the method picks, with the program's own settings."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import pytest

from balancers import Balancer, HashRing, Maglev, Rendezvous
from balancers._command_line.methods import METHODS
from balancers.hashing import Anchor, HashedBalancer, Jump, Memento, MultiProbe
from balancers.interop import caddy, envoy, haproxy, ketama, nginx
from tests.command_line.command import bad, data, run, text

WEIGHTS = {"10.0.0.1:11211": 3, "10.0.0.2:11211": 1, "10.0.0.3:80": 2}
SERVERS = ",".join(f"{name}={weight}" for name, weight in WEIGHTS.items())
WORDS = [f"user:{number}" for number in range(60)] + ["é", "a b", "x=1,2", "#"]
CLIENTS = [f"192.0.{number}.7" for number in range(60)] + ["2001:db8::1", "::ffff:192.0.2.1"]
Maker = Callable[[Any], Balancer[str]]
MADE: dict[str, Maker] = {
    "hash_ring": HashRing,
    "hash_ring,points=7": lambda given: HashRing(given, points=7),
    "maglev": Maglev,
    "maglev,size=101": lambda given: Maglev(given, size=101),
    "rendezvous": Rendezvous,
    "jump": Jump,
    "multi_probe": MultiProbe,
    "multi_probe,probes=3": lambda given: MultiProbe(given, probes=3),
    "anchor": lambda given: Anchor(given, capacity=6),
    "anchor,capacity=9": lambda given: Anchor(given, capacity=9),
    "memento": Memento,
    "nginx:hash": nginx.Hash,
    "nginx:consistent": nginx.ConsistentHash,
    "nginx:ip_hash": nginx.IPHash,
    "haproxy:map-based": haproxy.MapBased,
    "haproxy:map-based,hash=djb2,avalanche=yes": lambda given: haproxy.MapBased(
        given, hasher=haproxy.Hash(haproxy.djb2, avalanche=True)
    ),
    "haproxy:consistent": haproxy.Consistent,
    "haproxy:consistent,hash=wt6": lambda given: haproxy.Consistent(
        given, hasher=haproxy.Hash(haproxy.wt6)
    ),
    "haproxy:consistent,hash=crc32,avalanche=no": lambda given: haproxy.Consistent(
        given, hasher=haproxy.Hash(haproxy.crc32)
    ),
    "envoy:ring_hash": envoy.RingHash,
    "envoy:ring_hash,minimum_ring_size=64,hash_function=MURMUR_HASH_2": lambda given: (
        envoy.RingHash(given, minimum_ring_size=64, hash_function="MURMUR_HASH_2")
    ),
    "envoy:maglev": envoy.Maglev,
    "envoy:maglev,table_size=101": lambda given: envoy.Maglev(given, table_size=101),
    "caddy:header": caddy.Rendezvous,
    "caddy:query": caddy.Rendezvous,
    "caddy:uri_hash": caddy.Rendezvous,
    "libmemcached:ketama": ketama.LibmemcachedKetama,
    "libmemcached:ketama,hash=fnv1a_32": lambda given: ketama.LibmemcachedKetama(
        given, hash="fnv1a_32"
    ),
    "libmemcached:ketama_weighted": lambda given: ketama.LibmemcachedKetama(given, weighted=True),
    "libmemcached:spy": ketama.LibmemcachedSpy,
    "libmemcached:modula": ketama.LibmemcachedModula,
    "twemproxy:ketama": ketama.TwemproxyKetama,
    "twemproxy:ketama,hash=md5,hash_tag={}": lambda given: ketama.TwemproxyKetama(
        given, hash="md5", hash_tag="{}"
    ),
    "twemproxy:modula": ketama.TwemproxyModula,
    "uhashring:ring": ketama.UHashRing,
    "uhashring:ring,vnodes=9": lambda given: ketama.UHashRing(given, vnodes=9),
    "uhashring:ketama": ketama.UHashRingKetama,
}
OF_CLIENTS: dict[str, tuple[Maker, Callable[[str], Any]]] = {
    "nginx:ip_hash": (nginx.IPHash, str),
    "caddy:ip_hash": (caddy.Rendezvous, caddy.ip_key),
    "haproxy:map-based,balance=source": (
        lambda given: haproxy.MapBased(given, hasher=haproxy.Hash(haproxy.address_words)),
        haproxy.source,
    ),
    "haproxy:consistent,balance=source": (
        lambda given: haproxy.Consistent(
            given, hasher=haproxy.Hash(haproxy.address_words, avalanche=True)
        ),
        haproxy.source,
    ),
}


def lines(keys: list[str]) -> bytes:
    return "".join(f"{key}\n" for key in keys).encode()


def picked(*arguments: str, keys: list[str]) -> list[str]:
    document = data("predict", *arguments, "--keys", "-", "--each", stdin=lines(keys))
    assert [each["key"] for each in document["keys"]] == keys
    assert document["count"] == len(keys)
    counts = Counter(each["server"] for each in document["keys"])
    assert {each["server"]: each["keys"] for each in document["servers"]} == {
        name: counts[name] for name in WEIGHTS
    }
    return [each["server"] for each in document["keys"]]


def test_every_method_is_tested() -> None:
    names = {choice.partition(",")[0] for choice in (*MADE, *OF_CLIENTS)}
    assert names == set(METHODS)


@pytest.mark.parametrize("choice", sorted(MADE.keys() - {"nginx:ip_hash"}))
def test_words_as_keys(choice: str) -> None:
    balancer = MADE[choice](WEIGHTS)
    assert picked(choice, SERVERS, keys=WORDS) == [balancer.pick(key) for key in WORDS]


@pytest.mark.parametrize("choice", OF_CLIENTS)
def test_addresses_as_keys(choice: str) -> None:
    make, key = OF_CLIENTS[choice]
    balancer = make(WEIGHTS)
    assert picked(choice, SERVERS, keys=CLIENTS) == [balancer.pick(key(one)) for one in CLIENTS]
    assert "'user:42'" in bad("predict", choice, SERVERS, "--key", "user:42")
    assert data("predict", choice, SERVERS, "--random", "50")["count"] == 50


def test_the_uri_of_haproxy_ends_before_the_query() -> None:
    targets = [f"/video/{number}?t=1" for number in range(20)]
    farm = haproxy.MapBased(WEIGHTS)
    assert picked("haproxy:map-based,balance=uri", SERVERS, keys=targets) == [
        farm.pick(haproxy.uri(target)) for target in targets
    ]


def test_a_key_is_the_bytes_of_its_line(tmp_path: Path) -> None:
    keys = [b"\xff\xfe", b"tab\there", b" blank ", b"caf\xe9"]
    file = tmp_path / "keys"
    file.write_bytes(b"\r\n\n".join(keys))
    document = data("predict", "maglev", SERVERS, "--keys", str(file), "--each")
    balancer = Maglev(WEIGHTS)
    assert [each["server"] for each in document["keys"]] == [balancer.pick(key) for key in keys]
    assert document["keys"][0]["key"] == r"\xff\xfe"


def test_keys_as_arguments_are_listed_and_files_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(lines(WORDS))
    shown = text("predict", "maglev", SERVERS, "--key", "one", "--key", "two").splitlines()
    assert shown[0].split() == ["key", "server"]
    assert [line.split()[0] for line in shown[1:]] == ["one", "two"]
    shown = text("predict", "maglev", SERVERS, "--keys", str(file)).splitlines()
    assert shown[0].split()[:3] == ["server", "weight", "keys"]
    assert shown[-1] == f"{len(WORDS)} keys"
    document = data("predict", "maglev", SERVERS, "--keys", str(file), "--key", "one")
    assert [each["key"] for each in document["keys"]] == ["one"]
    assert document["count"] == len(WORDS) + 1


def test_shares_are_compared_with_the_weights() -> None:
    document = data("predict", "rendezvous", "a=3,b,c=0", "--random", "20000")
    shares = {each["server"]: each["share"] for each in document["servers"]}
    assert [each["fair"] for each in document["servers"]] == [0.75, 0.25, 0]
    assert shares["a"] == pytest.approx(0.75, abs=0.015)
    assert shares["c"] == 0


def test_random_keys_depend_on_the_seed_only() -> None:
    first, same, other = (
        data("predict", "maglev", "a,b", "--each", "--random", "20", "--seed", seed)
        for seed in ("7", "7", "8")
    )
    assert first == same
    assert first["keys"] != other["keys"]
    assert len({each["key"] for each in first["keys"]}) == 20


@pytest.mark.parametrize("choice", ["maglev", "nginx:consistent", "haproxy:map-based"])
def test_a_server_that_is_down(choice: str) -> None:
    balancer = MADE[choice](WEIGHTS)
    down = "10.0.0.2:11211"
    balancer.put(down, 0)
    expected = [balancer.pick(key) for key in WORDS]
    assert picked(choice, SERVERS, "--down", down, keys=WORDS) == expected
    assert "'d'" in bad("predict", choice, SERVERS, "--down", "d", "--key", "x")
    every = ",".join(WEIGHTS)
    assert "no backend available" in bad("predict", choice, SERVERS, "--down", every)


@pytest.mark.parametrize("choice", sorted(MADE.keys() - {"nginx:ip_hash"}))
def test_explanations_agree_with_retries(choice: str) -> None:
    down = Random(choice).choice([*WEIGHTS])
    document = data("predict", choice, SERVERS, "--explain", "--key", "k1", "--down", down)
    (explained,) = document["keys"]
    balancer = MADE[choice](WEIGHTS)
    balancer.put(down, 0)
    tried = list[str]()
    for server in explained["succession"]:
        assert balancer.pick("k1", 0.0, tried) == server
        tried.append(server)
    assert explained["server"] == explained["succession"][0]
    assert explained["closed"] == [{"server": down, "reason": "down"}]
    assert {*tried, down} == set(WEIGHTS)
    if isinstance(balancer, HashedBalancer):
        assert explained["hash"] == hex(balancer.hash_key("k1"))


@pytest.mark.parametrize("choice", ["nginx:hash", "nginx:consistent", "haproxy:consistent"])
def test_explanations_do_not_influence_each_other(choice: str) -> None:
    """After 20 servers that were tried, nginx picks by turns."""
    servers = ",".join(f"s{number}=3" if number % 3 else f"s{number}" for number in range(40))
    keys = [f"--key={key}" for key in "abcd"]
    together = data("predict", choice, servers, "--explain", *keys)["keys"]
    alone = [data("predict", choice, servers, "--explain", key)["keys"][0] for key in keys]
    assert together == alone
    assert all(len(each["succession"]) == 40 for each in alone)


def test_explanations_as_a_table() -> None:
    servers = ",".join("abcdefgh")
    out = text("predict", "nginx:consistent", servers, "--explain", "--key", "k1", "--down", "c,d")
    assert out.splitlines()[0].split() == ["key", "hash", "server", "next", "closed"]
    assert out.rstrip().endswith("c (down), d (down)")
    assert ", ..." in out
    assert hex(crc32(b"k1")) in out
    out = text("predict", "nginx:ip_hash", servers, "--explain", "--key", "192.0.2.1")
    assert out.splitlines()[1].split()[1] == "-"


NGINX = """
upstream caches {
    hash $http_x_key consistent;   # server x:1 weight=9;
    server 10.0.0.1:80 weight=2;
    server 10.0.0.2:80 max_fails=3 fail_timeout=30s; server 10.0.0.3:80 down;
    keepalive 16;
}
"""
HAPROXY = """
backend caches
    balance hdr(X-Key)
    hash-type consistent
    server s1 10.0.0.1:80 weight 2 check inter 2s
    server s2 10.0.0.2:80
\tserver s3 10.0.0.3:80 id 70 maxconn 100
    server s4 10.0.0.4:80 backup
    server s5 10.0.0.5:80 disabled  # weight 7
"""
TWEMPROXY = """
alpha:
  listen: 127.0.0.1:22121
  servers:
   - 10.0.0.1:11211:2 first
   - 10.0.0.2:11211:1
"""


@pytest.mark.parametrize(
    ("choice", "content", "balancer"),
    [
        (
            "nginx:consistent",
            NGINX,
            nginx.ConsistentHash(
                [
                    nginx.Server("10.0.0.1:80", weight=2),
                    nginx.Server("10.0.0.2:80"),
                    nginx.Server("10.0.0.3:80", down=True),
                ]
            ),
        ),
        (
            "haproxy:consistent",
            HAPROXY,
            haproxy.Consistent(
                [
                    haproxy.Server("s1", weight=2),
                    haproxy.Server("s2"),
                    haproxy.Server("s3", id=70),
                    haproxy.Server("s4", backup=True),
                    haproxy.Server("s5", disabled=True),
                ]
            ),
        ),
        (
            "twemproxy:ketama",
            TWEMPROXY,
            ketama.TwemproxyKetama(
                {"10.0.0.1:11211": 2, "10.0.0.2:11211": 1}, names={"10.0.0.1:11211": "first"}
            ),
        ),
        (
            "maglev",
            "a = 2  # a comment\r\n\n# another\nb\nc=0.5, d\n",
            Maglev({"a": 2, "b": 1, "c": 0.5, "d": 1}),
        ),
        ("nginx:hash", "\ufeffweb-1=2\nweb-2\n", nginx.Hash({"web-1": 2, "web-2": 1})),
    ],
)
def test_lines_of_a_configuration(
    tmp_path: Path, choice: str, content: str, balancer: Balancer[str]
) -> None:
    file = tmp_path / "servers"
    file.write_text(content, encoding="utf-8", newline="")
    document = data("predict", choice, f"@{file}", "--keys", "-", "--each", stdin=lines(WORDS))
    assert [each["server"] for each in document["keys"]] == [balancer.pick(key) for key in WORDS]
    assert [each["server"] for each in document["servers"]] == [*balancer.weights]


def test_why_a_server_is_never_picked(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(HAPROXY)
    document = data("predict", "haproxy:consistent", f"@{file}", "--explain", "--key", "k")
    assert document["keys"][0]["closed"] == [
        {"server": "s4", "reason": "backup"},
        {"server": "s5", "reason": "down"},
    ]
    light = "a=100000,b=100000,c=1"
    document = data("predict", "libmemcached:ketama", light, "--explain", "--key", "k")
    assert document["keys"][0]["closed"] == [{"server": "c", "reason": "no points"}]


@pytest.mark.parametrize(
    ("program", "line", "named"),
    [
        ("nginx:hash", "server a:80 weight=x;", "'x'"),
        ("nginx:hash", "server a:80 weight=0;", "weight"),
        ("nginx:hash", "server a:80 resolve;", "'resolve'"),
        ("nginx:hash", "server a:80 backup;", "backup"),
        ("nginx:hash", "server ;", "no address"),
        ("nginx:hash", "server a:80 fail_timeout=1m;", "'1m'"),
        ("nginx:hash", "server a:80; server a:80;", "'a:80'"),
        ("nginx:hash", "upstream a { server a:80; }\nupstream b { server b:80; }", "line 2"),
        ("haproxy:map-based", "server s1", "a name and an address"),
        ("haproxy:map-based", "server s1 a:80 weight 2x", "'2x'"),
        ("haproxy:map-based", "server s1 a:80 weight 300", "300"),
        ("haproxy:map-based", "server s1 a:80 id 0", "not 0"),
        ("haproxy:map-based", "server s1 a:80 id", "''"),
        ("haproxy:map-based", "server s1 a:80\ndefault-server weight 3", "'default-server'"),
        ("haproxy:map-based", "server-template w 3 a:80\nserver s1 a:80", "'server-template'"),
        ("haproxy:map-based", "backend x\nserver a a:80\nbackend y\nserver b b:80", "'backend'"),
        ("haproxy:map-based", "server s1 a:80\nserver s2 b:80 id 1\nserver s3 c:80 id 1", "id 1"),
        ("twemproxy:ketama", "- a:1", "host:port:weight"),
        ("twemproxy:ketama", "- a:1:x", "'x'"),
        ("maglev", "a=1e301", "'1e301'"),
        ("maglev", "a,", "no name"),
    ],
)
def test_bad_lines(tmp_path: Path, program: str, line: str, named: str) -> None:
    file = tmp_path / "servers"
    file.write_text(f"{line}\n")
    assert named in bad("predict", program, f"@{file}", "--key", "k")


def test_names_and_keys_cannot_change_the_terminal() -> None:
    out = text("predict", "maglev", "a\x1b[31m,b\x85", "--key", "k\x07\u202e", "--key", "é")
    assert out.replace("\n", "").isprintable()
    assert "é" in out
    result = run("predict", "maglev", "é,b", "--key", "ü", encoding="ascii")
    assert result.code == 0
    assert r"\xfc" in result.out
