"""Bad input raises an error that names the value, or does what is documented; nothing changes."""
