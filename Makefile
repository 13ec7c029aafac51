# `make demo` serves the shop, `make test` runs every test. Both install what they need, say so, and are quick the
# second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RULES := --config ffi-python/pyproject.toml
SCRIPTS := fuzz/run tests/bugs/run scripts/assure/ledger scripts/assure/mutants spec/traces spec/model/check spec/proof
SHOP_DB ?= $(VENV)/shop.db
PORT ?= 8000
STORE ?= sqlite
FRAMEWORK ?= flask

WHEEL_SOURCES := Cargo.toml Cargo.lock $(shell find core store ffi-python -path '*/target' -prune -o \
	\( -name '*.rs' -o -name '*.toml' -o -path '*/python/coatroom/*.py*' -o -name py.typed \) -type f -print)

.PHONY: demo test assure test-rust test-bugs test-proof test-fuzz test-no-std test-python test-apps venv spec bench bench-python hammer fmt

demo: venv ## The shop on http://127.0.0.1:8000, with SQLite; STORE=redis starts a Redis server for it; FRAMEWORK=django|fastapi
	if [ $(STORE) = redis ]; then scripts/need servers; fi
	$(BIN)/python ffi-python/examples/shop --port $(PORT) --db $(SHOP_DB) --store $(STORE) --framework $(FRAMEWORK)

test: test-rust test-bugs test-proof test-fuzz test-no-std test-python test-apps ## Everything
	@echo "all tests passed"

assure: ## The long checks, step after step, each into spec/ledger.csv; STEPS="search fuzz" for some of them
	scripts/assure/all $(STEPS)

test-rust:
	scripts/need servers
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo clippy --package coatroom-store --all-targets --quiet -- -D warnings
	cargo test --workspace --quiet
	spec/check
	scripts/assure/ledger

test-bugs: ## The planted defects: two checkers must find each
	tests/bugs/run

test-proof: ## Z3 and Coq
	spec/proof/check --install

test-fuzz: ## A minute for all targets together; their corpora are replayed by test-rust
	fuzz/run --total 60

test-no-std:
	tests/no_std/check

test-python: venv
	$(BIN)/ruff check ffi-python tests
	$(BIN)/ruff format --check ffi-python tests
	$(BIN)/ruff check $(RULES) $(SCRIPTS)
	$(BIN)/ruff format --check $(RULES) $(SCRIPTS)
	cd ffi-python/python && ../../$(BIN)/mypy --config-file ../pyproject.toml coatroom
	$(BIN)/mypy --config-file ffi-python/pyproject.toml ffi-python/tests ffi-python/benches
	for script in fuzz/run tests/bugs/run scripts/assure/ledger scripts/assure/mutants; do \
		MYPYPATH=scripts/assure $(BIN)/mypy --config-file ffi-python/pyproject.toml $$script || exit 1; done
	cd ffi-python/examples && ../../$(BIN)/mypy --config-file ../pyproject.toml -p shop
	cd tests/apps && ../../$(BIN)/mypy --config-file ../../ffi-python/pyproject.toml *.py
	$(BIN)/python -m mypy.stubtest coatroom._native
	$(BIN)/pytest -q ffi-python/tests

test-apps: venv
	scripts/need servers
	$(BIN)/pytest -q tests/apps

venv: $(VENV)/ready ## The Python environment with the wheel built from this tree

$(VENV)/ready: $(VENV)/tools $(WHEEL_SOURCES)
	@echo "building and installing the wheel"
	rm -rf target/wheels
	cd ffi-python && ../$(BIN)/maturin build --quiet --release --out ../target/wheels
	$(BIN)/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/wheels/*.whl
	touch $@

$(VENV)/tools: ffi-python/requirements-dev.txt scripts/need
	PYTHON=$(PYTHON) scripts/need
	@echo "making the Python environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r ffi-python/requirements-dev.txt
	touch $@

spec: ## Prints spec/lifecycle.md from the code
	spec/check --write

bench: ## Rust: ratios to the floor, in one run; SESSIONS=1000000 for space at its full size
	scripts/need servers
	cargo bench --quiet -p coatroom-core -p coatroom-store --bench exchange
	scripts/ratios
	cargo bench --quiet -p coatroom-store --bench space
	cargo bench --quiet -p coatroom-store --features redis --bench redis
	cargo bench --quiet -p coatroom-store --features postgres --bench postgres

bench-python: venv ## Python: cost over the same handler without a session
	$(BIN)/python ffi-python/benches/exchange.py

hammer: venv ## Ten minutes of damaged cookies against the conformance apps
	$(BIN)/python tests/apps/hammer.py --minutes 10

fmt:
	cargo fmt --all
	$(BIN)/ruff format ffi-python tests
	$(BIN)/ruff check --fix ffi-python tests
	$(BIN)/ruff format $(RULES) $(SCRIPTS)
	$(BIN)/ruff check $(RULES) --fix $(SCRIPTS)
