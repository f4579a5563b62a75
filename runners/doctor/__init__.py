"""What can be measured here, and what not."""
