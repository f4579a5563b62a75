"""The gate for records that are submitted: what must hold before they are published."""
