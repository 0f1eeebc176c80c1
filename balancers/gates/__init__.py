"""Contains the gates.  Each gate reduces or stops the traffic of backends for one reason."""

from balancers._internal.timers import Timers as Timers
from balancers.gates.active_checks import ActiveChecks as ActiveChecks
from balancers.gates.active_checks import Probe as Probe
from balancers.gates.connection_limit import ConnectionLimit as ConnectionLimit
from balancers.gates.cool_down import CoolDown as CoolDown
from balancers.gates.drain import Drain as Drain
from balancers.gates.drain import Drained as Drained
from balancers.gates.dynamic_limit import DynamicLimit as DynamicLimit
from balancers.gates.health_checks import HealthChecks as HealthChecks
from balancers.gates.health_rules import Consecutive as Consecutive
from balancers.gates.health_rules import HealthRule as HealthRule
from balancers.gates.health_rules import Leaky as Leaky
from balancers.gates.health_rules import SlidingWindow as SlidingWindow
from balancers.gates.health_rules import transitions as transitions
from balancers.gates.health_state_machine import HealthStateMachine as HealthStateMachine
from balancers.gates.member_gate import MemberGate as MemberGate
from balancers.gates.outlier_ejection import Ejection as Ejection
from balancers.gates.outlier_ejection import OutlierEjection as OutlierEjection
from balancers.gates.outlier_rules import FailurePercentage as FailurePercentage
from balancers.gates.outlier_rules import MedianGap as MedianGap
from balancers.gates.outlier_rules import OutlierRule as OutlierRule
from balancers.gates.outlier_rules import SuccessRate as SuccessRate
from balancers.gates.passive_checks import PassiveChecks as PassiveChecks
from balancers.gates.slow_start import SlowStart as SlowStart
from balancers.gates.warm_up import WarmUp as WarmUp
