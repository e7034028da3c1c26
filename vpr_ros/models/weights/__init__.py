"""Files of weights: ours, those that others published, and the way from one to the other."""
