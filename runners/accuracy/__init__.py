"""Accuracy: tasks, the lm-eval adapter and rolling perplexity."""
