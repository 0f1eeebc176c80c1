"""Measures how evenly load is distributed, what a change of members moves, and what remains."""

from balancers.quality.capacity import Capacity as Capacity
from balancers.quality.capacity import capacity as capacity
from balancers.quality.distribution import Distribution as Distribution
from balancers.quality.distribution import distribution as distribution
from balancers.quality.key_load import KeyLoad as KeyLoad
from balancers.quality.key_load import key_load as key_load
from balancers.quality.remap import Move as Move
from balancers.quality.remap import Receiver as Receiver
from balancers.quality.remap import Remap as Remap
from balancers.quality.remap import remap as remap
from balancers.quality.rollout import Rollout as Rollout
from balancers.quality.rollout import RolloutStep as RolloutStep
from balancers.quality.rollout import rollout as rollout
from balancers.quality.skew import SessionShare as SessionShare
from balancers.quality.skew import SessionSkew as SessionSkew
from balancers.quality.skew import session_skew as session_skew
from balancers.quality.stickiness import StickinessCost as StickinessCost
from balancers.quality.stickiness import stickiness_cost as stickiness_cost
