#!/usr/bin/env bash
# faults.sh MPIRUN... RANKS PROGRAM FAULT: the job of fault_processes.cc must end by itself, as the fault wants it, and say
# what became of the last rank. Of a rank that dies, all others say so on Open MPI; Hydra, MPICH's mpirun, kills them before
# they can say a word, and names the process at most.
set -euo pipefail
fault=${*: -1}
ranks=${*: -3:1}
last=$((ranks - 1))
status=0
# A job that hangs is ended by timeout, whose exit code is then 124.
output=$(timeout --kill-after=5 60 "$@" 2>&1) || status=$?
printf '%s\nexit code %s\n' "$output" "$status"

fail() {
  printf 'FAILED: %s\n' "$*"
  exit 1
}
((status != 124)) || fail "the job hung"
says() { grep -qE "$1" <<<"$output" || fail "nothing says: $1"; }
case $fault in
  exit | kill)
    ((status != 0)) || fail "the job ended as if all were well"
    [[ $2 == *mpich* || $2 == *hydra* ]] || says "^rank $last has ended, while rank [0-9]+ waited for .*$last"
    ;;
  abort)
    ((status == 4)) || fail "the exit code is $status and not that of Abort"
    says "^lockstep: rank $last cannot read its data$"
    ;;
  throw)
    ((status != 0)) || fail "the job ended as if all were well"
    says "^rank $last gives up, and ends all ranks"
    ;;
  stop)
    ((status == 0)) || fail "a rank that stood still for a while ended the job"
    says "waits for .* rank $last"
    says "all ranks have ended well"
    ;;
esac
