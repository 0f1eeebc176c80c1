"""Contains helpers that the modules of this package share.  They are not public."""
