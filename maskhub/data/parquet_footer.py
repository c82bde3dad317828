"""The row groups of a parquet file, read from its footer.

pyarrow can't be asked for this of an unknown file: where a column's description does not fit the schema,
``RowGroupMetaData.column`` and ``ColumnChunkMetaData.statistics`` (26.0) end the process instead of raising.
"""

import struct
from dataclasses import dataclass

__all__ = ["RowGroup", "row_groups"]

DEEPEST = 32
"""Structs and lists within each other; a footer has 8."""


@dataclass(frozen=True)
class RowGroup:
    """A row group of a parquet file.

    Attributes:
        rows: number of rows.
        size: stored bytes of its columns.
        decoded: bytes of its columns before they were compressed.
        nulls: path of each column, such as ``image.bytes`` → number of missing values, None if not stored.
    """

    rows: int
    size: int
    decoded: int
    nulls: dict


def row_groups(footer):
    """The :class:`RowGroup` list of a footer, the bytes of Thrift's compact protocol before its length. ValueError if
    it is broken."""
    try:
        # numbers of the fields: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
        return [_row_group(group) for group in _Compact(footer).struct()[4]]
    except (AttributeError, IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error) as error:
        raise ValueError("its footer does not describe its row groups") from error


def _row_group(fields):
    columns = [column[3] for column in fields[1]]
    rows, size, decoded = fields[3], sum(column[7] for column in columns), fields[2]
    if min(rows, size, decoded) < 0:
        raise ValueError("its footer has a negative size")
    nulls = {b".".join(column[3]).decode(): column.get(12, {}).get(3) for column in columns}
    return RowGroup(rows, size, decoded, nulls)


class _Compact:
    """Bytes of Thrift's compact protocol, read as dicts of field number → value. IndexError or struct.error at the end
    of the bytes."""

    def __init__(self, data):
        self.data, self.place = data, 0

    def struct(self, depth=0):
        if depth > DEEPEST:
            raise ValueError("its footer is nested too deeply")
        found, number = {}, 0
        while byte := self._byte():
            step, kind = byte >> 4, byte & 15
            number = number + step if step else self._integer()
            found[number] = kind == 1 if kind < 3 else self._value(kind, depth)
        return found

    def _value(self, kind, depth):
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 8:
            return self._bytes(self._natural())
        if kind == 12:
            return self.struct(depth + 1)
        if kind in (9, 10):
            byte = self._byte()
            count, inner = byte >> 4, byte & 15
            return self._values([inner] * (count if count < 15 else self._count()), depth)
        if kind == 7:
            return struct.unpack("<d", self._bytes(8))[0]
        if kind == 11:
            count = self._count()
            kinds = divmod(self._byte(), 16) if count else ()
            return self._values(kinds * count, depth)
        if kind in (1, 2, 3):
            return self._byte()
        raise ValueError("its footer has a value of an unknown type")

    def _values(self, kinds, depth):
        if depth > DEEPEST:
            raise ValueError("its footer is nested too deeply")
        return [self._value(kind, depth + 1) for kind in kinds]

    def _count(self):
        """The number of values that follow, each of at least a byte."""
        count = self._natural()
        if count > len(self.data):
            raise IndexError
        return count

    def _integer(self):
        number = self._natural()
        return number >> 1 ^ -(number & 1)

    def _natural(self):
        number, shift = 0, 0
        while (byte := self._byte()) >= 128:
            number |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError("its footer has a number of more than 64 bits")
        return number | byte << shift

    def _bytes(self, count):
        self.place += count
        if self.place > len(self.data):
            raise IndexError
        return self.data[self.place - count : self.place]

    def _byte(self):
        byte = self.data[self.place]
        self.place += 1
        return byte
