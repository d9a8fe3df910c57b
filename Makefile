PYTHON ?= python3
BIN := .venv/bin
# what long forms print is seen at once, in a file, too
export PYTHONUNBUFFERED := 1

.PHONY: demo test bench chaos damage hostile service docs lint clean

demo: .venv/installed
	$(BIN)/python jobs/isoc.py mnist-quick --out runs/mnist-quick

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: .venv/installed
	$(BIN)/python jobs/benchmark.py --out runs/benchmark-short

LONG := $(BIN)/python -m pytest -o faulthandler_timeout=0

chaos: .venv/installed
	$(LONG) -s tests/chaos -m chaos

damage: .venv/installed
	$(LONG) -n 2 -rP -m "chaos and slow" tests/chaos/test_damage.py

hostile: .venv/installed
	$(LONG) -s -m "chaos and slow" tests/chaos/test_hostile.py

service: .venv/installed
	$(LONG) -m slow -s tests/on_ray/test_service.py

docs: .venv/installed
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html -c docs -d build/doctrees . build/site

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
