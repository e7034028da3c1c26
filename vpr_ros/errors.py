"""The errors a user can cause. Each message is one sentence: expected, found, what to do."""


class VprError(Exception):
    """Base of every error that is the input's fault and not ours."""


class ConfigError(VprError):
    """A setting is unknown, of the wrong type or out of range."""


class DeviceError(VprError):
    """The processor or GPU cannot run what was asked for."""


class ImageError(VprError):
    """An image cannot be decoded, or decodes to something that is not an image."""


class BagError(VprError):
    """A recording, or a topic in it, cannot be read."""


class CheckpointError(VprError):
    """Weights are missing, damaged, or belong to another model."""


class DownloadError(VprError):
    """A file cannot be fetched, or is not the one that was asked for."""


class ExportError(VprError):
    """A model cannot be written for another engine, or would not compute the same there."""


class MapError(VprError):
    """A map is missing, damaged, or belongs to another model; the kinds below tell which."""


class MapAddressError(MapError):
    """What names a map is neither a path nor an address that is understood."""


class MapMissingError(MapError):
    """There is no such file."""


class MapDamagedError(MapError):
    """The file is no map, or damaged."""


class MapMetadataError(MapDamagedError):
    """A map says nothing, or nonsense, of itself."""


class MapFormatError(MapError):
    """A map has a format that this version does not read."""


class MapModelError(MapError):
    """A map was made with another model, or compressed otherwise."""


class MapFrameError(MapError):
    """The poses of two maps are in frames of different names."""


class MapExistsError(MapError):
    """There is a map of this name already."""


class MapWriteError(MapError):
    """A map cannot be written: no folder, no space, no permission, or a writer is there."""


class GraphError(VprError):
    """A pose graph makes no sense, cannot be read or written, or GTSAM is not installed."""


class DatasetError(VprError):
    """Training or evaluation data are incomplete or inconsistent."""


class RosError(VprError):
    """ROS 2 is not there, or another process or topic of it does not answer."""


class WorkerError(VprError):
    """A process that shared the work died before it was done."""
