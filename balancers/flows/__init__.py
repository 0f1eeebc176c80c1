"""Flows (transport connections): their keys, and a table that keeps each flow on its backend."""

from balancers.flows.flow_key import FlowKey as FlowKey
from balancers.flows.flow_table import FlowCounts as FlowCounts
from balancers.flows.flow_table import FlowTable as FlowTable
