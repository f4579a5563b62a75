"""Pure functions of observations: what a metric is, how it is reduced, how sure one can be."""
