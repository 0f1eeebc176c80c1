"""Route templates and request targets: each has one normalised form or a reason."""

from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

from balancers.errors import InvalidSetting
from balancers.http import Path, Request, read_target
from balancers.routing import Route, Router
from tests.work import work_of

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"/{a}", b"/{b...}", b"/{a}/{b}", b"/..", b"/.", b"/%2e%2e", b"%2f", b"%5c", b"%7e", b"%25"),
    *(b"/..;", b"%3b", b"//", b"?a=%00", b"#", b"\\", b"\n", b"%00", b"http://a", b"*", b"a:80"),
)


def check(data: bytes) -> None:
    """The bytes, as latin-1, are the template up to the first newline, then the target."""
    path, _, target = data.decode("latin-1").partition("\n")
    check_normalised(target)
    check_normalised(path)
    with suppress(InvalidSetting):
        check_captures(Route("v", path=path), path, target)
    with suppress(InvalidSetting):
        assert Router([Route("v", prefix=path)]).match(Request(target=path)).path or "{" in path
    assert work_of(lambda: read_target(target)).lines <= 15 * len(target) + 40
    assert work_of(lambda: parsed(path)).lines <= 80 * len(path) + 120


def check_normalised(target: str) -> None:
    """Assert that a normalised path is unchanged and has no dots or slashes left to decode."""
    found = read_target(target)
    assert bool(found.path) == (not found.reason)
    if found.path:
        assert read_target(found.path) == Path(found.path, "", "")
        segments = found.path[1:].lower().split("/")
        assert not {".", "..", "%2e", "%2e%2e"} & {*segments}
        assert not {"%2f", "%5c"} & {found.path[at : at + 3].lower() for at in range(len(target))}


def check_captures(route: Route[str], path: str, target: str) -> None:
    """Assert that captures inserted into the template match again and stay equal."""
    router = Router([route])
    names = route.names
    targets = [filled(path, {name: f"x{at}" for at, name in enumerate(names)}), target]
    for sent in targets:
        match = router.match(Request(target=sent))
        if match:
            quoted = {name: quote(value, safe="/") for name, value in match.captures.items()}
            again = router.match(Request(target=filled(path, quoted)))
            assert again.captures == match.captures
    assert router.match(Request(target=targets[0])).captures == {
        name: f"x{at}" for at, name in enumerate(names)
    }


def filled(path: str, captures: Mapping[str, str]) -> str:
    """Return the template with the captures inserted."""
    words = {f"{{{name}{dots}}}": value for name, value in captures.items() for dots in ("", "...")}
    return "/".join(words.get(segment, segment) for segment in path.split("/"))


def parsed(path: str) -> None:
    """Parse a template; a refusal is allowed."""
    with suppress(InvalidSetting):
        Route("v", path=path)
