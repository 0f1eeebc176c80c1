"""Chooses the region that serves a client, and what a DNS server answers."""

from balancers.gslb.client_subnet import ClientSubnet as ClientSubnet
from balancers.gslb.networks import Found as Found
from balancers.gslb.networks import NetworkTable as NetworkTable
from balancers.gslb.networks import narrowest as narrowest
from balancers.gslb.rotation import rotated as rotated
from balancers.gslb.ttl import TimeToLive as TimeToLive
