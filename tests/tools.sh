#!/usr/bin/env bash
# The programs beside Rust that tests and measurements use where they are installed.
#
#   tests/tools.sh missing test|bench|coverage   names those that are not there, and what that means
#   tests/tools.sh install test|bench|coverage   installs their Debian packages
set -euo pipefail

what=${2:-}
case $what in
    test) tools="qemu-img=qemu-utils qemu-nbd=qemu-utils g++=g++" without="the tests that need them say SKIPPED" ;;
    bench) tools="valgrind=valgrind" without="instructions are not counted" ;;
    coverage)
        # For `make fuzz-coverage`, unless `rustup component add llvm-tools` has brought them.
        llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
        tools="llvm-cov-$llvm=llvm-$llvm llvm-profdata-$llvm=llvm-$llvm"
        without="lines are not counted; \`rustup component add llvm-tools\` brings them too" ;;
    *) what="" ;;
esac
if [ -z "$what" ] || { [ "$1" != missing ] && [ "$1" != install ]; }; then
    echo "usage: tests/tools.sh missing|install test|bench|coverage" >&2
    exit 2
fi

missing=() packages=()
for tool in $tools; do
    if ! command -v "${tool%=*}" >/dev/null; then
        missing+=("${tool%=*}")
        packages+=("${tool#*=}")
    fi
done
[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)

if [ "$1" = missing ]; then
    echo "not installed: ${missing[*]}: $without; \`make $what-deps\` installs ${packages[*]}" >&2
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "no apt-get here: install what has ${missing[*]} (Debian: ${packages[*]})" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "not root, and no sudo: have root run \`apt-get install ${packages[*]}\`" >&2
        exit 1
    fi
    as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
