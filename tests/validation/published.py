"""Figures without a closed form: published ones, and simulations of other authors' programs.

All are for Poisson arrivals and exponential service, in mean service times.
"""

__all__ = ["HALFIN_WHITT", "POLICIES", "STALE", "SUPERMARKET"]

SUPERMARKET = {
    2: {0.5: 1.2675, 0.7: 1.6202, 0.8: 1.9595, 0.9: 2.6463, 0.95: 3.4596, 0.99: 5.9398},
    3: {0.5: 1.1276, 0.7: 1.3634, 0.8: 1.5937, 0.9: 2.0629, 0.95: 2.6195, 0.99: 4.4059},
    5: {0.5: 1.0339, 0.7: 1.1764, 0.8: 1.3413, 0.9: 1.6729, 0.95: 2.0749, 0.99: 3.4661},
}
"""The mean response time with 100 servers, by choices and load (as in Mitzenmacher 2001)."""
POLICIES: dict[tuple[int, float], dict[str, tuple[float, ...]]] = {
    (10, 0.9): {"2 choices": (2.98, 10.4, 14.3), "least connections": (1.916, 7.94, 11.5)},
    (100, 0.9): {"2 choices": (2.6463, 8.91), "least connections": (1.068, 4.90)},
    (10, 0.95): {"2 choices": (4.334, 14.7)},
}
"""The mean, the 99th and the 99.9th percentile of the response time, by servers and load."""
STALE: dict[str, dict[float, float]] = {
    "2 choices": {0.1: 2.68, 0.5: 2.82, 1: 2.97, 2: 3.26, 5: 4.01, 10: 5.11, 25: 8.04, 50: 12.5},
    "3 choices": {0.1: 2.12, 0.5: 2.34, 1: 2.60, 2: 3.07, 5: 4.33, 10: 6.30, 25: 11.9, 50: 21.1},
    "least of all": {0.1: 1.55, 0.5: 2.82, 1: 3.98, 2: 6.12, 5: 12.0, 10: 23.3, 25: 81.6, 50: 387},
}
"""The mean response time with 100 servers at load 0.9, by the time between two boards (as in
Mitzenmacher 2000)."""
HALFIN_WHITT = {
    0.25: (0.7209, 0.7248), 0.5: (0.5045, 0.5065), 1.0: (0.2234, 0.2169), 1.5: (0.0847, 0.0749),
    2.0: (0.0269, 0.0196),
}  # fmt: skip
"""The share of requests that waits, by β: in the limit of Halfin and Whitt (1981), and of 100
slots with load 1 - β / 10."""
