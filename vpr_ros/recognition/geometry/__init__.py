"""Whether one motion of the camera explains what a query and a place share, and which."""
