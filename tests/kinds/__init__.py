"""The registry of balancers, gates and loads: one row for each, for every test that all must pass.

To test a new balancer, add one row to ``KINDS`` (``PRESETS`` if it belongs to another program).  To
test a new gate, add one row to ``GATES``.  To test a new load, add one row to ``LOADS``.
``test_registry.py`` fails if a public class has no row.
"""

from tests.kinds.balancers import HASHED as HASHED
from tests.kinds.balancers import KEYED as KEYED
from tests.kinds.balancers import KINDS as KINDS
from tests.kinds.balancers import METHODS as METHODS
from tests.kinds.gates import GATES as GATES
from tests.kinds.gates import PLAIN_GATES as PLAIN_GATES
from tests.kinds.gates import gate_named as gate_named
from tests.kinds.kind import GateKind as GateKind
from tests.kinds.kind import Kind as Kind
from tests.kinds.kind import LoadKind as LoadKind
from tests.kinds.kind import by_name as by_name
from tests.kinds.loads import LOADS as LOADS
from tests.kinds.presets import PRESETS as PRESETS
