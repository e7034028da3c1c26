"""The networks of the papers: backbones, heads and what they are made of."""
