PYTHON ?= .venv/bin/python
PACKAGE ?= gates
SECONDS ?= 20
OPERATIONS ?= 10000000
DEPTH ?= 5
DIR ?= tests/vectors

.PHONY: help demo drills package test types deep check docs dist notebooks bench steady figures fuzz parity \
  laws durations explain recording mutants mutation coverage soak threads modelcheck other-libraries command-line \
  validation simulated-memory pair-outage layers subsetting heartbeats vrrp-model replay scenarios

# Durations are for two cores.  The environment: python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'
help: ## list the targets (default)
	@sed -nE 's/^([a-z-]+):.*## /  make \1 \t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

demo: ## run the drill: a real proxy with real backends that fail; 10 s
	$(PYTHON) docs/examples/drill.py

pair-outage: ## kill and freeze one of two balancers behind one address under load, as root; 30 s
	$(PYTHON) docs/examples/pair.py

layers: ## kill L4 edges and L7 proxies under connections that are held, as root; 15 s
	$(PYTHON) docs/examples/layers.py

drills: ## run the drills while every core is busy: 20 honest ones pass, sabotaged ones fail; 8 min
	$(PYTHON) -m tests.system.drills

package: ## check one package, for example PACKAGE=gates: lint, types and its tests; 5 to 50 s
	$(PYTHON) -m ruff check balancers/$(PACKAGE) $(wildcard tests/$(PACKAGE))
	$(PYTHON) -m mypy balancers/$(PACKAGE)
	$(PYTHON) -m pytest -q $(wildcard tests/$(PACKAGE)) balancers/$(PACKAGE)

test: ## run all tests in the quick profile; about 10 min
	$(PYTHON) -m pytest -q -n 4 --dist worksteal

types: ## check all types, and those of every Python block of README.md and docs/; 2 min
	$(PYTHON) -m mypy
	$(PYTHON) -m pyright --pythonpath $(PYTHON)
	$(PYTHON) -m tests.typing.complete
	$(PYTHON) -m tests.typing.pages

deep: ## run all tests in the deep profile; about 20 min
	HYPOTHESIS_PROFILE=deep $(PYTHON) -m pytest -q -n 2 --dist worksteal

check: ## run everything that CI runs, and print the duration of each step; 35 to 40 min
	bash .ci/run

docs: ## build the documentation in docs/_build/html; about 1 min
	$(PYTHON) -m sphinx -W --keep-going -b html docs docs/_build/html

dist: ## build the wheel and the sdist in dist/, and check both; 2 to 3 min
	PYTHON=$(PYTHON) bash .ci/dist balancers 'tests/test_*.py'

notebooks: ## execute the notebooks, and write their outputs; 1 min
	$(PYTHON) docs/execute_notebooks.py

bench: ## run the benchmarks, or those with ROWS="text" in their name; up to 20 min
	$(PYTHON) -m tests.benchmarks $(if $(ROWS),--rows "$(ROWS)")

simulated-memory: ## simulate 10^8 requests, and compare the peak of memory with 100 MB; 15 to 60 s
	$(PYTHON) -m tests.benchmarks.simulated_memory

steady: ## measure BoundedLoad in steady traffic, and compare with its documented figures; 25 s
	$(PYTHON) -m tests.hashing.steady

figures: ## measure the figures of the pages that no other command prints; 20 s
	$(PYTHON) -m tests.figures

subsetting: ## measure how even subsets are and what changes replace, beside theory; 20 s
	$(PYTHON) -m tests.subsetting.figures

scenarios: ## simulate traffic that needs load-aware balancing, beside its bars, or one with NAME=ties; TRACES=folder of recorded prompts; 3 to 5 min
	TRACES=$(TRACES) $(PYTHON) -m tests.scenarios $(NAME)

heartbeats: ## compare failure detectors on the same heartbeats, and compare with docs/redundancy.md; 1 s
	$(PYTHON) -m tests.redundancy.heartbeats

validation: ## simulate every cell of docs/validation.md, compare with theory, and write the page; 5 min
	$(PYTHON) -m tests.validation

fuzz: ## fuzz every parser for SECONDS each, for example SECONDS=600; 3 min for 20 s
	$(PYTHON) -m tests.fuzz --seconds $(SECONDS)

laws: ## write docs/laws.md from the docstrings of the laws; 1 s
	$(PYTHON) docs/law_page.py

command-line: ## write the outputs in docs/command_line.md; 20 s
	$(PYTHON) -m tests.command_line.page

durations: ## measure how long the laws of each balancer take; 3 min
	$(PYTHON) -m tests.laws.durations

explain: ## measure what it costs to explain a request, for every balancer; 30 s
	$(PYTHON) -m tests.pool.explain_cost

recording: ## measure what recording a request costs, in time and in bytes; 10 s
	$(PYTHON) -m tests.testing.recording_cost

mutants: ## measure how well each law detects the wrong balancers, gates and loads named for it; 5 min
	$(PYTHON) -m tests.laws.shares

mutation: ## mutate the core, or one package with PKG=pool; it continues where it stopped; about 5 h in all
	$(PYTHON) -m tests.mutation $(PKG)

coverage: ## run all tests, and measure which lines and branches of the package run; about 15 min
	$(PYTHON) -m tests.branches

soak: ## run sites for OPERATIONS random operations, and compute every invariant again; about 10 min
	$(PYTHON) -m tests.soak --operations $(OPERATIONS)

threads: ## cancel a million leases of 16 threads, and 10 000 tasks per balancer, at random; 4 min
	$(PYTHON) -m tests.soak.threads
	$(PYTHON) -m tests.soak.tasks

modelcheck: ## compare a pool with a model after every sequence of DEPTH operations; 1 min for 5, over 1 h for 7
	$(PYTHON) -m tests.model --depth $(DEPTH)

vrrp-model: ## search every ordering of faults of VRRP routers, and do a million seeded runs; about 20 min
	$(PYTHON) -m tests.redundancy.model

other-libraries: ## test the balancers of other libraries, and write docs/other_libraries.md; 3 min
	$(PYTHON) -m tests.other_libraries

replay: ## replay the recordings of real programs in DIR=folder, and print the totals of each kind; 5 s
	$(PYTHON) tests/parity/replay.py $(DIR)

parity: ## compare with the real nginx, HAProxy, Envoy and caddy; PARITY="--seed 7" repeats a run; about 3 min
	PYTHON=$(PYTHON) bash tests/parity/live/install.sh
	$(PYTHON) -m tests.parity.live $(PARITY)
	$(PYTHON) -m tests.parity.live.proxy_protocol
