"""Records in, static pages out. Knows nothing of runners."""
