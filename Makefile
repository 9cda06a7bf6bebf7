# make demo   set everything up in .venv and run the main job on the sample collection
# make test   set the test environment up in .venv-test and run the whole suite, a process per core and one more, since tests of servers
#             and Ray wait (WORKERS=0: in this process); their files lie in memory, where Linux has room (TEST_FILES=/tmp: on the disk)
# make cluster  tests against three real OpenSearch nodes that are killed (Maven and a JDK 21; 3 GB of memory)
# make check  lint and types
# make site   the documentation as a site, in build/site
PYTHON ?= python3
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
# a disk takes milliseconds for each of tens of thousands of writes that the stores of tests wait for
TEST_FILES ?= $(shell [ "$$(df --output=avail /dev/shm 2>&1 | tail -1)" -gt 4000000 ] 2>/dev/null && \
    awk '/^MemAvailable/ && $$2 > 8000000 { print "/dev/shm" }' /proc/meminfo)
unexport PYTHONDONTWRITEBYTECODE  # else each of the many processes that tests start compiles the package anew
PIP_FLAGS = --quiet --disable-pip-version-check

.PHONY: demo test cluster check format site clean

demo: .venv/installed
	.venv/bin/splade-ptbr demo

test: .venv-test/installed
	$(if $(TEST_FILES),PYTEST_DEBUG_TEMPROOT=$(TEST_FILES)) .venv-test/bin/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 $(PYTEST_ARGS)

cluster: .venv-test/installed
	.venv-test/bin/python -m pytest -m cluster tests/cluster $(PYTEST_ARGS)

check: .venv-test/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy

format: .venv-test/installed
	.venv-test/bin/ruff check --fix .
	.venv-test/bin/ruff format .

site: .venv-docs/installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

clean:
	rm -rf .venv .venv-test .venv-docs splade-demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PIP_FLAGS) --editable ".[demo]"
	touch $@

.venv-test/installed: pyproject.toml
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/pip install $(PIP_FLAGS) --upgrade "pip>=25.1"
	.venv-test/bin/pip install $(PIP_FLAGS) --editable ".[all,ray]" --group train --group bench --group test --group lint --group docs
	touch $@

.venv-docs/installed: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install $(PIP_FLAGS) --upgrade "pip>=25.1"
	.venv-docs/bin/pip install $(PIP_FLAGS) --group docs
	touch $@
