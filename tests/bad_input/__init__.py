"""Bad input: a typed error that names the value, or what is documented; nothing half done."""
