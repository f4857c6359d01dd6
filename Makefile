# facteur: GNU make. `make` builds build/release/facteur; BUILD=release|asan|tsan|fault|fuzz chooses another kind, O= another place.
#   make check         unit tests, layers, a smoke run (under 2 minutes)
#   make test-FOLDER   the unit tests of one folder, linked only with the folders above it
#   make analyze       static analysis; make valgrind: memcheck on the whole server
#   make fuzz          every fuzz target, 30 minutes each, resumable; make bench: what the hot paths cost, beside Postfix and Dovecot
#   make torture       a thousand rounds of kills, power cuts and failing disks; goes on where it was stopped; make torture-sending: mail that leaves; make torture-imap, torture-crowd: millions of IMAP commands
#   make clients       Thunderbird, mbsync and offlineimap of Debian: two-way sync against changing mailboxes
#   make load          ten thousand clients, floods, and what grows
# The Makefile finds src/*/*.c by itself. FOLDER/NAME_test.c is a unit test, FOLDER/NAME_fuzz.c a libFuzzer harness.
BUILD ?= release
O     ?= build
OUT   := $(O)/$(BUILD)

CC := gcc
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
        -Wformat=2 -Wimplicit-fallthrough -Wundef -Wno-missing-field-initializers -Wno-unused-parameter
HARD := -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fno-strict-overflow -fno-delete-null-pointer-checks
# -z ibt, shstk: our objects have both; Debian's start-up files do not say so, though they are compatible
LINK := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,-z,ibt,-z,shstk
# Hundreds of test programs: a linker that takes a fifth of the time, where there is one. What is installed is linked by the default one.
LINK_TEST := -pie -Wl,--as-needed $(if $(shell command -v ld.lld),-fuse-ld=lld)
CPP  := -std=c17 -D_GNU_SOURCE -Isrc -I$(OUT)/gen
LIBS := -lssl -lcrypto -lsqlite3 -licuuc -licui18n -licudata -lidn2 -lunbound -lcrypt -lseccomp -ljansson -lz -lpthread

# The sanitizers' kinds have lines for their reports, and no variables: they are compiled a fifth faster so.
RELEASE := -O2 -g -D_FORTIFY_SOURCE=3
ifeq ($(BUILD),release)
  OPT := $(RELEASE)
else ifeq ($(BUILD),fault)
  OPT := -O1 -g -D_FORTIFY_SOURCE=3 -DFACTEUR_FAULT=1
else ifeq ($(BUILD),asan)
  OPT := -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DFACTEUR_FAULT=1 -DFACTEUR_SANITIZER=1
else ifeq ($(BUILD),tsan)
  OPT := -O1 -g1 -fsanitize=thread -fno-omit-frame-pointer -DFACTEUR_SANITIZER=1
else ifeq ($(BUILD),fuzz)
  CC  := clang
  OPT := -O1 -g1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DFACTEUR_SANITIZER=1
  WARN += -Wno-unknown-warning-option -Wno-format-nonliteral
else ifeq ($(BUILD),cov)  # the fuzz targets, counting lines
  CC  := clang
  OPT := -O1 -g -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping -DFACTEUR_SANITIZER=1
  WARN += -Wno-unknown-warning-option -Wno-format-nonliteral
else ifeq ($(BUILD),afl)  # the fuzz targets for AFL++
  CC  := AFL_QUIET=1 afl-clang-fast
  OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DFACTEUR_SANITIZER=1
  WARN += -Wno-unknown-warning-option -Wno-format-nonliteral
else
  $(error BUILD is release, fault, asan, tsan, fuzz, cov or afl)
endif
# V=1 shows the commands
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(2)')
CFLAGS := $(CPP) $(OPT) $(WARN) $(HARD) -MMD -MP

# The folders in the order of src/LAYERS, as far as they exist.
LAYERS  := $(filter $(notdir $(wildcard src/*)),$(shell sed 's/#.*//; s/!.*//' src/LAYERS))
SOURCES := $(filter-out %_test.c %_fuzz.c src/base/test_main.c,$(wildcard $(patsubst %,src/%/*.c,$(LAYERS))))
# Few folders look at FACTEUR_FAULT; the rest of BUILD=fault is what the release is made of.
OWN     := src/%
ifeq ($(BUILD),fault)
  FAULTY := $(shell grep -lE 'if.*FACTEUR_FAULT|"disk/fault.h"' $(filter-out %_test.h,$(SOURCES) $(wildcard src/*/*.h)))
  OWN    := $(addsuffix %,$(sort $(dir $(FAULTY))))
endif
OBJECTS := $(patsubst src/%.c,$(OUT)/%.o,$(filter $(OWN),$(SOURCES))) $(patsubst src/%.c,$(O)/release/%.o,$(filter-out $(OWN),$(SOURCES)))
TESTS   := $(wildcard src/*/*_test.c)
FUZZERS := $(wildcard src/*/*_fuzz.c)

all: $(OUT)/facteur

# base/test.c serves the unit tests only
$(OUT)/facteur: $(filter-out $(OUT)/base/test.o,$(OBJECTS))
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)

$(OUT)/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(call say,cc,$<)
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<
# The files of the tests are not what is tested: nothing is optimised in them.
$(OUT)/%_test.o: src/%_test.c Makefile
	@mkdir -p $(@D)
	$(call say,cc,$<)
	$(Q)$(CC) $(CPP) $(filter-out -O% -g -D_FORTIFY_SOURCE%,$(OPT)) -O0 -g1 $(WARN) -Wno-maybe-uninitialized $(HARD) -MMD -MP -c -o $@ $<

ifeq ($(BUILD),fault)
$(O)/release/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(call say,cc,$<)
	$(Q)$(CC) $(CPP) $(RELEASE) $(WARN) $(HARD) -MMD -MP -c -o $@ $<
endif

# One archive a folder, so that a test links only what stands above it: itself and all listed before it, lowest last (the order the linker wants).
define folder_rules
ABOVE := $(OUT)/lib/$(1).a $$(ABOVE)
archives_$(1) := $$(ABOVE)
$(OUT)/lib/$(1).a: $$(filter $(OUT)/$(1)/% $(O)/release/$(1)/%,$$(OBJECTS))
	@mkdir -p $$(@D); rm -f $$@; ar rcs $$@ $$^
test-$(1): $$(patsubst src/%_test.c,$(OUT)/%_test.ok,$$(filter src/$(1)/%,$$(TESTS)))
.PHONY: test-$(1)
endef
archives = $(archives_$(1))
$(foreach f,$(LAYERS),$(eval $(call folder_rules,$(f))))

.SECONDEXPANSION:
$(OUT)/%_test: $(OUT)/%_test.o $(OUT)/base/test_main.o $$(call archives,$$(firstword $$(subst /, ,$$*)))
	$(Q)$(CC) $(CFLAGS) $(LINK_TEST) -o $@ $^ -lcmocka $(LIBS)
$(OUT)/%_test.ok: $(OUT)/%_test
	$(call say,test,$<)
	$(Q)$< >$@.log 2>&1 || { cat $@.log; exit 1; }; grep -E 'PASSED' $@.log; touch $@
$(OUT)/%_fuzz: $(OUT)/%_fuzz.o $$(call archives,$$(firstword $$(subst /, ,$$*)))
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LINK_TEST) -o $@ $^ $(LIBS)
.PRECIOUS: $(OUT)/%.o $(OUT)/%_test $(OUT)/%_test.o $(OUT)/%_fuzz.o

unit: $(patsubst src/%_test.c,$(OUT)/%_test.ok,$(TESTS))
# tests/fuzz/README.md: make fuzz FUZZ="--help"
fuzz:
	@python3 tests/fuzz/campaign.py $(FUZZ)
fuzz-afl:
	@tools/install fuzz && python3 tests/fuzz/afl.py $(FUZZ)
fuzzers: $(patsubst src/%_fuzz.c,$(OUT)/%_fuzz,$(FUZZERS))
layers:
	tools/layers
# gcc -fanalyzer, clang-tidy, cppcheck; seconds where nothing changed, 20 minutes from nothing. ANALYZE="gcc src/imap/copy.c --json" for less
analyze:
	tools/analyze $(ANALYZE)
# memcheck over 10,000 sessions with the whole server, about half an hour: make valgrind SESSIONS=500 for less
SESSIONS ?= 10000
valgrind: all
	nice -n 19 python3 tests/valgrind.py $(SESSIONS)
.PHONY: analyze valgrind
check: all unit layers
	tools/smoke $(OUT)/facteur
clean:
	rm -rf $(OUT)

# make install [PREFIX=/usr/local] [DESTDIR=]: the program, the systemd unit, completions, documentation. docs/setup.md goes on from there.
PREFIX ?= /usr/local
install: all
	install -D -m 755 $(OUT)/facteur $(DESTDIR)$(PREFIX)/bin/facteur
	sed 's|@PREFIX@|$(PREFIX)|g' dist/facteur.service > $(OUT)/facteur.service
	install -D -m 644 $(OUT)/facteur.service $(DESTDIR)$(PREFIX)/lib/systemd/system/facteur.service
	$(OUT)/facteur completion bash > $(OUT)/completion.bash
	install -D -m 644 $(OUT)/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/facteur
	$(OUT)/facteur completion zsh > $(OUT)/completion.zsh
	install -D -m 644 $(OUT)/completion.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_facteur
	$(OUT)/facteur completion fish > $(OUT)/completion.fish
	install -D -m 644 $(OUT)/completion.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/facteur.fish
	install -d $(DESTDIR)$(PREFIX)/share/doc/facteur
	install -m 644 README.md LICENSE docs/*.md docs/*.svg $(DESTDIR)$(PREFIX)/share/doc/facteur
# The documents that are written from tables
docs: all
	LC_ALL=C $(OUT)/facteur help --markdown commands > docs/commands.md
	LC_ALL=C $(OUT)/facteur help --markdown settings > docs/settings.md
	tools/imap-doc
.PHONY: install docs
# Benchmarks of single layers: make store-bench, then build/release/bench/store_bench
$(OUT)/bench/store_bench: tests/bench/store_bench.c $(call archives,deliver)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $(filter %.c %.a,$^) $(LIBS)
store-bench: $(OUT)/bench/store_bench
$(OUT)/bench/search_bench: tests/bench/search_bench.c $(call archives,imap)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $(filter %.c %.a,$^) $(LIBS) -lm
search-bench: $(OUT)/bench/search_bench
$(OUT)/bench/%_load: tests/bench/%_load.c tests/bench/load.c tests/bench/load.h
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -o $@ $(filter %.c,$^) -lssl -lcrypto -lz -lpthread
$(OUT)/bench/awake $(OUT)/bench/pace: $(OUT)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -o $@ $<
# The whole server beside Debian's Postfix and Dovecot: make bench, or make bench BENCH="smtp imap --rounds 3 --json"
bench: all $(OUT)/bench/smtp_load $(OUT)/bench/mail_load $(OUT)/bench/awake $(OUT)/bench/pace $(OUT)/calls/count_calls.so
	@tools/install bench
	$(Q)python3 tests/bench/bench.py $(BENCH)
# Campaigns of kills, power cuts and failing disks (docs/robustness.md); they go on where they were stopped. `torture` rebuilds the data folder
# from a trace of the disk layer; `torture-disk` (root) has it on a disk of its own whose power is cut below the kernel.
#   make torture [SEED=n] [ROUNDS=1000] [ROUND=n]
TORTURE = nice -n 19 python3 tests/torture/torture.py $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ROUND),--round $(ROUND))
torture:
	$(Q)$(MAKE) --no-print-directory BUILD=fault
	$(TORTURE)
torture-disk:
	@tools/install torture
	$(Q)$(MAKE) --no-print-directory BUILD=fault
	$(Q)$(MAKE) --no-print-directory $(O)/torture/blocklog
	$(TORTURE) --device $(O)/torture/blocklog
# Mail that leaves while net and queue are killed: make torture-sending [MESSAGES=10000] [KILLS=40] [SEED=n] [ROUNDS=1]
torture-sending: all
	nice -n 19 python3 tests/leaving.py --messages $(or $(MESSAGES),10000) --kills $(or $(KILLS),40) --rounds $(or $(ROUNDS),1) $(if $(SEED),--seed $(SEED))
# imap/model_test, with other seeds than ./test: make torture-imap [OPERATIONS=5000000]
torture-imap:
	$(Q)$(MAKE) --no-print-directory $(O)/release/imap/model_test
	$(Q)$(MAKE) --no-print-directory BUILD=asan $(O)/asan/imap/model_test
	nice -n 19 python3 tests/torture/imap.py $(if $(OPERATIONS),--operations $(OPERATIONS))
# imap/crowd_test in the same way: make torture-crowd [OPERATIONS=5000000]
torture-crowd:
	$(Q)$(MAKE) --no-print-directory $(O)/release/imap/crowd_test
	$(Q)$(MAKE) --no-print-directory BUILD=tsan $(O)/tsan/imap/crowd_test
	nice -n 19 python3 tests/torture/imap.py --test crowd $(if $(OPERATIONS),--operations $(OPERATIONS))
$(O)/torture/blocklog: tests/torture/blocklog.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O2 $(WARN) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -o $@ $< $$(pkg-config --cflags --libs fuse3)
.PHONY: store-bench search-bench bench torture torture-disk torture-sending torture-imap torture-crowd
# What tests/work.py puts before a server to count its calls
$(OUT)/calls/count_calls.so: tests/calls/count_calls.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -fPIC -shared -Wall -Wextra -Werror -D_GNU_SOURCE -o $@ $<
call-counter: $(OUT)/calls/count_calls.so
.PHONY: call-counter
# What tests/system/test_dkim.py has messages signed by
$(OUT)/dkim/dkim_sign: tests/dkim/dkim_sign.c $(call archives,mailauth)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $(filter %.c %.a,$^) $(LIBS)
dkim-sign: $(OUT)/dkim/dkim_sign
.PHONY: dkim-sign
# Two-way sync of real programs (docs/robustness.md): make clients [CLIENTS=thunderbird,mbsync,offlineimap] [ROUNDS=50] [SEED=n]
clients: all
	@tools/install clients
	nice -n 19 python3 tests/clients/two_way.py $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))
.PHONY: clients
# What ten thousand clients do to the server: make load, or make load LOAD="park one --json"; takes hours, goes on where it stopped
$(OUT)/load/clients: tests/load/clients.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -o $@ $< -lssl -lcrypto
load: all $(OUT)/load/clients $(OUT)/bench/smtp_load
	nice python3 tests/load/load.py $(LOAD)
.PHONY: load
.PHONY: all unit fuzz fuzz-afl fuzzers layers check clean
-include $(shell find $(OUT) $(if $(filter fault,$(BUILD)),$(O)/release) -name '*.d' 2>/dev/null)
