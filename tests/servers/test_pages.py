"""What the page about OpenSearch shows runs as it stands."""

from __future__ import annotations

from pathlib import Path

from tests.support.pages import blocks, run


def test_the_python_of_the_page_runs(store_url: str, tmp_path: Path) -> None:
    code = [block.replace("opensearch+http://localhost:9200/leis", store_url) for block in blocks("docs/engines/opensearch.md")]
    assert "30 dias" in run(code, tmp_path)
