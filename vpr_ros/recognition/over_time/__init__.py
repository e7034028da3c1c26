"""What queries in a row say together: agreement, filter, sequence, the robot's own past."""
