#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Before a test: takes away what libomp leaves in /dev/shm when a process does not end by exit. A later process of the
# same number takes such a file for its own, and dies if it is empty.
for file in /dev/shm/__KMP_REGISTERED_LIB_*_"$(id -u)"; do
    process=${file#*_LIB_}
    [ ! -e "$file" ] || [ -e "/proc/${process%_*}" ] || rm -f "$file"
done
