"""Chooses the region that serves a client, and what a DNS server answers."""

from balancers.gslb.answer import Answer as Answer
from balancers.gslb.answer import Skipped as Skipped
from balancers.gslb.client import Client as Client
from balancers.gslb.client_subnet import ClientSubnet as ClientSubnet
from balancers.gslb.distance import Distance as Distance
from balancers.gslb.failover import Failover as Failover
from balancers.gslb.geolocation import Geolocation as Geolocation
from balancers.gslb.latency import Latency as Latency
from balancers.gslb.latency import LatencyTable as LatencyTable
from balancers.gslb.multivalue import Multivalue as Multivalue
from balancers.gslb.networks import Found as Found
from balancers.gslb.networks import NetworkTable as NetworkTable
from balancers.gslb.networks import narrowest as narrowest
from balancers.gslb.place import Place as Place
from balancers.gslb.ranking import Part as Part
from balancers.gslb.ranking import Ranked as Ranked
from balancers.gslb.ranking import Ranking as Ranking
from balancers.gslb.region import Region as Region
from balancers.gslb.rotation import rotated as rotated
from balancers.gslb.spill_over import SpillOver as SpillOver
from balancers.gslb.ttl import TimeToLive as TimeToLive
from balancers.gslb.weighted import Weighted as Weighted
