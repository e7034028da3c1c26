"""Where training views come from, one module a layout."""

from vpr_ros.training.sources.check import Checked, check_pictures, single_views
from vpr_ros.training.sources.spec import SourceOptions, open_views

__all__ = ['Checked', 'SourceOptions', 'check_pictures', 'open_views', 'single_views']
