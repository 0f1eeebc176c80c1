"""Sticky sessions: the requests of one session are sent to the same backend."""

from balancers.sessions.address_sessions import AddressSessions as AddressSessions
from balancers.sessions.binding import Binding as Binding
from balancers.sessions.cookie_sessions import CookieSessions as CookieSessions
from balancers.sessions.header_sessions import HeaderSessions as HeaderSessions
from balancers.sessions.learned_sessions import LearnedSessions as LearnedSessions
from balancers.sessions.tokens import Claim as Claim
from balancers.sessions.tokens import SessionTokens as SessionTokens
