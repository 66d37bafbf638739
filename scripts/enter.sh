# Sourced by the commands of this folder that are written in Python: makes the machine ready (which gives it
# Python), then runs NAME.py for the command NAME.
set -euo pipefail
folder=$(dirname "$(readlink -f "$0")")
"$folder/setup" --quiet-if-done >&2
export ATOLL_SETUP_SECONDS=$SECONDS
exec /usr/bin/python3 -B "$folder/$(basename "$0").py" "$@"
