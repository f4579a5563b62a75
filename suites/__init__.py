"""The menu: Hydra config groups, YAML only."""
