"""A route that guards a path holds in front of a real server that drops path parameters."""

from collections.abc import Generator
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("h11")

from balancers.http import PathRules, Request
from balancers.routing import Route, Router
from tests.depth import runs
from tests.hostile.sockets import Client
from tests.hostile.spellings import spelled, variants
from tests.hostile.tomcat import Tomcat
from tests.system.http_processes import Proxy, scripted

SECRET, INDEX = b"the secret users", b"the public page"
ADMIN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbidden"

SERVED = [  # Tomcat serves /admin/users for these
    *("/admin/users", "/admin;x/users", "/;x/admin/users", "/;/admin/users", "/admin/users;x"),
    *("//admin/users", "/admin//users", "/%61dmin/users", "/./admin/users", "/%2e/admin/users"),
    *("/.;x/admin/users", "/x/../admin/users", "/x/%2E%2e/admin/users", "/x/..;/admin/users"),
    *("/admin/..;x/admin/users", "/x/;/../admin/users", "/x//../admin/users"),
]
NOT_SERVED = [  # Tomcat 10.1 does not; other containers decode %3B first, and serve it
    *("/admin%3Bx/users", "/%3Bx/admin/users", "/x/..%3B/admin/users", "/ADMIN/users"),
    *("/admin%2Fusers", "/admin%5Cusers", "/%2561dmin/users", "/admin./users"),
    *("/admin%20/users", "/admin%00/users"),
]


@pytest.fixture(scope="module")
def tomcat(tmp_path_factory: pytest.TempPathFactory) -> Generator[Tomcat]:
    files = {"index.html": INDEX, "admin/users": SECRET, "@team/x": SECRET, "health": b"ok"}
    server = Tomcat(tmp_path_factory.mktemp("tomcat"), files)
    try:
        yield server.run()
    finally:
        server.kill()


@pytest.fixture
def guarded(tomcat: Tomcat, tmp_path: Path) -> Generator[Proxy]:
    """A proxy with a public route to Tomcat, and two guarded routes to another pool."""
    with scripted(lambda connection, _: connection.sendall(ADMIN)) as (forbidding,):
        proxy = Proxy(
            tmp_path,
            pools={
                "public": {"backends": {tomcat.name: 1}},
                "admin": {"backends": {forbidding.name: 1}},
            },
            routes=[
                {"to": "public"},
                {"to": "admin", "prefix": "/admin"},
                {"to": "admin", "prefix": "/@team"},
            ],
        )
        try:
            yield proxy.run()
        finally:
            proxy.kill()


def leaks(proxy: Proxy, targets: list[str]) -> list[str]:
    """Return the targets for which the secret was served; the proxy must answer each."""
    found: list[str] = []
    with Client(proxy.name) as client:
        for target in targets:
            status, body = client.get(target)
            assert status, target
            found += [target] if SECRET in body else []
    return found


@pytest.mark.parametrize("target", SERVED)
def test_the_container_reads_these_spellings_as_the_admin_path(tomcat: Tomcat, target: str) -> None:
    with Client(tomcat.name) as client:
        assert client.get(target) == (200, SECRET)


@pytest.mark.parametrize("target", NOT_SERVED)
def test_the_container_does_not_read_these_spellings_as_the_admin_path(
    tomcat: Tomcat, target: str
) -> None:
    with Client(tomcat.name) as client:
        assert SECRET not in client.get(target)[1]


def test_the_public_route_leads_to_the_container(guarded: Proxy) -> None:
    with Client(guarded.name) as client:
        assert client.get("/index.html") == (200, INDEX)
        assert client.get("/x/%2e%2e//index.html") == (200, INDEX)
        assert client.get("/admin/users") == (403, b"forbidden")


def generated(parameters: bool) -> list[str]:
    """Return some thousand spellings of the two guarded paths, of which many are refused."""
    rng = Random(1)
    found = rng.sample([*variants("admin", "users")], runs(12_000))
    for segments in (["admin", "users"], ["@team", "x"]):
        found += [
            spelled(segments, rng.randrange, parameters=parameters and bool(rng.randrange(2)))
            for _ in range(runs(3000))
        ]
    return found


def test_no_known_spelling_passes_the_public_route(guarded: Proxy) -> None:
    assert leaks(guarded, [*SERVED, *NOT_SERVED]) == []


def test_no_generated_spelling_passes_the_public_route(guarded: Proxy) -> None:
    assert leaks(guarded, generated(parameters=True)) == []


def test_an_encoded_delimiter_passes_no_route(guarded: Proxy, tomcat: Tomcat) -> None:
    with Client(tomcat.name) as client:
        assert client.get("/%40team/x") == (200, SECRET)
    assert leaks(guarded, ["/%40team/x", "/%40te%61m/x", "/.//%40team/x"]) == []


@pytest.mark.parametrize(
    "rules",
    [
        PathRules(),
        PathRules(parameters="strip"),
        PathRules(parameters="strip", encoded_slash="keep", encoded_backslash="keep"),
        PathRules(parameters="strip", repeated_slashes="refuse"),
        PathRules(repeated_slashes="refuse"),
    ],
    ids=str,
)
def test_no_path_that_a_router_sends_on_passes_the_public_route(
    tomcat: Tomcat, rules: PathRules
) -> None:
    guards = [Route("admin", prefix="/admin"), Route("admin", prefix="/@team")]
    router = Router([Route("public"), *guards], path_rules=rules)
    targets = [*SERVED, *NOT_SERVED, *generated(parameters=True)]
    matches = [router.match(Request(target=target)) for target in targets]
    paths = {match.path for match in matches if match.value == "public"}
    reached = [match for match in matches if match.value == "admin"]
    assert len(reached) > len(targets) / 50  # most others are refused
    with Client(tomcat.name) as client:
        assert [path for path in sorted(paths) if SECRET in client.get(path)[1]] == []


@pytest.mark.parametrize(
    ("rules", "target"),
    [
        (PathRules(parameters="keep"), "/admin;x/users"),
        (PathRules(parameters="keep"), "/;x/admin/users"),
        (PathRules(repeated_slashes="keep"), "//admin/users"),
    ],
)
def test_what_is_kept_passes_before_a_server_that_drops_it(
    tomcat: Tomcat, rules: PathRules, target: str
) -> None:
    router = Router([Route("public"), Route("admin", prefix="/admin")], path_rules=rules)
    match = router.match(Request(target=target))
    with Client(tomcat.name) as client:
        assert (match.value, client.get(match.path)) == ("public", (200, SECRET))
