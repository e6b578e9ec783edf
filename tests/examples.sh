#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The examples do what they say.
set -u

examples=${top_builddir:-.}/examples
failed=0

# says NAME LINES: the example ends well and prints exactly these lines.
says()
{
    said=$("$examples/$1" 2>&1)
    status=$?
    if [ $status != 0 ] || [ "$said" != "$2" ]; then
        failed=1
        printf 'FAILED: %s: status %s; it said:\n%s\n' "$1" $status "$said"
    fi
}

says hello 'hello from task 3
hello from task 2
hello from task 1
all tasks have ended'
says offload '78498 primes below 1000000
the loop ticked meanwhile'
says parallel_for 'the roots of the first 2000000 squares add up to 1999999000000'
says team 'mean 126, bright 151552 of 307200
waiting in hop_on_team is refused'
says attach 'the pool added up 5000050000
the timer ticked'
says channel '1000 squares add up to 333833500'
says select '26 letters, 10 digits
no bell
the bell rang: 42'
says echo '8 clients got 800 lines back'

# The server of echo, for others: an address that is none, then one that is taken.
if "$examples/echo" nowhere >/dev/null 2>&1; then
    echo 'FAILED: echo serves nowhere'
    failed=1
fi
[ $failed = 0 ] && echo 'examples: all said what they should'
exit $failed
