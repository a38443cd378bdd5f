# shellcheck shell=sh
# What the verbs share; sourced by them. Sets ROOT (the checkout) and VENV, and gives `set_up run|dev`.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
VENV=$ROOT/.venv

# Prints the first Python that can make our virtual environment: 3.11 or later, with venv and ensurepip.
find_python() {
    seen=
    for candidate in ${SPL_PYTHON:+"$SPL_PYTHON"} "$VENV/bin/python" python3.13 python3.12 python3.11 python3.14 python3; do
        command -v -- "$candidate" >/dev/null 2>&1 || continue
        answer=$("$candidate" -IS -c '
import sys
if sys.version_info < (3, 11):
    print("is", sys.version.split()[0])
else:
    from importlib.util import find_spec
    print("good" if find_spec("venv") and find_spec("ensurepip") else "has no venv module")
' 2>/dev/null) || continue
        if [ "$answer" = good ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
        seen="$seen
  $candidate $answer"
    done
    cat >&2 <<END
$(basename -- "$0"): needs Python 3.11 or later with its venv module, and found${seen:- no python3 at all}
Install it (Debian and Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3; macOS: brew install python)
or name one: SPL_PYTHON=/path/to/python3 $0
END
    return 1
}

# Makes .venv ready: `set_up run` with what serving needs, `set_up dev` with the tools of tests and checks too.
set_up() {
    python=$(find_python) || exit 1
    "$python" -I "$ROOT/scripts/setup.py" "$1" || exit 1
}
