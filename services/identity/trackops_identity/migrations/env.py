from trackops_common.migrations import run_environment

run_environment()
