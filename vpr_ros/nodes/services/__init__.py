"""What the node is asked for: services and the action."""
