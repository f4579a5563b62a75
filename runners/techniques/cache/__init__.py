"""How keys and values are kept."""
