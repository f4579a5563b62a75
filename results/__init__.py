"""The record of a run: its schema, its identity, where it is kept, and the tables made of it."""
