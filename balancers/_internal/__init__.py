"""What the parts of this package share, and nobody else imports."""
