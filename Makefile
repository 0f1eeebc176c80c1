PYTHON ?= .venv/bin/python

.PHONY: demo test deep check docs notebooks bench parity

demo:
	$(PYTHON) docs/examples/drill.py

test:
	$(PYTHON) -m pytest -q -n 4 --dist worksteal

deep:
	HYPOTHESIS_PROFILE=deep $(PYTHON) -m pytest -q -n 2 --dist worksteal

check:
	bash .ci/run

docs:
	$(PYTHON) -m sphinx -W --keep-going -b html docs docs/_build/html

notebooks:
	$(PYTHON) -m jupyter execute notebooks/*.ipynb

bench:
	$(PYTHON) -m tests.benchmarks $(if $(ROWS),--rows $(ROWS))

# The real nginx, HAProxy, Envoy and caddy against balancers.interop; PARITY="--seed 7" repeats.
parity:
	PYTHON=$(PYTHON) bash tests/parity/live/install.sh
	$(PYTHON) -m tests.parity.live $(PARITY)
