"""`index`: the exact index beside a plain scatter-add and Qdrant Edge."""
