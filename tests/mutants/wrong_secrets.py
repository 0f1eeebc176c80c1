"""Wrong ways to seal tokens, to write cookies, and to say what went wrong with a secret."""

from base64 import urlsafe_b64decode
from hmac import compare_digest, digest
from importlib import import_module
from typing import Any

from balancers.errors import InvalidSetting
from balancers.http import Request
from balancers.interop.caddy import cookie as caddy_cookie
from balancers.keys import key_bytes
from balancers.sessions import Binding, LearnedSessions, SessionTokens, tokens
from balancers.sessions._identity_index import digest_of
from balancers.sessions.binding import FORGED, MALFORMED
from tests.mutants.mutant import genuine, mutant

cookies: Any = import_module("balancers.http.cookies")  # its name is also that of a function
check_prefix = genuine(cookies, "_check_prefix")
with_context = genuine(SessionTokens, "with_context")
keys_of = genuine(tokens, "_keys_of")


@mutant(
    SessionTokens,
    "with_context",
    "sessions/test_contexts.py::test_a_token_of_one_place_binds_in_no_other",
)
def a_context_is_ignored(self: Any, context: Any) -> Any:
    return self


@mutant(
    SessionTokens,
    "with_context",
    "sessions/test_contexts.py::test_contexts_cannot_be_confused_by_moving_their_boundaries",
)
def an_empty_context_is_ignored(self: Any, context: Any) -> Any:
    return with_context(self, context) if context else self


@mutant(
    SessionTokens,
    "with_context",
    "sessions/test_contexts.py::test_contexts_cannot_be_confused_by_moving_their_boundaries",
)
def contexts_are_glued_together(self: Any, context: Any) -> Any:
    root, glued = getattr(self, "root", self), getattr(self, "glued", "") + context
    bound = with_context(root, glued)
    bound.root, bound.glued = root, glued
    return bound


@mutant(
    SessionTokens,
    "with_context",
    "sessions/test_contexts.py::test_one_object_serves_several_sessions_objects_and_does_not_change",
)
def a_context_changes_the_given_object(self: Any, context: Any) -> Any:
    self._keys = with_context(self, context)._keys
    return self


@mutant(
    tokens,
    "_in_context",
    "sessions/test_contexts.py::test_a_token_that_was_computed_by_hand_binds[base0]",
)
def keys_of_a_context_are_derived_from_the_tag_key(keys: Any, context: bytes) -> Any:
    return keys_of(digest(keys.tag, context, "sha256"))


@mutant(
    SessionTokens,
    "open",
    "hostile/test_tokens.py::test_only_one_spelling_of_the_last_character_is_accepted",
)
def every_spelling_of_a_token_is_accepted(self: Any, token: str, wall: float) -> Any:
    try:
        data = urlsafe_b64decode(token + "=")
    except ValueError:
        return MALFORMED
    for place, keys in enumerate(self._keys):
        if compare_digest(digest(keys.tag, data[:48], "sha256"), data[48:]):
            return self._claim(data[:48], keys.mask, place, wall)
    return FORGED


@mutant(
    tokens,
    "_context_bytes",
    "sessions/test_contexts.py::test_an_invalid_context_is_refused_and_not_shown[context3]",
)
def an_invalid_context_is_shown(context: Any) -> bytes:
    if not isinstance(context, str | bytes):
        raise InvalidSetting(f"context must be str or bytes, not {context!r}")
    return key_bytes(context)


@mutant(
    Binding,
    "__repr__",
    "sessions/test_secrets.py::test_the_repr_of_a_binding_shows_nothing_about_the_client",
)
def a_binding_shows_its_ticket(self: Any) -> str:
    return f"Binding{tuple(self)!r}"


@mutant(
    Request,
    "__repr__",
    "sessions/test_secrets.py::test_the_repr_of_a_request_shows_no_credentials"
    "[/cart?token=hunter2-shop.example]",
)
def a_request_shows_its_query(self: Any) -> str:
    names = [name for name, _ in self.headers]
    return f"<Request: {self.method!r} {self.target!r}, host {self.host!r}, headers {names!r}>"


@mutant(
    LearnedSessions,
    "_key",
    "sessions/test_secrets.py::test_no_message_contains_a_session_id[hunter2-hunter2-hunter2\\ud800]",
)
def an_error_shows_the_session_id(self: Any, session: Any) -> bytes:
    return digest_of(session)


@mutant(
    caddy_cookie,
    "_secret_bytes",
    "sessions/test_secrets.py::test_no_message_contains_the_secret_of_a_cookie_of_caddy"
    "[hunter2-hunter2-hunter2\\ud800]",
)
def an_error_shows_the_secret(secret: Any) -> bytes:
    return key_bytes(secret)


@mutant(
    cookies,
    "_check_value",
    "sessions/test_secrets.py::test_no_message_contains_the_value_of_a_cookie[;]",
)
def an_error_shows_the_value_of_a_cookie(name: str, value: str) -> None:
    cookies._check("value", value, cookies._VALUE)


@mutant(
    cookies,
    "_check_prefix",
    "hostile/test_cookies.py::test_a_prefix_is_written_exactly_when_a_browser_accepts_it"
    "[str-__Http-]",
)
def http_prefixes_are_not_checked(
    name: str, path: str, domain: str | None, secure: bool, http_only: bool
) -> None:
    check_prefix(name, path, domain, secure, True)


@mutant(
    cookies,
    "_check_prefix",
    "hostile/test_cookies.py::test_a_prefix_is_written_exactly_when_a_browser_accepts_it"
    "[lower-__Host-]",
)
def prefixes_in_lower_case_are_not_checked(
    name: str, path: str, domain: str | None, secure: bool, http_only: bool
) -> None:
    if name.startswith(("__Secure-", "__Host-", "__Http-")):
        check_prefix(name, path, domain, secure, http_only)


@mutant(
    cookies,
    "_further",
    "hostile/test_cookies.py::test_nothing_can_be_injected_anywhere[';']",
)
def further_attributes_are_not_checked(attributes: Any) -> list[str]:
    return [name if value is None else f"{name}={value}" for name, value in attributes.items()]
