"""What values of a recipe may be: numbers in a range, names from a list, and the strictness of every section."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A table of a recipe: no value is converted, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _not_nan(value: float) -> float:
    if math.isnan(value):  # which no check of a range would find
        raise PydanticCustomError("nan", "nan is not a number")
    return value


Number = Annotated[float, AfterValidator(_not_nan)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]

Pooling = Literal["max", "sum"]
Activation = Literal["log1p_relu", "log1p_log1p_relu"]
CandidateSet = Literal["own", "positives", "hard", "all"]
Regularizer = Literal["flops", "l1", "l0_flops", "df_flops"]
Convention = Literal["averaged", "stacked", "summed"]
