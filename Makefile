# Needs make and Python 3.11 to 3.13, nothing else; every target sets up what it uses.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
ARGS ?=
# Packages of other programs have no place here.
unexport PYTHONHOME PYTHONPATH

.PHONY: run sweep encode neighbors runs reports codes serve deploy image passwords up down logs docker-worker test unit-tests test-processors test-e2e crash faults soak bench bench-scale fuzz lint lock schema clean
.DEFAULT_GOAL := run

run: .venv/installed-cpu  ## retrain both models on Fashion-MNIST; flags in ARGS="--quick"
	.venv/bin/python -m flows.retrain $(ARGS)

sweep encode neighbors: .venv/installed-cpu  ## the other flows; flags in ARGS=--help
	.venv/bin/python -m flows.$@ $(ARGS)

runs reports codes: .venv/installed-cpu  ## list and publish runs, render reports, show codes; ARGS=--help
	.venv/bin/python -m tasks.$@ $(ARGS)

serve: .venv/installed-cpu  ## a Prefect server, a worker and the deployments, on this machine alone
	.venv/bin/python -m flows.server.serve $(ARGS)

deploy: .venv/installed-cpu  ## register everything on the server that PREFECT_API_URL names
	.venv/bin/python -m flows.server.deploy $(ARGS)

DEVICE ?= cpu
DOCKER ?= docker
COMPOSE ?= $(DOCKER) compose
STACK ?= autoencoder-flow
PASSWORDS ?= docker/.env
DATA ?= $(CURDIR)/docker/data
# No container may have more cores than the engine: it refuses to start one. An engine that is off says 1.
CORES = $(lastword $(shell $(DOCKER) info --format '{{if lt .NCPU 2}}1{{else}}2{{end}}' 2>/dev/null || echo 2))
IN_STACK = STACK=$(STACK) DATA="$(DATA)" DEVICE=$(DEVICE) CORES=$(CORES) CPUS=$${CPUS:-$(CORES)} $(COMPOSE) --project-name $(STACK) \
	--env-file "$(PASSWORDS)" \
	--file docker/compose.yaml $(if $(filter gpu,$(DEVICE)),--file docker/compose.gpu.yaml)

image:  ## the container image autoencoder-flow:cpu; DEVICE=gpu makes the other one
	DOCKER_BUILDKIT=1 $(DOCKER) build --file docker/Dockerfile --target $(DEVICE) \
		--tag $(STACK):$(DEVICE) $(ORIGIN) $(BUILD_ARGS) .

# The same commit gives the same labels, whenever the image is built. A remote's address may have a password.
ORIGIN = --build-arg VERSION=$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
	--build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null) \
	--build-arg CREATED=$(shell TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null) \
	--build-arg SOURCE=$(shell git remote get-url origin 2>/dev/null | sed 's,//[^/@]*@,//,')
BUILD_ARGS ?=

up: image passwords  ## server, database and worker in containers (docker/README.md)
	mkdir -p "$(DATA)"
	$(IN_STACK) up --detach $(ARGS)

down: passwords  ## stop them; what they stored stays
	$(IN_STACK) down $(ARGS)

logs: passwords  ## what they say
	$(IN_STACK) logs --follow $(ARGS)

# The server is reached on loopback, and the engine by itself: no proxy has a part in it.
docker-worker: .venv-docker/installed-docker passwords  ## on the host: each run in a container of its own
	$(IN_STACK) exec -T worker python -m flows.server.deploy --on docker
	set -a && . "$$(cd "$$(dirname "$(PASSWORDS)")" && pwd)/$$(basename "$(PASSWORDS)")" && PREFECT_API_URL=http://127.0.0.1:$${PORT:-4200}/api \
		NO_PROXY='*' no_proxy='*' \
		exec .venv-docker/bin/python -m prefect worker start --pool autoencoders-docker --type docker

# Nobody else can read the passwords, and no command has them among its arguments.
passwords:
	@test -e "$(PASSWORDS)" || { umask 077 && $(PYTHON) -c "import secrets; \
		print('PREFECT_API_AUTH_STRING=admin:' + secrets.token_urlsafe(24)); \
		print('POSTGRES_PASSWORD=' + secrets.token_urlsafe(24))" > "$(PASSWORDS).new" \
		&& mv "$(PASSWORDS).new" "$(PASSWORDS)"; }

# Side by side: the type check uses one core. Tests call make, which must not take part in this.
test: .venv/installed-dev  ## lint, type check, unit tests; on up to four cores
	$(MAKE) --jobs=2 lint unit-tests

unit-tests: .venv/installed-dev
	MAKEFLAGS= .venv/bin/python -m pytest -n auto $(ARGS)

lint: .venv/installed-dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# XLA held to one step below what this processor has; its bits then differ in the last digits.
LESSER_ISA = $(shell grep -q avx512f /proc/cpuinfo && echo AVX2 || { grep -q avx2 /proc/cpuinfo && echo AVX || echo SSE4_2; })

test-processors: .venv/installed-dev  ## unit tests as on a lesser processor with a single core
	AUTOENCODER_XLA_FLAGS=--xla_cpu_max_isa=$(LESSER_ISA) taskset --cpu-list 0 .venv/bin/python -m pytest $(ARGS)

# In three processes, as a third of the time these tests wait.
test-e2e: .venv-e2e/installed-e2e  ## readers that are not ours, full disks; needs root
	tests/end_to_end/install
	.venv-e2e/bin/python -m pytest tests/end_to_end -n 3 --durations 25 $(ARGS)

bench: .venv-bench/installed-bench  ## compare training speeds and time the whole job; some 12 minutes, 3 GB to install
	.venv-bench/bin/python -m tests.benchmarks.training
	.venv-bench/bin/python -m tests.benchmarks.encoding
	.venv-bench/bin/python -m tests.benchmarks.job

bench-scale: .venv/installed-dev  ## time and memory from 10,000 to a million images; some 10 minutes
	.venv/bin/python -m tests.benchmarks.scaling

fuzz: .venv/installed-dev  ## read 10,000 damaged files of each format; some 10 minutes
	.venv/bin/python -m tests.fuzz $(ARGS)

crash: .venv/installed-dev  ## kill the flow a hundred times, besiege its results; some 40 minutes
	.venv/bin/python -m tests.crash.folder_model
	.venv/bin/python -m tests.crash.harness $(ARGS)
	.venv/bin/python -m tests.crash.readers

faults: .venv/installed-dev  ## let writes fail one after the other, 300 times (needs strace); some 40 minutes
	.venv/bin/python -m tests.faults $(ARGS)

soak: .venv-e2e/installed-e2e  ## let servers, databases and runs go away as long as they do; needs root; some 65 minutes
	tests/end_to_end/install
	.venv-e2e/bin/python -m tests.soak $(ARGS)

# Each of these environments has a file `installed-<lock>` once all of that lock is in it.
INSTALL = @test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: none was found" >&2; exit 1; }; \
	$(PYTHON) requirements/install.py

.venv/installed-%: requirements/%.txt
	$(INSTALL) .venv $*

.venv-bench/installed-bench: requirements/bench.txt
	$(INSTALL) .venv-bench bench

.venv-docker/installed-docker: requirements/docker.txt
	$(INSTALL) .venv-docker docker

.venv-e2e/installed-e2e: requirements/e2e.txt
	$(INSTALL) .venv-e2e e2e

UV_COMPILE_IN = uv pip compile --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --quiet
UV_COMPILE = $(UV_COMPILE_IN) pyproject.toml

lock:  ## resolve the dependencies anew (needs uv)
	$(UV_COMPILE) --extra job --extra stores --extra cpu -o requirements/cpu.txt
	$(UV_COMPILE) --extra job --extra stores --extra gpu -c requirements/cpu.txt -o requirements/gpu.txt
	$(UV_COMPILE) --extra job --extra stores --extra cpu --group dev -c requirements/cpu.txt -o requirements/dev.txt
	$(UV_COMPILE) --extra job --extra stores --extra cpu --group e2e -c requirements/cpu.txt -o requirements/e2e.txt
	$(UV_COMPILE) requirements/bench.in --extra job --extra stores --extra cpu -c requirements/cpu.txt -o requirements/bench.txt
	$(UV_COMPILE_IN) requirements/docker.in -c requirements/cpu.txt -o requirements/docker.txt
	$(UV_COMPILE_IN) requirements/sbom.in -o requirements/sbom.txt

schema: .venv/installed-dev  ## write the manifest's JSON Schema anew
	.venv/bin/python -c "from tasks.runs.manifest import manifest_schema; print(manifest_schema(), end='')" \
		> artifacts/manifest.schema.json

clean:  ## remove what was installed here
	rm -rf .venv .venv-bench .venv-docker .venv-e2e .venv*.lock tests/end_to_end/node_modules
