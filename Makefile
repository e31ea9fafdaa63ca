PYTHON ?= python3
# The executable brings its Python along: Debian's, which is compiled with PGO and LTO, whatever comes first in PATH.
BUILD_PYTHON ?= /usr/bin/python3
BIN := .venv/bin
LISTEN := 127.0.0.1:8443
DEMO := '{"customer":{"email":"ada@example.com"}}'

.DEFAULT_GOAL := help
.PHONY: help run test coverage browser screenshots system soak lint bench-import bench-instructions bench-card bench-page bench-start bench-peers binary deb package reference requirements clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

run: $(BIN)/.runnable ## serve the sample customers on https://127.0.0.1:8443, and print a request to paste
	@install -D --mode=600 conf/demo-secret .state/demo-secret
	@echo 'A request of Help Scout, for another terminal; here, Ctrl-C ends the service:'
	@printf '%s' $(DEMO) | STATE_DIRECTORY='$(CURDIR)/.state' $(BIN)/sidebard sign \
	  --secret-file .state/demo-secret --curl https://$(LISTEN)/helpscout
	@STATE_DIRECTORY='$(CURDIR)/.state' exec $(BIN)/sidebard serve \
	  --customers conf/customers.csv --secret-file .state/demo-secret --listen $(LISTEN)

test: $(BIN)/.installed ## run every test, on two cores in three minutes, and measure branch coverage
	@$(BIN)/coverage erase
	@# One more than the cores: tests of services wait for much of their time.
	$(BIN)/coverage run -m pytest --numprocesses 3 --dist worksteal --durations 25
	@# Processes that a test kills leave half a file: -W ignore, and what cannot be read is removed.
	@$(BIN)/python -W ignore -m coverage combine --quiet && rm -f .coverage.*
	@$(BIN)/coverage report

coverage: test ## the same, and show the lines that no test runs in htmlcov/index.html
	$(BIN)/coverage html

browser: $(BIN)/.installed ## use the preview and status pages in chromium
	$(BIN)/python -m pytest -m browser

screenshots: $(BIN)/.installed ## make the pictures in docs/pictures
	$(BIN)/python -m tests.browser.screenshots

# Only what speaks to databases is measured here: `make test` has none, and what is loaded or timed must not be slowed.
DATABASES := tests/system/databases
system: $(BIN)/.installed .venv-sslyze/.installed ## attack, kill and load the service, for four minutes
	@$(BIN)/coverage erase --rcfile $(DATABASES)/coverage.ini
	$(BIN)/coverage run --rcfile $(DATABASES)/coverage.ini -m pytest -m system $(DATABASES)
	@$(BIN)/python -W ignore -m coverage combine --quiet --rcfile $(DATABASES)/coverage.ini && rm -f .databases-coverage.*
	@$(BIN)/coverage report --rcfile $(DATABASES)/coverage.ini
	$(BIN)/python -m pytest -m system --ignore $(DATABASES)

soak: $(BIN)/.installed .venv-sslyze/.installed ## the same at full length, an hour and a half
	$(BIN)/python -m pytest -m system --long -o faulthandler_timeout=2400

lint: $(BIN)/.installed ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ROWS := 1000000
bench-import: $(BIN)/.installed ## compare the import with sqlite3's own, and that from databases with a file's; ROWS=10000000 for ten million
	$(BIN)/python -m tests.bench.import_customers $(ROWS)
	$(BIN)/python -m tests.bench.import_database $(ROWS)

bench-instructions: $(BIN)/.installed ## count the instructions of a request (needs valgrind)
	$(BIN)/python -m tests.bench.instructions

bench-card: $(BIN)/.installed ## measure how long it takes to render a card
	$(BIN)/python -m tests.bench.card

bench-page: $(BIN)/.installed ## measure pages, webhooks and the map of ids; needs wrk and two cores
	$(BIN)/python -m tests.bench.page

bench-start: $(BIN)/.installed ## measure a start to the first answer, and idle memory, of what `make deb` built and of the source
	$(BIN)/python -m tests.bench.start build/out/folder/sidebard dist/sidebard '$(BIN)/python -m appliance'

TURNS := 9
bench-peers: $(BIN)/.installed ## compare requests with Go, nginx and a ceiling for ten minutes, on an idle machine; TURNS=3
	$(BIN)/python -m tests.bench.peers --turns $(TURNS)

binary: .venv-build/.installed ## build, test and hash the one executable, dist/sidebard
	.venv-build/bin/python packaging/build.py

deb: binary ## build the .deb and the .rpm
	.venv-build/bin/python packaging/package.py

package: $(BIN)/.installed deb ## build and try the packages in real Debian 12 and 13 (systemd-nspawn; root)
	$(BIN)/python -m pytest -m package

reference: $(BIN)/.installed ## write the commands' options into docs/cli.md
	$(BIN)/python packaging/reference.py
	$(BIN)/python packaging/form_pictures.py

requirements: $(BIN)/.installed ## update the pinned versions of everything that goes into the executable
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --custom-compile-command 'make requirements' \
	  --output-file packaging/requirements.txt setup.cfg packaging/requirements.in

clean: ## remove everything that the other targets made
	rm -rf .venv .venv-build .venv-sslyze .coverage* .databases-coverage* htmlcov .state .bench .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info

# What the service needs, which is little; and on top of it what the tests need.
$(BIN)/.runnable: setup.cfg pyproject.toml
	@echo 'Installing into .venv, which takes about half a minute'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(BIN)/.installed: $(BIN)/.runnable
	@echo 'Installing what the tests need, too'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.venv-build/.installed: packaging/requirements.txt packaging/bootloader.patch packaging/install_tools.py
	$(BUILD_PYTHON) packaging/install_tools.py .venv-build
	@touch $@

# sslyze needs an older cryptography than the service does.
.venv-sslyze/.installed:
	$(PYTHON) -m venv .venv-sslyze
	.venv-sslyze/bin/pip install --quiet --disable-pip-version-check 'sslyze>=6.3'
	@touch $@
