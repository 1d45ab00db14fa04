"""Numpy arrays to Arrow columns and back, in the types that LeRobot and `datasets` read and write."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from foreact.contract.errors import DatasetError
from foreact.data.lerobot.layout import Feature

__all__ = ["arrow_schema", "column_to_numpy", "numpy_to_column", "picture_column"]

_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def arrow_type(feature: Feature) -> pa.DataType:
    """Scalars stay scalars, vectors are fixed-size lists, more dimensions are nested lists."""
    if feature.dtype == "image":
        return _PICTURE
    if feature.dtype == "string":
        return pa.string()
    value = pa.from_numpy_dtype(np.dtype(feature.dtype))
    if feature.shape in ((), (1,)):
        return value
    if len(feature.shape) == 1:
        return pa.list_(value, feature.shape[0])
    for _ in feature.shape:
        value = pa.list_(value)
    return value


def _hub_type(feature: Feature) -> dict[str, object]:
    if feature.dtype == "image":
        return {"_type": "Image"}
    scalar: dict[str, object] = {"dtype": feature.dtype, "_type": "Value"}
    if feature.dtype == "string" or feature.shape in ((), (1,)):
        return scalar
    if len(feature.shape) == 1:
        return {"feature": scalar, "length": feature.shape[0], "_type": "List"}
    return {"shape": list(feature.shape), "dtype": feature.dtype, "_type": f"Array{len(feature.shape)}D"}


def arrow_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """The schema of a data file. Videos have no column. The metadata lets `datasets` restore its own types."""
    columns = {key: feature for key, feature in features.items() if feature.dtype != "video"}
    metadata = {"huggingface": json.dumps({"info": {"features": {key: _hub_type(f) for key, f in columns.items()}}})}
    return pa.schema([(key, arrow_type(feature)) for key, feature in columns.items()], metadata=metadata)


def numpy_to_column(values: np.ndarray, feature: Feature) -> pa.Array:
    """(n, *shape) -> a column of n rows."""
    if feature.dtype == "string":
        return pa.array([str(value) for value in values.reshape(-1)], pa.string())
    flat: pa.Array = pa.array(np.ascontiguousarray(values, dtype=feature.dtype).reshape(-1))
    if feature.shape in ((), (1,)):
        return flat
    if len(feature.shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, feature.shape[0])
    for size in reversed(feature.shape):
        flat = pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, size, dtype=np.int32)), flat)
    return flat


def picture_column(pictures: list[bytes]) -> pa.Array:
    """Compressed pictures as `datasets` stores them: a struct of bytes and (absent) path."""
    return pa.StructArray.from_arrays(
        [pa.array(pictures, pa.binary()), pa.nulls(len(pictures), pa.string())], fields=list(_PICTURE))


def column_to_numpy(column: pa.ChunkedArray | pa.Array, feature: Feature, *, where: str) -> np.ndarray:
    """A column of n rows -> (n, *shape) in the dtype of the feature; scalars of shape (1,) come out as (n,).

    Raises `DatasetError` when rows are missing, or are not of the shape that the feature states.
    """
    rows = len(column)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    if array.null_count:
        raise DatasetError("a column has empty rows", where=where, found=f"{array.null_count} of {rows}")
    if feature.dtype == "string":
        return np.array(array.to_pylist(), dtype=object)
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    while pa.types.is_nested(array.type):
        array = array.flatten()
    if array.null_count:
        raise DatasetError("a column has empty entries", where=where, found=array.null_count)
    flat = array.to_numpy(zero_copy_only=False)
    size = int(np.prod(feature.shape, dtype=np.int64))
    if flat.size != rows * size:
        raise DatasetError("a column does not have the shape that info.json states", where=where,
                           found=f"{flat.size / max(rows, 1):g} numbers a row", accepted=f"{size}: shape {feature.shape}")
    shape = () if feature.shape in ((), (1,)) else feature.shape
    return flat.astype(feature.dtype, copy=False).reshape(rows, *shape)
