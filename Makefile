# make check: everything that is checked. make test: what needs no other program.

TOOLS := target/tools
VENV := $(TOOLS)/venv
LOAD := $(TOOLS)/load
export CARGO_TERM_COLOR ?= never

.PHONY: check test format lint doc queries dotenv licenses advisories sbom targets fuzz fuzz-lock faults \
	reliability mutants browser interop schema picture bench load soak tools

check: format lint doc queries licenses dotenv targets test faults interop browser schema

test:
	cargo test

format:
	cargo fmt --check

lint:
	cargo clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

# .sqlx is what the queries and the migrations say.
queries:
	mkdir -p target/queries && rm -f target/queries/check.db*
	DATABASE_URL=sqlite://$(CURDIR)/target/queries/check.db sqlx database create
	DATABASE_URL=sqlite://$(CURDIR)/target/queries/check.db sqlx migrate run
	DATABASE_URL=sqlite://$(CURDIR)/target/queries/check.db SQLX_OFFLINE=false cargo sqlx prepare --check

# A copied .env must not reach the build: sqlx's macros look for one.
dotenv:
	test ! -e .env || { echo 'move your .env away for this'; exit 1; }
	cp .env.example .env && touch src/lib.rs && cargo check --locked; status=$$?; rm .env; exit $$status

licenses: fuzz-lock
	cargo deny --locked check licenses bans sources
	cargo deny --manifest-path fuzz/Cargo.toml check licenses bans sources

# By hand: it fetches a database from GitHub.
advisories:
	cargo deny --locked check advisories

# What the program is made of, on all systems that it is built for, without what only tests need.
sbom: $(TOOLS)/bin/cargo-cyclonedx
	cargo metadata --locked --format-version 1 >/dev/null
	$(TOOLS)/bin/cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --target all
	mkdir -p target/sbom
	sed 's|path+file://[^"#]*#|pkg:cargo/|g' hallpass_bin.cdx.json >target/sbom/hallpass.cdx.json
	rm hallpass_bin.cdx.json

$(TOOLS)/bin/cargo-cyclonedx:
	cargo install --quiet cargo-cyclonedx@0.5.9 --locked --root $(TOOLS)

# That the fuzz targets still compile: a workspace of its own, which needs a C++ compiler.
targets: fuzz-lock
	cargo check --manifest-path fuzz/Cargo.toml --target-dir target/fuzz

# Fuzzed is what is shipped: cargo leaves what our lock file says and adds what only fuzzing needs.
fuzz-lock:
	cp Cargo.lock fuzz/Cargo.lock

# Each target for SECONDS, with cargo-fuzz and a nightly compiler.
SECONDS ?= 60
fuzz: fuzz-lock
	mkdir -p $(addprefix fuzz/corpus/,$(notdir $(wildcard fuzz/seeds/*)))
	for target in $(notdir $(wildcard fuzz/seeds/*)); do \
	    cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	        -max_total_time=$(SECONDS) -max_len=4096 -rss_limit_mb=4096 || exit; \
	done

browser:
	cargo test --locked --test browser -- --ignored

interop: tools
	cargo build --locked --example axum
	cargo test --locked --test interop -- --include-ignored
	cargo test --locked --test process -- --ignored
	cargo test --locked --test mail -- --ignored

# The document against the server: every answer has a status, a type and a body that the document names.
# EXAMPLES=1000 SEED=2 tries longer, and other things.
schema: tools
	tests/schema/run $(VENV)/bin/schemathesis

# SIGKILL, torn logs, system calls that fail, clocks that jump: the short form. ROUNDS=200 makes it longer.
faults:
	@test "$$(id -u)" = 0 || { echo 'run this as root: the server cannot be traced by its own user'; exit 1; }
	@command -v strace >/dev/null && ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || \
	    { echo 'strace or libfaketime is missing; on Debian: apt-get install strace libfaketime'; exit 1; }
	$(if $(ROUNDS),HALLPASS_ROUNDS=$(ROUNDS)) cargo test --locked --test faults -- --include-ignored --nocapture

# The long form, by hand, of the optimised build: about five hours.
reliability:
	HALLPASS_ROUNDS=1000 cargo test --release --locked --test faults -- --include-ignored --nocapture --test-threads=1
	HALLPASS_ROUNDS=1000000 cargo test --release --locked --test api mutations -- --nocapture
	PROPTEST_CASES=5000 cargo test --release --locked --test api properties
	cargo test --release --locked --test process a_thousand_slow -- --include-ignored --nocapture
	$(MAKE) schema EXAMPLES=400
	$(MAKE) soak

# Breaks the rules of src/auth in a thousand ways, one after the other, and looks whether a test fails: most of a day.
# SHARD=0/16 does a sixteenth.
mutants:
	@command -v cargo-mutants >/dev/null || cargo install --quiet cargo-mutants@27.1.0 --locked
	cargo mutants --baseline skip --timeout 300 --sharding round-robin $(if $(SHARD),--shard $(SHARD)) -o target

picture:
	HALLPASS_PICTURE=$(CURDIR)/docs/swagger-ui.png cargo test --test browser -- --ignored

bench:
	cargo bench --bench parts

# The binary is built alone, as it is released: the bare servers come with features of tokio that it has not.
# LOAD_ARGS='--quick --only requests' measures a part, and roughly.
load: $(LOAD)/done
	@command -v wrk >/dev/null || { echo 'wrk is missing; on Debian: apt-get install wrk'; exit 1; }
	cargo build --release --locked --bin hallpass
	cargo build --release --locked --example bare
	$(LOAD)/bin/python benches/load/run.py $(LOAD_ARGS)

# Two hours of everything, and what the process has grown by.
MINUTES ?= 120
soak:
	HALLPASS_MINUTES=$(MINUTES) cargo test --release --locked --test process soak -- --ignored --nocapture

$(LOAD)/done: benches/load/requirements.txt
	python3 -m venv $(LOAD)
	$(LOAD)/bin/pip install --quiet --disable-pip-version-check -r benches/load/requirements.txt
	touch $@

tools: $(TOOLS)/done

$(TOOLS)/done: examples/fastapi/requirements.txt examples/express/package.json tests/schema/requirements.txt tests/mail/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r examples/fastapi/requirements.txt -r tests/schema/requirements.txt -r tests/mail/requirements.txt
	npm install --prefix examples/express --no-package-lock --no-audit --no-fund --loglevel error
	touch $@
