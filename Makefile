# The commands of the project. `make` alone lists them.

.PHONY: help setup test test-vm test-faults test-agents lint demo bench deb

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 13

setup: ## install what building and testing need (apt, by sudo if not root)
	@tests/setup/install

test: deb ## run all tests, on booted machines too; ends with `N passed, N failed`
	@tests/setup/total

test-vm: ## the tests of limits that are felt, in virtual machines (QEMU; no KVM needed)
	@tests/setup/install vm
	@tests/setup/total --test machine -- --vm

test-faults: ## each system call failing once, no room, a hostile user, 2,000 texts at any moment, an hour's churn (a long run)
	@tests/setup/install
	@PROPTEST_CASES=10000 tests/setup/total --test properties
	@tests/setup/total --test machine -- --faults

test-agents: ## typing into real coding agents, with a model server on loopback (npm; a long run)
	@tests/setup/install agents
	@tests/setup/total --test machine -- --agents

lint: ## formatting, clippy, dependencies (cargo deny), shell scripts (shellcheck), prose
	@tests/setup/lint

demo: setup ## show forge at work, here or in a throwaway machine
	@demo/run

bench: setup ## measure forge beside what people use otherwise, in a throwaway machine (a long run)
	@bench/run

deb: ## build the Debian package, into target/deb
	@tests/setup/install deb
	@packaging/deb
