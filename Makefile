# Every developer command; `make` lists them.
#
# .venv holds Python and what it needs; build/<kind> is one meson build each.
# The venv runs the Python files of this tree in place (tools/develop.py), so
# only C needs compiling.

PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=
T ?= 30
BUILD ?= build/release
VENV = .venv
PY = $(VENV)/bin/python
MESON = $(VENV)/bin/meson
NINJA = ninja
CORE = mosbox/_core.abi3.so
PYTEST_ARGS ?=

# Several makes in one tree take turns at a build folder.
LOCK = $(shell command -v flock >/dev/null && echo flock .venv/lock)
PIP = $(PY) -m pip install -q --disable-pip-version-check
# $(call configure,FOLDER,OPTIONS,ENVIRONMENT): set a build folder up, once;
# ninja does it again when a meson file changes.
configure = test -f $(1)/build.ninja || \
	{ mkdir -p $(1) && $(3) $(MESON) setup $(1) $(2) >$(1)/setup.log || { cat $(1)/setup.log; exit 1; }; }

# not written into the calls: a comma would end their argument
SANITIZE = address,undefined

.DEFAULT_GOAL = help
.PHONY: help setup build demo test test-c test-py lint asan-build asan hostile flood fuzz bench man install clean
.DELETE_ON_ERROR:

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "PYTHON=python3 PREFIX=/usr/local DESTDIR= T=30 (seconds a fuzz target) N=25 PYTEST_ARGS="

setup: ## install the system packages that the build needs, or name them
	@PYTHON=$(PYTHON) tools/setup.sh build

# ---- the venv, in steps: to run, to test, to develop

$(VENV)/run: pyproject.toml
	@PYTHON=$(PYTHON) tools/setup.sh build
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) $$($(PY) tools/develop.py requirements)
	@touch $@
$(VENV)/test: $(VENV)/run
	$(PIP) $$($(PY) tools/develop.py requirements test)
	@touch $@
$(VENV)/dev: $(VENV)/test
	$(PIP) $$($(PY) tools/develop.py requirements dev)
	@touch $@

build: $(VENV)/run ## compile the core and make .venv/bin/mosbox run this tree
	@$(call configure,$(BUILD),-Dbuildtype=release)
	@$(LOCK) $(NINJA) -C $(BUILD) --quiet
	@$(PY) tools/develop.py link $(BUILD)/$(CORE)

demo: build ## alerts of `mosbox ids` on a capture in the tree
	$(VENV)/bin/mosbox ids -r tests/data/demo.pcap --rules mosbox/data/starter.rules

test: $(VENV)/test ## build, then run the C tests and the Python tests
	@PYTHON=$(PYTHON) tools/setup.sh test
	@$(MAKE) --no-print-directory build
	@status=0; \
	$(MAKE) --no-print-directory test-c || status=1; \
	$(MAKE) --no-print-directory test-py || status=1; \
	exit $$status

test-c:
	$(LOCK) $(MESON) test -C $(BUILD) --no-rebuild --print-errorlogs

test-py:
	$(PY) -m pytest -n 2 $(PYTEST_ARGS)

lint: $(VENV)/dev ## ruff, mypy, and a build with warnings as errors
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@$(call configure,build/lint,-Dwerror=true -Dbench=true)
	@$(LOCK) $(NINJA) -C build/lint --quiet

# The suite runs on the package installed from the ASan build, not on the tree.
# Leaks are looked for in the C tests; Python itself never frees all it has.
ASAN = build/asan
ASAN_SITE = $(CURDIR)/$(ASAN)/site
ASAN_PYTEST = PYTHONPATH=$(ASAN_SITE) PYTHONSAFEPATH=1 PYTHONMALLOC=malloc MOSBOX_ASAN=1 \
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	$(PY) -m pytest -n 2 -p no:cacheprovider $(PYTEST_ARGS)

asan-build: $(VENV)/test
	@$(call configure,$(ASAN),-Dbuildtype=debugoptimized -Dwerror=true \
		-Db_sanitize=$(SANITIZE) -Db_lundef=false \
		-Dpython.purelibdir=$(ASAN_SITE) -Dpython.platlibdir=$(ASAN_SITE))
	@$(LOCK) $(NINJA) -C $(ASAN) --quiet
	@rm -rf $(ASAN)/site
	@$(MESON) install -C $(ASAN) --no-rebuild --quiet --tags runtime,python-runtime

asan: asan-build ## rebuild with ASan and UBSan, run all tests under them
	@status=0; \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	$(MESON) test -C $(ASAN) --no-rebuild --print-errorlogs || status=1; \
	$(ASAN_PYTEST) || status=1; \
	exit $$status

N ?= 25
hostile: asan-build ## N mutations of each capture through the apps, under ASan and UBSan
	MOSBOX_HOSTILE=$(N) $(ASAN_PYTEST) tests/test_hostile.py

FLOOD ?= 10000000
flood: $(VENV)/test build ## FLOOD packets of each attack among 10,000 connections, within 256 MB
	MOSBOX_FLOOD=$(FLOOD) $(PY) -m pytest -v -s -n 0 -p no:cacheprovider $(PYTEST_ARGS) tests/test_flood.py

CONNECTIONS ?= 2000
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom)
oracle: $(VENV)/test build ## CONNECTIONS of the kernel's TCP over a bad network, as the judge; SEED
	MOSBOX_ORACLE=$(CONNECTIONS) MOSBOX_ORACLE_SEED=$(strip $(SEED)) $(PY) -m pytest -n 2 tests/oracle $(PYTEST_ARGS)

fuzz: $(VENV)/run ## run every fuzz target for T seconds
	@PYTHON=$(PYTHON) tools/setup.sh fuzz
	@$(call configure,build/fuzz,-Dfuzz=true -Dpython=false -Dtests=false \
		-Db_sanitize=$(SANITIZE) -Db_lundef=false,CC=clang)
	@$(LOCK) $(NINJA) -C build/fuzz --quiet
	@for target in build/fuzz/core/fuzz/fuzz_*; do \
		test -f $$target -a -x $$target || continue; \
		name=$${target##*/fuzz_}; \
		mkdir -p build/fuzz/corpus/$$name core/fuzz/seeds/$$name; \
		echo "fuzz $$name, $(T) s"; \
		$$target -max_total_time=$(T) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
			-artifact_prefix=build/fuzz/$$name- -verbosity=0 \
			build/fuzz/corpus/$$name core/fuzz/seeds/$$name || exit 1; \
	done

bench: build ## the core and the tools beside others, as ratios; TRACES=folder of captures
	@$(call configure,build/bench,-Dbuildtype=release -Dbench=true -Dtests=false -Dpython=false)
	@$(LOCK) $(NINJA) -C build/bench --quiet
	$(PY) tools/bench.py $(if $(TRACES),--traces $(TRACES)) $(BENCH_ARGS)

man: build ## make the manual pages anew from docstrings and options
	$(PY) tools/man.py

# The package and what it needs get a folder of their own and a launcher that
# knows it: no other program's Python packages can come in the way.
LIB = $(PREFIX)/lib/mosbox
DATA = $(DESTDIR)$(PREFIX)/share
install: build ## install to PREFIX, DESTDIR before it: program, manual, completion
	rm -rf $(DESTDIR)$(LIB)
	@mkdir -p $(DESTDIR)$(LIB) $(DESTDIR)$(PREFIX)/bin $(DATA)/man \
		$(DATA)/bash-completion/completions $(DATA)/zsh/site-functions $(DATA)/fish/vendor_completions.d
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PIP) --no-build-isolation --target $(DESTDIR)$(LIB) .
	@if test -d $(DESTDIR)$(LIB)/share/man; then cp -r $(DESTDIR)$(LIB)/share/man/. $(DATA)/man/; fi
	@rm -rf $(DESTDIR)$(LIB)/bin $(DESTDIR)$(LIB)/share
	@printf '%s\n' "#!$$($(PY) -c 'import sys; print(sys._base_executable)')" 'import sys' '' 'sys.path.insert(0, "$(LIB)")' \
		'from mosbox.cli import main' '' 'sys.exit(main())' >$(DESTDIR)$(PREFIX)/bin/mosbox
	@chmod 755 $(DESTDIR)$(PREFIX)/bin/mosbox
	_MOSBOX_COMPLETE=source_bash $(VENV)/bin/mosbox >$(DATA)/bash-completion/completions/mosbox
	_MOSBOX_COMPLETE=source_zsh $(VENV)/bin/mosbox >$(DATA)/zsh/site-functions/_mosbox
	_MOSBOX_COMPLETE=source_fish $(VENV)/bin/mosbox >$(DATA)/fish/vendor_completions.d/mosbox.fish

clean: ## remove what was built
	rm -rf build dist .venv mosbox/_core*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
