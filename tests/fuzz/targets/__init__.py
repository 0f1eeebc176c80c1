"""What must hold of any bytes that a client sends."""
