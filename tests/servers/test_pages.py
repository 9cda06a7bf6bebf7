"""What the pages about OpenSearch show runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import blocks, run


@pytest.mark.parametrize("name", ["docs/engines/opensearch.md", "docs/engines/opensearch.pt.md"])
def test_the_python_of_the_page_runs(name: str, store_url: str, tmp_path: Path) -> None:
    code = [block.replace("opensearch+http://localhost:9200/leis", store_url) for block in blocks(name)]
    assert "30 dias" in run(code, tmp_path)
