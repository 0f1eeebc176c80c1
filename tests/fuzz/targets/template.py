"""Route templates and the targets they are held against: one reading each, or a reason."""

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
    """Bytes are a line, the template, and what follows, the target, as latin-1."""
    path, _, target = data.decode("latin-1").partition("\n")
    steady(target)
    steady(path)
    with suppress(InvalidSetting):
        held_against(Route("v", path=path), path, target)
    with suppress(InvalidSetting):
        assert Router([Route("v", prefix=path)]).match(Request(target=path)).path or "{" in path
    assert work_of(lambda: read_target(target)).lines <= 15 * len(target) + 40
    assert work_of(lambda: parsed(path)).lines <= 80 * len(path) + 120


def steady(target: str) -> None:
    """What was read is read as itself, and has neither dots nor slashes left to decode."""
    found = read_target(target)
    assert bool(found.path) == (not found.reason)
    if found.path:
        assert read_target(found.path) == Path(found.path, "", "")
        segments = found.path[1:].lower().split("/")
        assert not {".", "..", "%2e", "%2e%2e"} & {*segments}
        assert not {"%2f", "%5c"} & {found.path[at : at + 3].lower() for at in range(len(target))}


def held_against(route: Route[str], path: str, target: str) -> None:
    """Captures that are put back match again, and are the same; those of our own come back."""
    router = Router([route])
    names = route.names
    sent = [filled(path, {name: f"x{at}" for at, name in enumerate(names)}), target]
    for asked in sent:
        match = router.match(Request(target=asked))
        if match:
            sendable = {name: quote(value, safe="/") for name, value in match.captures.items()}
            again = router.match(Request(target=filled(path, sendable)))
            assert again.captures == match.captures
    assert router.match(Request(target=sent[0])).captures == {
        name: f"x{at}" for at, name in enumerate(names)
    }


def filled(path: str, captures: Mapping[str, str]) -> str:
    """Put captures into a template."""
    words = {f"{{{name}{dots}}}": value for name, value in captures.items() for dots in ("", "...")}
    return "/".join(words.get(segment, segment) for segment in path.split("/"))


def parsed(path: str) -> None:
    """Read a template, or not."""
    with suppress(InvalidSetting):
        Route("v", path=path)
