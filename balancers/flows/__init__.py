"""Keeps each flow on its backend.  A flow is a transport connection.

A :class:`FlowKey` identifies a flow.  A :class:`FlowTable` stores the backend of each flow.
"""

from balancers.flows.flow_key import FlowKey as FlowKey
from balancers.flows.flow_table import FlowCounts as FlowCounts
from balancers.flows.flow_table import FlowTable as FlowTable
