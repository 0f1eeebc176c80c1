"""Creates the fastest scan for given numbers."""

from balancers.algorithms._smooth_scan import PlainScan, Scan

__all__ = ["make_scan"]


def make_scan(
    current_weights: list[int], effective_weights: list[int], max_plain_members: int
) -> Scan:
    """Return a scan for these numbers; O(n).  With more members than that, it is vectorised."""
    if len(effective_weights) > max_plain_members:
        from balancers.algorithms._smooth_scan_numpy import (  # noqa: PLC0415 - loads numpy
            VectorScan,
            WideScan,
        )

        if VectorScan.fits(current_weights, effective_weights):
            return VectorScan(current_weights, effective_weights)
        return WideScan(current_weights, effective_weights)
    return PlainScan(current_weights, effective_weights)
