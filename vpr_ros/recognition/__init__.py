"""Recognising places: the front door, the decision, and the building of maps."""
