"""Weights, and sometimes activations, in fewer bits."""
