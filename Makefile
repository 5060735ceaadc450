# Plain GNU make. `make help` lists what there is.

B        := build
PREFIX   ?= /usr/local
DIR      ?=
CFLAGS   ?= -O2
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wvla -pedantic
DIALECT  := -std=c99
LIBS     := -lm -lpthread

SOURCES  := $(wildcard tools/*.c) vtag_impl.c
OBJECTS  := $(patsubst %.c,$(B)/%.o,$(notdir $(SOURCES)))
VPATH    := tools

.PHONY: all demo test soak test-browser check-% bench bench-quick lint cover install uninstall clean help
.DELETE_ON_ERROR:

all: $(B)/vtag  ## build the command line, build/vtag (default)

$(B)/vtag: $(OBJECTS)
	$(CC) $(LDFLAGS) -o $@ $(OBJECTS) $(LIBS)

$(B)/%.o: %.c Makefile | $(B)
	$(CC) $(DIALECT) $(CFLAGS) $(WARNINGS) -MMD -MP -c -o $@ $<

$(B):
	mkdir -p $@

-include $(OBJECTS:.o=.d)

demo: all  ## migrate a small store from one model to the next; DIR=folder reads that one
	sh tools/demo.sh $(B)/vtag "$(DIR)"

test: all  ## run every test
	CC='$(CC)' sh test/run.sh $(B)/vtag

soak: all  ## the big counts of the crash and process tests: five hours on two cores
	STATES=$${STATES:-20000000} KILLS=$${KILLS:-100000} DEVICE_STATES=$${DEVICE_STATES:-3000} \
	SHUTDOWNS=$${SHUTDOWNS:-1000} RACES=$${RACES:-1000000} ROUNDS=$${ROUNDS:-20000} \
	SECONDS_EACH=$${SECONDS_EACH:-7200} CC='$(CC)' \
	sh test/run.sh $(B)/vtag stress crash kill device threads process recover fault

check-%: all  ## run one test: check-NAME runs test/test_NAME
	CC='$(CC)' sh test/run.sh $(B)/vtag $*

test-browser: all  ## the page of report in headless Chromium, which root gets from Debian
	@if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium nodejs; fi
	OUT='$(B)/browser' sh test/test_browser.sh $(B)/vtag

bench: all  ## measure beside the peers, which root gets from Debian and npm; writes bench/RESULTS.md
	sh bench/bench.sh full $(B)

bench-quick: all  ## the 100k x 768 part of it, in two minutes
	sh bench/bench.sh quick $(B)

lint:  ## check the rules of the code, and that it compiles without a warning
	sh test/lint.sh

cover:  ## coverage of vtag.h by the tests against the list of what cannot be covered (clang-19)
	sh test/cover.sh

install: all  ## install vtag and vtag.h below PREFIX (/usr/local)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/include'
	install -m 755 $(B)/vtag '$(DESTDIR)$(PREFIX)/bin/vtag'
	install -m 644 vtag.h '$(DESTDIR)$(PREFIX)/include/vtag.h'

uninstall:  ## remove what install put there
	rm -f '$(DESTDIR)$(PREFIX)/bin/vtag' '$(DESTDIR)$(PREFIX)/include/vtag.h'

clean:  ## remove build/
	rm -rf $(B)

help:  ## this list
	@sed -n 's/^\([a-z%-]*\):.*  ## /\1\t/p' Makefile | \
	    awk -F '\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'
