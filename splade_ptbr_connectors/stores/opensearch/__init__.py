"""`opensearch+http(s)://HOST:PORT/INDEX`: an OpenSearch server or cluster, weights in a rank_features field."""

from ...extras import require

require("opensearchpy", "the OpenSearch store")  # before anything below imports it: the error names the extra

from .filters import NativeFilter  # noqa: E402
from .settings import OpenSearchSettings  # noqa: E402
from .store import OpenSearchStore, connect  # noqa: E402

__all__ = ["NativeFilter", "OpenSearchSettings", "OpenSearchStore", "connect"]
