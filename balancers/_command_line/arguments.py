"""Defines the arguments of all commands."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping
from typing import Any, NoReturn

from balancers import __version__
from balancers._command_line.bad_input import BadInput
from balancers._command_line.keys import MOST_KEYS
from balancers._command_line.methods import METHODS, POLICIES, Method
from balancers._command_line.numbers import positive, share, whole

__all__ = ["new_parser"]

_SEEDS = whole(0, (1 << 63) - 1)
_MOST_REQUESTS = 100_000_000
_MOST_RUNS = 1000
_SERVERS = """servers:
  a=2,b,c           names, with weights other than 1
  @FILE             one per line; for a method of nginx, HAProxy or twemproxy also the
                    lines of its configuration
"""


class _Parser(ArgumentParser):
    """Raises BadInput instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        command = self.prog.partition(" ")[2]
        raise BadInput(f"{command}: {message}" if command else f"{message} (see balancers --help)")


def _described(description: str, rest: str) -> dict[str, Any]:
    return {
        "description": description,
        "epilog": rest,
        "formatter_class": RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _listed(title: str, methods: Mapping[str, Method]) -> str:
    """Return the names of methods with their settings, one per line."""
    width = max(map(len, methods))
    lines = (
        f"  {name:{width}}  {', '.join(method.settings)}".rstrip()
        for name, method in methods.items()
    )
    return f"{title}, and their settings (NAME,setting=value):\n" + "\n".join(lines)


def new_parser() -> ArgumentParser:
    """Return the parser of the command line.  It raises BadInput."""
    parser = _Parser(
        prog="balancers",
        description="See what a load balancer does before you use it.",
        epilog="'balancers COMMAND --help' has examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"balancers {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_remap(commands)
    _add_predict(commands)
    return parser


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="simulate policies side by side: response times and utilisation",
        **_described(
            "Simulate policies side by side, with the same requests for each of them.",
            f"""examples:
  balancers compare
  balancers compare --servers 100 --load 0.95 --policies random,two_choices,choices=3
  balancers compare --servers a=4,b,c --service pareto:1.5 --mean 0.05
  balancers compare --policies hash_ring,bounded_load --keys zipf:10000:0.9 --load 0.6

{_SERVERS}  N                 N servers with equal weights
  The weight of a server is its speed too.

laws:
  --service   exponential, constant, lognormal:VARIATION, pareto:SHAPE,
              hyperexponential:VARIATION_SQUARED
  --arrivals  poisson, regular, bursty:REQUESTS_PER_BURST
  --keys      uniform:KEYS, zipf:KEYS:EXPONENT

{_listed("policies", POLICIES)}""",
        ),
    )
    parser.add_argument(
        "--policies",
        metavar="NAME,...",
        help="the policies, see below; round robin, random, two choices and least connections, "
        "with weights if the weights differ, by default",
    )
    parser.add_argument(
        "--servers", default="10", metavar="SERVERS", help="see below; 10 by default"
    )
    traffic = parser.add_mutually_exclusive_group()
    traffic.add_argument(
        "--load",
        type=share,
        default=0.9,
        help="the work per second, divided by the speed of all servers; 0.9 by default",
    )
    traffic.add_argument("--rate", type=positive, help="the requests per second, instead of a load")
    parser.add_argument(
        "--service",
        default="exponential",
        metavar="LAW",
        help="the law of the work of a request; exponential by default",
    )
    parser.add_argument(
        "--mean",
        type=positive,
        default=0.1,
        metavar="SECONDS",
        help="the mean work of a request, in seconds of a server of weight 1; 0.1 by default",
    )
    parser.add_argument(
        "--arrivals",
        default="poisson",
        metavar="LAW",
        help="the law of arrivals; poisson by default",
    )
    parser.add_argument(
        "--keys",
        default="uniform:10000",
        metavar="LAW",
        help="the law of keys, for policies that pick by key; uniform:10000 by default",
    )
    parser.add_argument(
        "--timeout", type=positive, metavar="SECONDS", help="a longer request has failed"
    )
    parser.add_argument(
        "--requests",
        type=whole(100, _MOST_REQUESTS),
        default=50_000,
        metavar="N",
        help="the requests of each run; 50000 by default; the first quarter is not counted",
    )
    parser.add_argument(
        "--runs",
        type=whole(2, _MOST_RUNS),
        default=8,
        metavar="N",
        help="the independent runs of each policy, for the intervals; 8 by default",
    )
    _add_seed(parser)
    _add_output(parser)


def _add_remap(commands: Any) -> None:
    parser = commands.add_parser(
        "remap",
        help="plan a change of servers: which part of the keys moves, and to which servers",
        **_described(
            "Show which part of the keys moves when servers, weights or the method change.",
            f"""examples:
  balancers remap a,b,c a,b,c,d
  balancers remap a,b,c a=2,b,c a=2,b,c=2 --methods hash_ring,maglev,nginx:hash
  balancers remap @before.txt @after.txt --methods nginx:consistent --keys keys.txt
  balancers remap a:80,b:80 a:80,b:80 --methods nginx:consistent --new-method envoy:ring_hash

{_SERVERS}
{_listed("methods", METHODS)}

The balancer of a method without a program keeps its state from step to step.  With a program, each
step is a new configuration.""",
        ),
    )
    parser.add_argument("before", metavar="BEFORE", help="the servers before the change, see below")
    parser.add_argument(
        "after", metavar="AFTER", nargs="+", help="the servers after it, and after later changes"
    )
    parser.add_argument(
        "--methods",
        default="hash_ring",
        metavar="METHOD,...",
        help="the methods below to compare; hash_ring by default",
    )
    parser.add_argument(
        "--new-method", metavar="METHOD", help="the method after the first change, if it changes"
    )
    _add_keys(parser, "100000")
    _add_seed(parser)
    _add_output(parser)


def _add_predict(commands: Any) -> None:
    parser = commands.add_parser(
        "predict",
        help="show where nginx, HAProxy, Envoy, caddy or another method sends keys",
        **_described(
            "Show to which server a method sends keys.",
            f"""examples:
  balancers predict nginx:consistent 10.0.0.1:80=2,10.0.0.2:80 --key cart:1 --key cart:2
  balancers predict envoy:maglev,table_size=1009 @hosts.txt --keys keys.txt
  balancers predict haproxy:consistent @haproxy.cfg --key cart:1 --explain --down s1

{_SERVERS}
{_listed("methods", METHODS)}""",
        ),
    )
    parser.add_argument("method", metavar="METHOD", help="one of the methods below")
    parser.add_argument("servers", metavar="SERVERS", help="the servers, see below")
    parser.add_argument(
        "--down", metavar="NAME,...", help="mark these servers down, as after a failed check"
    )
    _add_keys(parser, "10000")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY",
        help="a key, which is listed; can be repeated",
    )
    parser.add_argument("--each", action="store_true", help="list every key")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="list every key with its hash, the next servers, and the servers that are closed",
    )
    _add_seed(parser)
    _add_output(parser)


def _add_keys(parser: ArgumentParser, default: str) -> None:
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--keys", metavar="FILE", help="the keys, one per line; - is standard input")
    keys.add_argument(
        "--random",
        type=whole(1, MOST_KEYS),
        metavar="N",
        help=f"N random keys; {default} if no keys are given",
    )


def _add_seed(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=_SEEDS, default=1, help="the seed of all random numbers; 1 by default"
    )


def _add_output(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="write one JSON document")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw a picture, for example a .png or an .svg"
    )
