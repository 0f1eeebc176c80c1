"""Backends of your own class: any hashable, named for hashing by ``identity``."""

from dataclasses import dataclass, field

from balancers import ConnectionLimit, HashRing, Pool, WeightedLeastConnections


@dataclass(frozen=True)
class Node:
    """Equal by address; other fields may change with the next list from service discovery."""

    host: str
    port: int
    zone: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"


def name_of(node: Node) -> str:
    return node.name


def endpoint(pool: Pool[Node]) -> tuple[str, int]:
    """Return the address of a backend; type checkers infer that it is a Node."""
    with pool.lease(clock=lambda: 0.0) as lease:
        return lease.backend.host, lease.backend.port


def main() -> None:
    """Use the same nodes with least connections and with a ring."""
    nodes = [Node("10.0.0.1", 80, "east"), Node("10.0.0.2", 80, "west")]
    pool = Pool(WeightedLeastConnections(nodes), [ConnectionLimit[Node](100)])
    print(endpoint(pool))
    ring = HashRing(nodes, identity=name_of)
    print(ring.pick("user:42").zone)


if __name__ == "__main__":
    main()
