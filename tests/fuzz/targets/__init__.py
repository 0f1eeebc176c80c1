"""The fuzz targets: properties that must hold for any bytes that a client sends."""
