"""Recordings: images and poses out of rosbag1, rosbag2 (sqlite3) and mcap files."""
