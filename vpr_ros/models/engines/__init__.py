"""What makes a network fast on one machine, and what measures it."""
