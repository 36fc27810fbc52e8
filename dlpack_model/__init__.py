"""An executable specification of the DLPack exchange: how tensors travel through capsules."""

from dlpack_model.abi import DLPACK_VERSIONS, DLDataTypeCode, DLDeviceType, Flags
from dlpack_model.arrays import Array, new_array, set_value, values_of
from dlpack_model.consumer import CONSUMERS, Consumer, consumer_named, from_dlpack
from dlpack_model.dtypes import dtype_named
from dlpack_model.exchange import Exchange
from dlpack_model.producer import Producer, __dlpack__, __dlpack_device__
from dlpack_model.violations import Broken, Violation

__all__ = [
    "CONSUMERS",
    "DLPACK_VERSIONS",
    "Array",
    "Broken",
    "Consumer",
    "DLDataTypeCode",
    "DLDeviceType",
    "Exchange",
    "Flags",
    "Producer",
    "Violation",
    "__dlpack__",
    "__dlpack_device__",
    "consumer_named",
    "dtype_named",
    "from_dlpack",
    "new_array",
    "set_value",
    "values_of",
]
