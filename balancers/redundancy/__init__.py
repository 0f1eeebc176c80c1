"""Keeps load balancers from being a single point of failure: owners, heartbeats, answer sets."""

from balancers.redundancy.answer_set import AnswerSet as AnswerSet
from balancers.redundancy.answer_set import answer_set as answer_set
from balancers.redundancy.cluster import Cluster as Cluster
from balancers.redundancy.cluster import OwnerChange as OwnerChange
from balancers.redundancy.failure_detector import FailureDetector as FailureDetector
from balancers.redundancy.member_change import MemberChange as MemberChange
from balancers.redundancy.owners import Owners as Owners
from balancers.redundancy.phi_detector import PhiDetector as PhiDetector
from balancers.redundancy.timeout_detector import TimeoutDetector as TimeoutDetector
