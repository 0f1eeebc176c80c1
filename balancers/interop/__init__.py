"""What the real programs pick, one module each; the core knows none of it.

They stand on the public API, on :mod:`balancers.hashing`, and on the checks of input that all
balancers share (:mod:`balancers.membership`, :mod:`balancers.addresses`).
"""
