PYTHON ?= .venv/bin/python

.PHONY: demo test check docs notebooks bench parity

demo:
	$(PYTHON) docs/examples/drill.py

test:
	$(PYTHON) -m pytest -q

check:
	bash .ci/run

docs:
	$(PYTHON) -m sphinx -W --keep-going -b html docs docs/_build/html

notebooks:
	$(PYTHON) -m jupyter execute notebooks/*.ipynb

bench:
	$(PYTHON) -m tests.benchmarks

# The real nginx, HAProxy, Envoy and caddy against balancers.interop; PARITY="--seed 7" repeats.
parity:
	PYTHON=$(PYTHON) bash tests/parity/live/install.sh
	$(PYTHON) -m tests.parity.live $(PARITY)
