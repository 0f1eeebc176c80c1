"""VRRP version 3 (RFC 9568): an active router and its backups share a virtual address."""

from balancers.redundancy.vrrp._packets import DROP_REASONS as DROP_REASONS
from balancers.redundancy.vrrp._packets import NOTICES as NOTICES
from balancers.redundancy.vrrp.actions import Action as Action
from balancers.redundancy.vrrp.actions import Announce as Announce
from balancers.redundancy.vrrp.actions import Install as Install
from balancers.redundancy.vrrp.actions import Send as Send
from balancers.redundancy.vrrp.actions import State as State
from balancers.redundancy.vrrp.actions import StateChanged as StateChanged
from balancers.redundancy.vrrp.actions import Withdraw as Withdraw
from balancers.redundancy.vrrp.announcements import announcement_frame as announcement_frame
from balancers.redundancy.vrrp.announcements import virtual_mac as virtual_mac
from balancers.redundancy.vrrp.packet import ALL_ROUTERS_IPV4 as ALL_ROUTERS_IPV4
from balancers.redundancy.vrrp.packet import ALL_ROUTERS_IPV6 as ALL_ROUTERS_IPV6
from balancers.redundancy.vrrp.packet import OWNER as OWNER
from balancers.redundancy.vrrp.packet import PROTOCOL as PROTOCOL
from balancers.redundancy.vrrp.packet import Advertisement as Advertisement
from balancers.redundancy.vrrp.packet import Checksum as Checksum
from balancers.redundancy.vrrp.packet import Datagram as Datagram
from balancers.redundancy.vrrp.packet import MalformedPacket as MalformedPacket
from balancers.redundancy.vrrp.packet import decode as decode
from balancers.redundancy.vrrp.packet import encode as encode
from balancers.redundancy.vrrp.packet import ipv4_datagram as ipv4_datagram
from balancers.redundancy.vrrp.router import Snapshot as Snapshot
from balancers.redundancy.vrrp.router import VirtualRouter as VirtualRouter
from balancers.redundancy.vrrp.timers import down_interval as down_interval
from balancers.redundancy.vrrp.timers import skew_time as skew_time
