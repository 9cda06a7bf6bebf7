"""What the READMEs show runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "README.pt-BR.md"])
def test_the_python_of_the_readme_runs(name: str, tmp_path: Path) -> None:
    code = [block for block in blocks(name) if "import" in block]
    assert len(code) == 3
    checks = 'assert [h.doc_id for h in store.search(query)] == ["1"]\nassert len(documents) == len(nodes) == 1\n'
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", "\n".join([*code, checks])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "30 dias" in done.stdout


def test_both_readmes_show_the_same_code() -> None:
    english, portuguese = (
        [re.sub(r"#.*|my-documents|meus-documentos|\s", "", block) for block in blocks(name)] for name in ("README.md", "README.pt-BR.md")
    )
    assert portuguese == [block for block in english if "metadata.subject" not in block]
