"""Backends: one Protocol, one implementation a file or folder."""
