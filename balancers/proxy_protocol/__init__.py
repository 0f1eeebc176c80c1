"""Parses and builds headers of the PROXY protocol, versions 1 and 2.

A proxy sends such a header at the start of a connection to say where the connection came from.
"""

from balancers.proxy_protocol.header import Endpoint as Endpoint
from balancers.proxy_protocol.header import ProxyHeader as ProxyHeader
from balancers.proxy_protocol.reader import ReadHeader as ReadHeader
from balancers.proxy_protocol.reader import read_proxy_header as read_proxy_header
from balancers.proxy_protocol.ssl_tlv import ReadSsl as ReadSsl
from balancers.proxy_protocol.ssl_tlv import Ssl as Ssl
from balancers.proxy_protocol.tlv import Tlv as Tlv
from balancers.proxy_protocol.tlv import TlvType as TlvType
