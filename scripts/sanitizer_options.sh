# shellcheck shell=bash
# How sanitizers behave; sourced. Programs without one ignore it.
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
# ThreadSanitizer of GCC 12 wants the address layout that kernels had before they randomised more of it, so programs run
# under setarch --addr-no-randomize.
