"""A recording played to a live node, and its answers kept."""
