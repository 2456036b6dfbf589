#!/bin/sh
# Stands where the launchers of MPI expect ssh: agent [OPTION...] [USER@]HOST WORD...
# As with ssh, the words are one line for the shell there, and the caller's environment stays here, but for the mark
# by which a test finds the processes that it left behind.
set -eu
while [ "${1#-}" != "$1" ]; do shift; done
host=${1##*@}
shift
mark=UNIDIST_CONFORMANCE_TRIAL
eval "value=\${$mark-}"
exec env -i HOME="${HOME-/}" PATH="$PATH" ${value:+"$mark=$value"} "$(dirname "$0")/enter" "$host" /bin/sh -c "$*"
