"""What the live node hears: images, cameras, depth, poses, time."""
