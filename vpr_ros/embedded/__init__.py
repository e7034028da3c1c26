"""Scripts that other programs embed: they are on those programs' module path, and little else."""
