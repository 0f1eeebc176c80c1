"""A ``Cookie`` header: both parsers agree, and a cookie that can be set is parsed back."""

from contextlib import suppress

from balancers.errors import InvalidSetting
from balancers.http import cookie, cookies, set_cookie
from tests.work import work_of

__all__ = ["WORDS", "check"]

WORDS = (b"=", b";", b"; ", b'"', b"a=1", b"__Host-a", b"=1;a=2", b"\t")


def check(data: bytes) -> None:
    """The bytes are the header, as latin-1; its first cookies are also written and parsed again."""
    header = data.decode("latin-1")
    parsed = cookies(header)
    for name, value in [*parsed.items()][:20]:
        assert name
        assert f"{name}" in header
        assert value in header
        with suppress(InvalidSetting):
            written = set_cookie(name, value, same_site="Lax")
            assert cookie(header, name) == value
            pair = written.partition(";")[0]
            for sent in (pair, f"other=1; {pair}", f"{pair};other=1", f"x{pair};{pair}"):
                assert cookies(sent)[name] == value == cookie(sent, name)
    lines = work_of(lambda: cookies(header)).lines
    lines += work_of(lambda: cookie(header, "a")).lines
    assert lines <= 20 * (len(data) + 10)
