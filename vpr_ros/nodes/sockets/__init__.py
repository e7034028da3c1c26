"""What neighbours hear of the live node, each in its own words: nav2, RTAB-Map, a pose graph."""
