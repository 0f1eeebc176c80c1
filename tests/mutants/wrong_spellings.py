"""Wrong ways to compare spellings, and to bound what clients can store."""

from collections.abc import Iterator
from typing import Any

from balancers import keys
from balancers.http import client_address, fields, networks, targets
from balancers.routing import router
from balancers.sessions import AddressSessions, LearnedSessions
from balancers.sessions._identity_index import digest_of
from tests.mutants.mutant import genuine, mutant

read_elements = genuine(client_address, "elements")


@mutant(
    router,
    "compared",
    "hostile/test_spellings.py::"
    "test_an_encoded_delimiter_is_matched_like_the_delimiter_and_sent_on_as_it_came[@]",
)
def an_encoded_delimiter_is_another_character(path: str) -> str:
    return path


@mutant(
    keys, "shown", "hostile/test_keys.py::test_an_int_that_cannot_be_printed_raises_a_typed_error"
)
def a_message_does_not_say_how_long_a_key_is(value: object) -> str:
    return "another int"


@mutant(
    targets,
    "has_parameter",
    "hostile/test_spellings.py::"
    "test_all_servers_read_what_is_accepted_by_default_as_the_router_does",
)
def a_path_parameter_is_accepted(segment: str) -> bool:
    return False


@mutant(
    fields,
    "_decoded",
    "hostile/test_fields.py::test_one_parameter_meets_its_condition_in_every_spelling[%62eta=1]",
)
def a_name_is_not_decoded(text: str) -> str | None:
    return text


@mutant(
    client_address,
    "elements",
    "hostile/test_forwarded.py::"
    "test_what_a_client_sends_does_not_change_its_address['10.0.0.1'-Forwarded]",
)
def elements_are_read_from_the_left(line: str, quoted: bool = False) -> Iterator[str | None]:
    yield from reversed([*read_elements(line, quoted)])


@mutant(
    networks,
    "normalised",
    "hostile/test_networks.py::test_a_mapped_network_is_the_network_that_it_maps",
)
def a_mapped_address_is_in_no_ipv4_network(address: Any) -> Any:
    return address


@mutant(
    AddressSessions,
    "_key",
    "hostile/test_session_tables.py::test_every_address_of_one_network_is_one_client",
)
def every_address_is_a_client(self: Any, session: object) -> bytes:
    return digest_of(str(session))


@mutant(
    LearnedSessions,
    "_store",
    "hostile/test_session_tables.py::test_a_flood_of_addresses_stays_inside_the_table",
)
def a_full_table_grows(self: Any, key: bytes, ident: bytes) -> None:
    self._table[key] = (ident, self._now)
    self._table.move_to_end(key)
