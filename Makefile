# make run     builds and runs the main job on real packets (DATAPATH=netlink: in the kernel; dummy: without root)
# make test    the whole suite; installs what it needs
# make bench | fuzz | format | lint | docs
SWIFT ?= swift
DATAPATH ?= netdev
BUILD_FLAGS ?=
SOURCES = Package.swift Sources Tests

.PHONY: help setup build run test bench fuzz format lint docs clean

help:
	@sed -n '1,4s/^# //p' Makefile

setup:
	@scripts/setup.sh

build:
	$(SWIFT) build -c release --product vswitchd $(BUILD_FLAGS)

run:
	@scripts/setup.sh
	@$(MAKE) --no-print-directory build
	@scripts/run.sh $(DATAPATH)

test:
	@scripts/setup.sh
	scripts/test.sh

bench:
	@scripts/setup.sh
	@$(MAKE) --no-print-directory build
	Benchmarks/run.sh

fuzz:
	@scripts/setup.sh
	scripts/fuzz.sh

format:
	$(SWIFT) format --in-place --recursive $(SOURCES)

lint:
	$(SWIFT) format lint --strict --recursive $(SOURCES)
	scripts/check-imports.sh

docs:
	$(SWIFT) run -c release vswitchd features --format markdown > feature-matrix.md

clean:
	rm -rf .build
