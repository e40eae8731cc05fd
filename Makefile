# `make help` says what each does. Everything is installed into .venv, everything runs from there.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test soak lint fmt lock bench bench-peers clean

# The first Python here that is new enough; PY=… chooses another.
PYTHONS := python3.11 python3 python3.12 python3.13 python3.14
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
VENV := .venv/bin
TESTS ?= tests
# Processes that share the tests, each with servers of its own; 0: the process itself. A third of their time is waiting.
WORKERS ?= 3

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# What is installed checks itself in a twentieth of a second; looking for a Python takes longer.
define install
@p="$(PY)"; \
if [ -z "$$p" ] && .venv/bin/python -c '$(NEW_ENOUGH)' 2>/dev/null; then p=.venv/bin/python; fi; \
if [ -z "$$p" ]; then for name in $(PYTHONS); do \
  if "$$name" -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then p=$$name; break; fi; done; fi; \
if [ -z "$$p" ] && ! command -v python3 >/dev/null; then \
  echo "opsconsole needs Python 3.11 or newer; there is no python3." >&2; exit 1; fi; \
exec "$${p:-python3}" -m opsconsole.install $(1)
endef

setup: ## Only install what running needs
	$(call install,requirements.txt)

setup-dev:
	$(call install,requirements-dev.txt)

run: setup ## Run the whole console here; PORT=8000 and DATA_DIR=.data can be set
	@exec $(VENV)/python manage.py up

# Every process that a test starts would compile everything again: a third of what its start costs.
test soak: export PYTHONDONTWRITEBYTECODE :=

# Following every line takes a quarter to a half as much processor time again: .ci/run asks for it, with PYTEST_ARGS.
test: setup-dev ## Run every test on servers of its own; TESTS=path for some, WORKERS=1 for fewer processes
	$(VENV)/python -m pytest $(TESTS) -n $(WORKERS) $(PYTEST_ARGS)

# The model's examples are many: SOAK_MODEL=2000 makes fewer of them. Most of the rest waits: three share two cores.
soak: WORKERS := 3
soak: setup-dev ## Run the faults in full counts, for about an hour; TESTS=path for some
	$(VENV)/python -m pytest $(TESTS) -n $(WORKERS) --soak $(PYTEST_ARGS)

lint: setup-dev ## Check style, types, arrows between modules, templates, migrations and deployment
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	SECRET_KEY=lint $(VENV)/mypy .
	$(VENV)/lint-imports
	@if [ -d templates ]; then $(VENV)/djlint templates --lint --check --quiet; fi
	DATA_DIR=$$(mktemp -d) sh -c '$(VENV)/python manage.py makemigrations --check --dry-run; code=$$?; rm -rf "$$DATA_DIR"; exit $$code'
	OPSCONSOLE_PRODUCTION=1 SECRET_KEY=$$($(VENV)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
		ALLOWED_HOSTS=console.example.com DATABASE_URL=postgresql://console@db/opsconsole REDIS_URL=redis://valkey:6379/0 \
		$(VENV)/python manage.py check --deploy --fail-level WARNING

fmt: setup-dev ## Format the code and the templates
	$(VENV)/ruff check --fix --exit-zero .
	$(VENV)/ruff format .
	@if [ -d templates ]; then $(VENV)/djlint templates --reformat --quiet; fi

LOCK := $(VENV)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml
lock: setup-dev ## Pin the packages again from pyproject.toml
	$(LOCK) -o requirements-server.txt
	$(LOCK) --group embedded -o requirements.txt
	$(LOCK) --group dev -o requirements-dev.txt

bench: setup-dev ## Measure everything on servers of its own; BENCH="steps push --rounds 5" for some
	@$(VENV)/python manage.py bench --json $(BENCH)

# In a .venv of their own: nothing of these packages is ours.
bench-peers: setup-dev ## Measure LangGraph and DBOS beside ours, and profile a step
	@test -x .venv-peers/bin/python || $(VENV)/uv venv --quiet --python $(VENV)/python .venv-peers
	@$(VENV)/uv pip install --quiet --python .venv-peers/bin/python --require-hashes -r requirements-peers.txt
	@$(VENV)/python manage.py bench peers profile --json $(BENCH)

clean: ## Remove .venv and caches; .data stays
	rm -rf .venv .venv-peers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
