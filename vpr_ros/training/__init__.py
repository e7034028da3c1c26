"""Training: places of several views, samplers, losses and one loop."""
