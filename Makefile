# `make demo` serves the shop, `make test` runs every test. Both install what they need, say so, and are quick the
# second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RULES := --config ffi-python/pyproject.toml
SCRIPTS := fuzz/run tests/bugs/run scripts/docs scripts/notices scripts/assure/ledger scripts/assure/mutants spec/traces spec/model/check spec/proof
SHOP_DB ?= $(VENV)/shop.db
PORT ?= 8000
STORE ?= sqlite
FRAMEWORK ?= flask

WHEEL_SOURCES := Cargo.toml Cargo.lock $(shell find core store token ffi-python -path '*/target' -prune -o \
	\( -name '*.rs' -o -name '*.toml' -o -path '*/python/coatroom/*.py*' -o -name py.typed \) -type f -print)

.PHONY: demo demo-kotlin demo-swift test test-core test-bindings assure test-rust test-bugs test-proof test-fuzz test-no-std test-python test-oldest test-kotlin \
	test-swift test-apps test-valkey kotlin swift wheel docs venv spec bench bench-python hammer fmt

demo: venv ## The shop on http://127.0.0.1:8000, with SQLite; STORE=redis, STATELESS=alone|deny|until-login, FRAMEWORK=django|fastapi
	if [ $(STORE) = redis ]; then scripts/need servers; fi
	$(BIN)/python ffi-python/examples/shop --port $(PORT) --db $(SHOP_DB) --store $(STORE) --framework $(FRAMEWORK) \
		--stateless "$(STATELESS)"

demo-kotlin: kotlin ## The conformance app on Ktor, on http://127.0.0.1:8000, with SQLite
	@echo "try: curl -i -X POST 'http://127.0.0.1:$(PORT)/login?user=ada'"
	tests/apps/run kotlin --port $(PORT) --store sqlite:target/demo-kotlin.db

test: ## Everything, in two lanes beside each other; what a command prints comes when it is done
	@echo "this takes fifty minutes on two cores the first time"
	scripts/need servers
	scripts/need kotlin
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-core test-bindings
	@echo "all tests passed"

test-core:
	$(MAKE) --no-print-directory --jobs=1 test-rust test-bugs test-proof test-fuzz test-no-std docs

test-bindings:
	$(MAKE) --no-print-directory --jobs=1 test-python test-oldest test-kotlin test-swift test-apps test-valkey wheel

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
	scripts/need servers
	$(BIN)/ruff check ffi-python tests
	$(BIN)/ruff format --check ffi-python tests
	$(BIN)/ruff check $(RULES) $(SCRIPTS)
	$(BIN)/ruff format --check $(RULES) $(SCRIPTS)
	cd ffi-python/python && ../../$(BIN)/mypy --config-file ../pyproject.toml coatroom
	$(BIN)/mypy --config-file ffi-python/pyproject.toml ffi-python/tests ffi-python/benches
	for script in fuzz/run tests/bugs/run scripts/docs scripts/notices scripts/assure/ledger scripts/assure/mutants; do \
		MYPYPATH=scripts/assure $(BIN)/mypy --config-file ffi-python/pyproject.toml $$script || exit 1; done
	cd ffi-python/examples && ../../$(BIN)/mypy --config-file ../pyproject.toml -p shop
	cd ffi-python/examples && ../../$(BIN)/mypy --config-file ../pyproject.toml own_store.py
	cd tests/apps && ../../$(BIN)/mypy --config-file ../../ffi-python/pyproject.toml *.py
	$(BIN)/python -m mypy.stubtest coatroom._native
	cd ffi-python && ../$(BIN)/basedpyright --pythonpath ../$(BIN)/python
	$(BIN)/pytest -q ffi-python/tests --ignore ffi-python/tests/wheel
	PYTHON=$(CURDIR)/$(BIN)/python tests/interop/check

test-oldest: venv ## The same on CPython 3.10, with the oldest versions of the frameworks that docs/wheels.md promises
	scripts/need servers
	scripts/oldest

test-kotlin: ## The native half, the Kotlin layer, its plugins, and a consumer of the packed jars
	scripts/need kotlin
	cargo clippy --package coatroom-tests --features native --all-targets --quiet -- -D warnings
	cargo test --quiet --package coatroom-tests --features native --test corpora
	cargo test --quiet --package coatroom-ffi
	ffi-kotlin/kotlin/build install
	ffi-kotlin/kotlin/consumer/check

kotlin: ## The jars and the conformance app, without their tests
	scripts/need kotlin
	ffi-kotlin/kotlin/build -DskipTests install

test-apps: venv kotlin swift
	scripts/need servers
	$(BIN)/pytest -q tests/apps

test-valkey: ## The tests of the Redis store against Valkey
	scripts/valkey cargo test --quiet --workspace --test redis

wheel: venv ## The wheel for Linux and the source distribution, tried on every CPython that is here, in target/dist
	scripts/wheel
	$(BIN)/pytest -q ffi-python/tests/wheel

docs: ## The site, in target/docs/site; fails if a link leads nowhere
	$(PYTHON) -m venv target/docs-tools
	target/docs-tools/bin/pip install --quiet --disable-pip-version-check -r ffi-python/requirements-docs.txt
	target/docs-tools/bin/python scripts/docs

swift: ## The Swift package and its example service, with the native library from this tree
	scripts/swift-border
	cd ffi-kotlin/swift && ../../scripts/swift build --quiet -j 1

test-swift: ## Swift: vectors and claims about the border
	scripts/swift-border
	cd ffi-kotlin/swift && ../../scripts/swift test --quiet -j 1

demo-swift: swift ## The contract of tests/apps as a Swift service, with SQLite
	tests/apps/run swift --port $(PORT) --store sqlite:$(CURDIR)/ffi-kotlin/swift/.build/demo.db

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

spec: ## Prints spec/lifecycle.md and writes spec/vectors/exchange from the code
	spec/check --write

bench: ## Rust: ratios to the floor, in one run; SESSIONS=1000000 for space at its full size
	scripts/need servers
	cargo bench --quiet -p coatroom-core -p coatroom-store --bench exchange
	scripts/ratios
	cargo bench --quiet -p coatroom-store --bench space
	cargo bench --quiet -p coatroom-store --features redis --bench redis
	cargo bench --quiet -p coatroom-store --features postgres --bench postgres

bench-python: venv ## Python: cost over the same handler without a session; the frameworks beside what they have otherwise
	scripts/need servers
	$(BIN)/pip install --quiet --disable-pip-version-check -r ffi-python/requirements-bench.txt
	$(BIN)/python ffi-python/benches/exchange.py
	$(BIN)/python ffi-python/benches/frameworks.py
	$(BIN)/python ffi-python/benches/tokens.py

hammer: venv ## Ten minutes of damaged cookies against the conformance apps
	$(BIN)/python tests/apps/hammer.py --minutes 10

fmt:
	cargo fmt --all
	$(BIN)/ruff format ffi-python tests
	$(BIN)/ruff check --fix ffi-python tests
	$(BIN)/ruff format $(RULES) $(SCRIPTS)
	$(BIN)/ruff check $(RULES) --fix $(SCRIPTS)
