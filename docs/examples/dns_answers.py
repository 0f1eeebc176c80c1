"""What the DNS server of the examples answers: the regions, and the messages.  No sockets.

dnspython reads and writes the messages, and every decision is one of ``balancers.gslb``.
"""
# pyright: reportUnknownMemberType=false
# The line above is needed because dnspython does not say what the options of a message are.

from typing import cast

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from balancers.errors import MalformedClientSubnet
from balancers.gates import Consecutive
from balancers.gslb import (
    Client,
    ClientSubnet,
    Distance,
    NetworkTable,
    Place,
    Ranking,
    Region,
    TimeToLive,
    rotated,
)

ZONE = dns.name.from_text("example.test.")
WWW = dns.name.from_text("www", ZONE)
SOA = "ns1.example.test. hostmaster.example.test. 1 7200 900 1209600 60"
NEGATIVE = 60  # TTL in seconds of "no such record"
PAYLOAD = 1232  # bytes of a UDP answer at most
HEADER = 12  # bytes of the header of a message

CITIES = {  # in the order for clients in unknown places
    "london": (Place("EU", "GB", latitude=51.5, longitude=-0.1), "127.0.11"),
    "tokyo": (Place("AS", "JP", latitude=35.7, longitude=139.7), "127.0.12"),
    "newyork": (Place("NA", "US", latitude=40.7, longitude=-74.0), "127.0.13"),
}
SEOUL = Place("AS", "KR", latitude=37.6, longitude=127.0)
PLACES = {  # networks of clients, from the documentation's ranges
    "198.51.100.0/24": CITIES["london"][0],
    "203.0.113.0/25": CITIES["tokyo"][0],
    "203.0.113.128/25": SEOUL,
    "192.0.2.0/24": CITIES["newyork"][0],
    "2001:db8:81::/48": CITIES["tokyo"][0],
    "2001:db8:44::/48": CITIES["london"][0],
    "2001:db8:1::/48": CITIES["newyork"][0],
}

# dnspython reads some malformed client subnets too.  So it passes the bytes on to the library.
dns.edns.register_type(dns.edns.GenericOption, dns.edns.OptionType.ECS)


def addresses_of(network: str, servers: int) -> list[str]:
    """Return the addresses of the servers of a region."""
    return [f"{network}.{number}" for number in range(1, servers + 1)]


class Malformed(Exception):
    """Raised for a query that is answered with FORMERR."""


class Balancer:
    """The regions, and which of them a client gets."""

    def __init__(self, servers: int, hold: float) -> None:
        self.regions = [
            Region(
                name,
                addresses_of(network, servers),
                rule=Consecutive(unhealthy_threshold=2, healthy_threshold=2),
                hold=hold,
                place=place,
            )
            for name, (place, network) in CITIES.items()
        ]
        self.policy = Distance(self.regions)
        # The networks with the same order of regions: these are the scopes of the answers.
        self.orders = NetworkTable.combined(self.order, NetworkTable(PLACES))

    def order(self, place: Place | None) -> Ranking:
        return self.policy.rank(Client(place=place), 0.0)


class Server:
    """Answers queries; it has no socket."""

    def __init__(self, balancer: Balancer, ttl: TimeToLive) -> None:
        self.balancer, self.ttl, self.turn = balancer, ttl, 0

    def respond(self, wire: bytes, resolver: str, now: float, *, udp: bool) -> bytes | None:
        """Return the answer to a message; None if it needs none."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return formerr(wire)
        if query.flags & dns.flags.QR:
            return None  # answering an answer could go on for ever
        answer = dns.message.make_response(query, our_payload=PAYLOAD)
        if query.opcode() != dns.opcode.QUERY:
            answer.set_rcode(dns.rcode.NOTIMP)
        elif query.edns > 0:
            answer.set_rcode(dns.rcode.BADVERS)
        else:
            try:
                self.fill(query, answer, resolver, now)
            except Malformed:
                answer.set_rcode(dns.rcode.FORMERR)
        room = min(max(query.payload, 512), PAYLOAD) if query.edns >= 0 else 512
        room = room if udp else 65535
        return answer.to_wire(max_size=room, prefer_truncation=True, want_shuffle=False)

    def fill(
        self, query: dns.message.Message, answer: dns.message.Message, resolver: str, now: float
    ) -> None:
        if len(query.question) != 1:
            raise Malformed
        subnet = subnet_of(query)
        [question] = query.question
        scope = 0
        if question.rdclass != dns.rdataclass.IN or not question.name.is_subdomain(ZONE):
            answer.set_rcode(dns.rcode.REFUSED)
        else:
            answer.flags |= dns.flags.AA
            if question.name == WWW and question.rdtype == dns.rdatatype.A:
                scope = self.addresses(answer, Client(resolver, subnet), now)
            elif question.name == ZONE and question.rdtype == dns.rdatatype.SOA:
                answer.answer.append(soa())
            else:
                if question.name not in {WWW, ZONE}:
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                answer.authority.append(soa())
        if subnet is not None:
            option = dns.edns.GenericOption(dns.edns.OptionType.ECS, subnet.answer(scope).encode())
            answer.use_edns(0, answer.ednsflags, PAYLOAD, options=[option])

    def addresses(self, answer: dns.message.Message, client: Client, now: float) -> int:
        """Answer the addresses of the first healthy region; return the scope."""
        found = self.balancer.orders.find(client.lookup)
        assert found.value is not None  # an unknown place has an order too
        chosen = found.value.answer(now)
        self.turn += 1
        ttl = self.ttl.seconds(degraded=chosen.degraded)
        addresses = rotated(chosen.members, self.turn)
        answer.answer.append(dns.rrset.from_text(WWW, ttl, "IN", "A", *addresses))
        return found.scope


def subnet_of(query: dns.message.Message) -> ClientSubnet | None:
    """Return the client subnet of a query; raise Malformed if there are two, or a wrong one."""
    options: list[dns.edns.Option] = list(cast("tuple[dns.edns.Option, ...]", query.options))
    found = [each for each in options if each.otype == dns.edns.OptionType.ECS]
    if len(found) > 1:
        raise Malformed
    try:
        return ClientSubnet.parse(found[0].to_wire() or b"") if found else None
    except MalformedClientSubnet as error:
        raise Malformed from error


def soa() -> dns.rrset.RRset:
    return dns.rrset.from_text(ZONE, NEGATIVE, "IN", "SOA", SOA)


def formerr(wire: bytes) -> bytes | None:
    """Return FORMERR for a message that cannot be read; None for no header, and for an answer."""
    if len(wire) < HEADER or wire[2] & 0x80:
        return None
    return wire[:2] + bytes((0x80 | wire[2] & 0x79, dns.rcode.FORMERR)) + bytes(HEADER - 4)
