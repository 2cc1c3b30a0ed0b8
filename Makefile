# Everything a person does with this project has a target here; `make help` lists them.
# A fresh machine needs cargo, python3 and make. What else a step needs, the step installs below build/, or names.

CARGO  ?= cargo
PYTHON ?= python3
export VERSION TARGETS BASE KEY UPLOAD_TO
# Runs every test of the workspace, with cargo-nextest if it is installed. The argument goes to cargo.
define run-tests
if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --workspace $(1) && $(CARGO) test --locked --workspace --doc $(1); \
	else $(CARGO) test --locked --workspace --no-fail-fast $(1); fi
endef
# STATIC=1 packs what ships on Linux, a static executable, instead of the host's own build.
ifdef STATIC
HOST_EXE := build/static/stigmer
else
HOST_EXE = target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/stigmer
endif
# Cargo's profile for the executable: `release` is what ships. The tests pack the one that cargo builds for them anyway.
PROFILE ?= release
test test-rust: PROFILE := dev
TREE     := dist/agent-runner
CARRIER  := dist/stigmer

.PHONY: help build run test check bench man soak cross cross-check test-cross runner host test-tools test-payload test-releases test-rust clean FORCE
.PHONY: advisories doc openapi graph graph-write test-scripts lint-dependencies lint-spelling lint-scripts lint-workflows
.PHONY: build-agent-runner-binary run-agent-runner-binary build-binary upload-binary release-dry formula reproduce
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

build: $(CARRIER) ## Make dist/stigmer (packed) and dist/agent-runner/ (the tree)
	@ls -l $(CARRIER)

runner: ## Build the agent-runner's tree, if its sources changed
	@echo '==> agent-runner: PyInstaller one-folder build'
	$(PYTHON) payloads/agent-runner/build.py --out dist

host: ## Build the bare executable
ifdef STATIC
	@echo '==> stigmer: static release build'
	packaging/static.sh $(HOST_EXE)
else
	@echo '==> stigmer: $(PROFILE) build'
	$(CARGO) $(if $(filter dev,$(PROFILE)),test --workspace --no-run,build --profile $(PROFILE)) --locked
endif

# Packing compresses the whole tree and checks it, so it happens only when one of its two inputs is newer or another one.
$(CARRIER): host runner
	@if [ ! -e $@ ] || [ "$$(cat build/packed-from 2>/dev/null)" != $(HOST_EXE) ] || [ $(HOST_EXE) -nt $@ ] || [ build/agent-runner/built.json -nt $@ ]; then \
		echo '==> pack: the tree into the executable'; \
		$(HOST_EXE) bundle pack --base $(HOST_EXE) --component agent-runner=$(TREE) --out $@ \
		&& echo $(HOST_EXE) > build/packed-from; \
	else echo '==> pack: $@ is up to date'; fi

run: build ## Build what is missing, then start the platform
	@echo '==> $(CARRIER) server'
	$(CARRIER) server
	@echo
	@echo 'It runs. Look:  $(CARRIER) server status'
	@echo '                $(CARRIER) server logs --follow'
	@echo 'Stop it:        $(CARRIER) server stop'

test: build test-tools test-scripts test-payload test-rust ## Run every test, the real payload included

test-tools: ## Check for the packagers' tools that the tests run; install them where that is allowed
	@echo '==> tools: strip, eu-strip, patchelf, strace, minisign, osslsigncode'
	@sh tests/tools.sh

test-payload: runner
	@echo '==> tests of the agent-runner, from source and frozen'
	$(PYTHON) payloads/agent-runner/build.py --out dist --test

test-releases: test-tools
	@echo '==> releases for the tests: three versions of this program, signed with keys made for it'
	sh tests/releases.sh

test-rust: build test-releases
	@echo '==> tests of stigmer, with the small generated payload and with the real one'
	export STIGMER_REAL=$(CURDIR)/$(CARRIER) STIGMER_TEST_RELEASES=$(CURDIR)/build/test-releases \
		STIGMER_SCHEMATHESIS="$$(PYTHON=$(PYTHON) tests/schemathesis/install.sh)"; $(call run-tests)

check: ## Run the lints, build the documentation, check licences and the dependency graph
	@echo '==> lints'
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(PYTHON) payloads/agent-runner/build.py --lint
	@$(MAKE) --no-print-directory graph doc lint-dependencies lint-spelling lint-scripts lint-workflows

openapi: ## Write openapi.json, the description of the server's API, from the types
	UPDATE_OPENAPI=1 $(CARGO) test --locked --quiet --lib api::tests::the_description_is_what_the_types_say
	@git diff --stat -- src/services/server/api/openapi.json

doc: ## Build the documentation of the crates; a warning is an error
	@echo '==> documentation of the crates'
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps

graph: ## Print the dependency graph of the crates and modules; an upward arrow or a circle is an error
	@echo '==> dependency graph'
	@$(PYTHON) packaging/graph.py

graph-write: ## Write the dependency graph into ARCHITECTURE.md
	@$(PYTHON) packaging/graph.py --write

test-scripts: ## Test the scripts that check the sources
	@echo '==> tests of the scripts'
	$(PYTHON) -m unittest discover --start-directory packaging --pattern 'test_*.py'

lint-dependencies: ## Check the licences and sources of the dependencies, without the network
	@echo '==> dependencies'
	tools=$$(sh packaging/tools.sh) && $$tools/cargo-deny --log-level error --locked check bans licenses sources

advisories: ## Check the dependencies against the list of known vulnerabilities (fetches it)
	@echo '==> advisories'
	tools=$$(sh packaging/tools.sh) && $$tools/cargo-deny --locked check advisories

lint-spelling: ## Check the spelling
	@echo '==> spelling'
	tools=$$(sh packaging/tools.sh) && $$tools/typos --format brief

lint-scripts: ## Check the shell scripts
	@echo '==> shell scripts'
	tools=$$(sh packaging/tools.sh) && $$tools/shellcheck install.sh packaging/*.sh tests/*.sh benches/*.sh

lint-workflows: ## Check what GitHub runs: its form, its security, and that every step is a command of ours
	@echo '==> workflows'
	tools=$$(sh packaging/tools.sh) && $$tools/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml \
		&& $$tools/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml \
		&& $$tools/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml \
		&& $$tools/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml \
		&& $$tools/zizmor --quiet --offline --persona pedantic .github && $$tools/python packaging/lint-workflows.py .github/workflows/*.yml

bench: build ## Run the benchmarks against their peers and print them; PUBLISH=1 writes docs/benchmarks.md and its plot
	@echo '==> peers: b3sum, dotslash'
	sh benches/peers.sh
	STIGMER_BENCH_BARE=$(CURDIR)/$(HOST_EXE) $(CARGO) bench --locked --bench figures $(if $(PUBLISH),-- --publish)

cross: ## Build and pack for all five platforms, into dist/cross (docs/developing.md)
	@echo '==> for every platform'
	packaging/cross.sh build
	packaging/cross.sh pack

cross-check: ## Type-check for all five platforms
	packaging/cross.sh check

# 77: all that could be run has passed, and something could not be run; the script has said what.
test-cross: ## Test what `make cross` made: signatures, Windows under Wine, arm64 under qemu
	@sh tests/cross.sh || [ $$? = 77 ]

build-agent-runner-binary: runner ## The same as runner

run-agent-runner-binary: runner ## Run the agent-runner that was built, by itself: ARGS=--self-check if not given
	$(TREE)/agent-runner $(or $(ARGS),--self-check)

build-binary: ## Build the agent-runner for PLATFORM and ARCH (linux, darwin, windows; amd64, arm64), which must be those of this machine
	@packaging/own-platform.sh "$(PLATFORM)" "$(ARCH)"
	@$(MAKE) --no-print-directory runner

upload-binary: runner host ## Publish the agent-runner as VERSION=dev-test, signed with KEY=FILE, at UPLOAD_TO=https://… or s3://…
	STIGMER=$(HOST_EXE) TREE=$(TREE) packaging/upload-binary.sh

release-dry: test-tools ## A whole release with a key that is thrown away, checked from 127.0.0.1: VERSION=1.2.3, and TARGETS="linux-amd64 …" for some of them
	packaging/release.sh dry

formula: ## Write formula/stigmer.rb from what is published: VERSION=1.2.3, BASE=https://…
	packaging/release.sh formula

reproduce: ## Build twice in two places and compare: PLATFORM=linux-amd64
	packaging/reproduce.sh $(PLATFORM)

man: host ## Write the man pages to build/man
	$(HOST_EXE) man-pages build/man
	@ls build/man

soak: build test-tools ## Run the long hunts: every kill point, every full disk, many rounds of every race
	export STIGMER_SOAK=1 NEXTEST_PROFILE=soak STIGMER_REAL=$(CURDIR)/$(CARRIER); $(call run-tests,--release)

clean: ## Remove everything that was built
	rm -rf target dist build
