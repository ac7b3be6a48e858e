#!/usr/bin/env bash
# mpirun.sh MPIRUN RANKS PROGRAM...: MPIRUN, of Open MPI or MPICH, on this machine alone, with more ranks than cores if need
# be, as root too (as in a container), and with no rank bound to a core.
set -euo pipefail
mpirun=$1 ranks=$2
shift 2
flags=()
if "$mpirun" --version 2>&1 | grep -qE 'Open MPI|OpenRTE'; then
  flags=(--oversubscribe --bind-to none)
  ((EUID != 0)) || flags+=(--allow-run-as-root)
fi
exec "$mpirun" "${flags[@]}" -n "$ranks" "$@"
