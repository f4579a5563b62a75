"""How the next tokens are found."""
