"""The loops that run simulations, and what they share: servers, events and exact counts."""
