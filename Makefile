# The two commands of the README: `make demo` and `make test`. Everything they make lies in .venv-*/ and demo/.
PYTHON ?= python3
# The registry's plain torch drags gigabytes of CUDA along; the CPU build is enough to test and to export.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=

.PHONY: demo test bench lint format clean

demo: .venv-demo/ready
	.venv-demo/bin/mmr-infer demo/pages/sad.png --library demo/songs --index demo/index --moods

.venv-demo/ready: pyproject.toml $(wildcard mmr_runtime/*.py)
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install --quiet --disable-pip-version-check '.[cpu]'
	.venv-demo/bin/python -m mmr_export.synth demo
	touch $@

.venv-test/ready: pyproject.toml
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/pip install --quiet --disable-pip-version-check $(TORCH) $(TORCH_INDEX)
	.venv-test/bin/pip install --quiet --disable-pip-version-check -e '.[cpu,export,m4a,pdf,cbr,ocr,milvus,ray,reader,dev]'
	touch $@

lint: .venv-test/ready
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy

format: .venv-test/ready
	.venv-test/bin/ruff format .

test: .venv-test/ready
	.venv-test/bin/python -m pytest

bench: .venv-test/ready
	.venv-test/bin/mmr bench --json build/bench.json --html build/bench.html

clean:
	rm -rf .venv-demo .venv-test demo build dist
