# The two commands that matter: `make demo` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help venv up down reset status demo test test-helm test-kubelet images compose-secrets chaos chaos-relay chaos-broken fuzz audit lint format proto bench overload explain-listing clean
BIN := .venv/bin

help: ## What can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 20

venv: ## .venv with every package of the lock and of this repository
	@scripts/venv.sh

up: venv ## Start Postgres, Redis, Kafka and every service; harmless to repeat. TLS=1: with TLS, TLS=0: without
	@$(BIN)/trackops up $(if $(TLS),$(if $(filter 0,$(TLS)),--no-tls,--tls))

down: venv ## Stop all of it, keep the data
	@$(BIN)/trackops down

reset: venv ## Stop all of it, remove the data
	@$(BIN)/trackops reset

status: venv ## Which processes run, and whether they answer
	@$(BIN)/trackops status

demo: venv ## 200 orders through every service, checked; `make up` if needed
	@$(BIN)/trackops demo

test: lint ## Lint, then every test, on servers of its own; WORKERS=2: in two processes
	$(BIN)/python -m pytest -n $(or $(WORKERS),0) --no-loadscope-reorder

chaos: venv ## Five minutes of load and faults on the whole mesh, judged; CHAOS_MINUTES=n CHAOS_SEED=n CHAOS_RATE=n CHAOS_GAP=n
	@CHAOS_MINUTES=$(CHAOS_MINUTES) CHAOS_SEED=$(CHAOS_SEED) CHAOS_RATE=$(CHAOS_RATE) CHAOS_GAP=$(CHAOS_GAP) $(BIN)/python -m tests.chaos.mesh

chaos-broken: venv ## The same on meshes with one mechanism taken out each, which the judge must notice
	@$(BIN)/python -m tests.chaos.mesh.broken

chaos-relay: venv ## 20 rounds of faults on the relay, 5,000 events/s through replicas that come and go
	TRACKOPS_CHAOS_ROUNDS=20 TRACKOPS_CHAOS_RATE=5000 $(BIN)/python -m pytest -s tests/chaos/test_relay_rounds.py

fuzz: venv ## 50,000 damaged requests to every RPC, directly and through the edge; FUZZ_CALLS=n FUZZ_SEED=n
	FUZZ_CALLS=$(or $(FUZZ_CALLS),50000) $(BIN)/python -m pytest -s tests/hostile/test_fuzz.py

audit: venv ## Known vulnerabilities of the locked packages; fails where nobody answers, other than in `make lint`
	@scripts/audit.sh

images: ## An image of each service and of the edge; BUILD, BASE, REGISTRY and TAG as in scripts/images.sh
	@scripts/images.sh

compose-secrets: venv ## What compose.yaml reads as secrets, into .compose; harmless to repeat
	@$(BIN)/python scripts/compose_secrets.py

test-helm: venv ## Install, upgrade, test, roll back and remove the chart on the cluster of KUBECONFIG
	$(BIN)/python -m pytest -s helm/tests

test-kubelet: venv ## The services' images on a real kubelet, to a CONFIRMED order; K8S_UP as in scripts/test_kubelet.sh
	@scripts/test_kubelet.sh

lint: venv ## ruff, mypy, import-linter, buf, stale stubs, known vulnerabilities
	@scripts/lint.sh

format: venv ## Rewrite Python and protos in the house's form
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet . ; $(BIN)/buf format -w protos

proto: venv ## Regenerate libs/stubs and the edge's OpenAPI document from protos
	$(BIN)/python scripts/proto.py
	$(BIN)/python scripts/openapi.py

bench: venv ## Measure, half an hour; writes docs/benchmarks.md; BENCH_PARTS=orders,confirmed,sagas,relay,size,idle for some
	@$(BIN)/python -m bench

overload: venv ## Five times the orders that the mesh can take, for a minute: goodput, refusals, recovery, nothing lost
	@$(BIN)/python -m bench.overload

explain-listing: venv ## Plans of ListOrders among a million orders; PLANS=--plans shows them whole
	@$(BIN)/python -m bench.listing $(PLANS)

clean: reset ## Remove everything that was made
	rm -rf .venv .build .trackops
