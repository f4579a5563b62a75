"""What counts joules, and the windows in which they are counted."""
