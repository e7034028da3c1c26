"""A procedural town, a software renderer for it, and drives through it written as bags."""
