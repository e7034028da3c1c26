"""Visual place recognition for ROS 2. Importing the package loads neither torch nor rclpy."""

__version__ = '0.1.0'
