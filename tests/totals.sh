#!/usr/bin/env bash
# Runs a command that runs tests, shows what it says, and adds up the results at the end: how many tests passed, failed and
# could not run, and why. Exits as the command does.
#
# A test that could not run counts as passed in its own program. It writes `SKIPPED: why (name)`.
set -uo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log"
code=${PIPESTATUS[0]}

sed 's/\x1b\[[0-9;]*m//g' "$log" | awk -v code="$code" -v seconds="$SECONDS" '
    # Cargo names the program before its tests.
    /^ *(Running|Doc-tests) / { program = $0 }
    # Within a line, if another thread has begun one.
    match($0, /SKIPPED: /) {
        reason = substr($0, RSTART + RLENGTH)
        test = reason
        if (match(reason, / \([A-Za-z0-9_:]+\)$/)) {
            test = substr(reason, RSTART + 2, RLENGTH - 3)
            reason = substr(reason, 1, RSTART - 1)
        }
        if (reason ~ /not installed$/) untooled = 1
        if (!seen[program, test, reason]++) reasons[reason]++
        if (!counted[program, test]++) skipped++
    }
    match($0, /test result: .*[0-9]+ passed; [0-9]+ failed/) {
        for (i = 2; i <= NF; i++) {
            if ($i == "passed;") passed += $(i - 1)
            if ($i == "failed;") failed += $(i - 1)
            if ($i == "ignored;") ignored += $(i - 1)
        }
        listing = 0
    }
    /^failures:$/ { listing = 1; next }
    listing && /^    [A-Za-z]/ { names[++count] = $0 }
    END {
        passed -= skipped
        print ""
        for (i = 1; i <= count; i++) print "failed: " substr(names[i], 5)
        for (reason in reasons) {
            n = reasons[reason]
            print "skipped: " reason " (" n (n == 1 ? " test)" : " tests)")
        }
        if (untooled) print "`make test-deps` installs what is not installed"
        printf "%d passed, %d failed, %d skipped", passed, failed, skipped
        if (ignored) printf ", %d ignored", ignored
        printf ", in %d s\n", seconds
        if (code != 0 && !failed) print "and a step ended with an error: see above"
    }
'
exit "$code"
