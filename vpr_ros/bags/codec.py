"""Bytes of a recorded message to a message object, or to the CDR bytes of ROS 2."""

from __future__ import annotations

import sys
from typing import Any

from rosbags.convert.converter import (
    STATIC_MSGTYPE_RENAMES,
    is_same_wireformat,
    migrate_bytes,
)
from rosbags.interfaces import Connection, ConnectionExtRosbag1, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.msg import normalize_msgtype
from rosbags.typesys.store import Typestore

from vpr_ros.bags.message_types import IMAGE_TYPES, POSES, TRANSFORM_TYPE
from vpr_ros.errors import BagError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
IDL_SEPARATOR = '=' * 80 + '\n'


def ros2_type(msgtype: str) -> str:
    """Name of a message type as ROS 2 writes it, `package/msg/Name`."""
    name = normalize_msgtype(msgtype)
    return STATIC_MSGTYPE_RENAMES.get(name, name)


def serialization(connection: Connection) -> str:
    """`cdr`, `ros1`, or whatever else the recording states."""
    ext = connection.ext
    return 'ros1' if isinstance(ext, ConnectionExtRosbag1) else ext.serialization_format


class Codec:
    """Message types of a recording, each in a store of its own.

    One store for all of them, as `rosbags.AnyReader` has, refuses the whole recording when the
    definition of any one type is damaged or unusual.
    """

    def __init__(self) -> None:
        self._stores: dict[tuple[str, ...], tuple[Typestore, str]] = {}
        self._targets: dict[str, Typestore] = {}
        self._migration: dict[str, object] = {}

    def deserialize(self, connection: Connection, data: bytes) -> Any:
        """Message object of one recorded message.

        Raises:
            BagError: the type is unknown, or the bytes are not of it.
        """
        store, name = self._store(connection)
        try:
            if serialization(connection) == 'ros1':
                return store.deserialize_ros1(data, name)
            # A view spares rosbags its copy of the whole image.
            return store.deserialize_cdr(memoryview(_plain(data)), name)
        except Exception as error:  # damaged bytes fail anywhere inside the generated code
            raise BagError(f'{name} cannot be deserialised: {error!r}') from None

    def to_cdr(self, connection: Connection, data: bytes) -> bytes:
        """The message as ROS 2 serialises it; what ROS 1 recorded is converted.

        Raises:
            BagError: the type is unknown, or the bytes are not of it.
        """
        try:
            if serialization(connection) == 'cdr':
                return _plain(data)
            source, name = self._store(connection)
            target = self._target(source, name)
            if is_same_wireformat(source, target, name, ros2_type(name)):
                return bytes(target.ros1_to_cdr(data, ros2_type(name)))
            types = (name, ros2_type(name))
            return bytes(
                migrate_bytes(
                    source, target, *types, self._migration, data, src_is2=False, dst_is2=True
                )
            )
        except BagError:
            raise
        except Exception as error:  # as above
            type_ = connection.msgtype
            raise BagError(f'{type_} cannot be converted to ROS 2: {error!r}') from None

    def _store(self, connection: Connection) -> tuple[Typestore, str]:
        format_ = serialization(connection)
        key = (format_, connection.msgtype, connection.msgdef.data)
        if key not in self._stores:
            if format_ not in ('cdr', 'ros1'):
                raise BagError(f'{connection.topic} is serialised as {format_!r}; expected cdr')
            name = normalize_msgtype(connection.msgtype)
            # What is read here has not changed since ROS 1; a damaged definition of it can harm.
            stable = ros2_type(name) in (*IMAGE_TYPES, *POSES, TRANSFORM_TYPE)
            sources = (_standard, _defined) if stable else (_defined, _standard)
            stores = (store for source in sources if (store := source(connection, name)))
            store = next(stores, None)
            if store is None:
                raise BagError(
                    f'{name} has no usable definition in the recording and is not a standard type'
                )
            self._stores[key] = (store, name)
        return self._stores[key]

    def _target(self, source: Typestore, name: str) -> Typestore:
        """Store of ROS 2 with a type recorded by ROS 1, which may not exist there."""
        if name not in self._targets:
            store = get_typestore(Stores.LATEST)
            if ros2_type(name) not in store.fielddefs:
                header = store.fielddefs['std_msgs/msg/Header']
                store = get_typestore(Stores.EMPTY)
                store.register({**source.fielddefs, 'std_msgs/msg/Header': header})
            self._targets[name] = store
        return self._targets[name]


def _plain(data: bytes) -> bytes:
    """Undo the message compression of rosbag2; CDR cannot start like this."""
    return zstd.decompress(data) if data[:4] == ZSTD_MAGIC else data


def _defined(connection: Connection, name: str) -> Typestore | None:
    """Store of the definition in the recording; none where it has none or it is unusable."""
    definition, store = connection.msgdef, get_typestore(Stores.EMPTY)
    try:
        if definition.format is MessageDefinitionFormat.MSG:
            store.register(get_types_from_msg(definition.data, name))
        elif definition.format is MessageDefinitionFormat.IDL:
            for part in definition.data.split(IDL_SEPARATOR):
                text = part.partition('\n')[2] if part.startswith('IDL: ') else part
                store.register(get_types_from_idl(text) if text.strip() else {})
    except Exception:  # the parser raises whatever a damaged definition leads it to
        return None
    return store if name in store.fielddefs else None


def _standard(connection: Connection, name: str) -> Typestore | None:
    ros1 = serialization(connection) == 'ros1'
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.LATEST)
    return store if name in store.fielddefs else None
