/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between hop's frames and the user's functions that they call: nothing unwinds through.
 *
 * A C++ exception that left a body could be caught by whoever called hop_parallel_for, whose frame other threads still
 * work on; pthread_exit in a job would take a worker along, and everybody would wait for it. So a function of hop's
 * that calls one of the user's says HOP__BOUNDARY(): unwinding asks the personality of each frame, and this one
 * refuses. An exception then ends in std::terminate where it was thrown, with all frames still there to be looked at;
 * a forced unwinding ends the program with a line. (It may take a stack of ours for one that it has left already, and
 * then asks nobody: so threads look again when they end.) All this costs nothing while nothing is thrown.
 */
#ifndef HOP_BRIDGE_BOUNDARY_H
#define HOP_BRIDGE_BOUNDARY_H

#include <unwind.h>

_Unwind_Reason_Code hop__boundary(int version, _Unwind_Action actions, _Unwind_Exception_Class kind,
                                  struct _Unwind_Exception *exception, struct _Unwind_Context *context)
    __attribute__((visibility("hidden")));

/* A thread of hop's ends, though hop did not let it. */
void hop__boundary_thread_ends(void) __attribute__((noreturn, visibility("hidden")));

/* 0x1b: relative to the place, four bytes with a sign. */
#ifdef __GCC_HAVE_DWARF2_CFI_ASM
#define HOP__BOUNDARY() __asm__(".cfi_personality 0x1b, hop__boundary")
#else
#define HOP__BOUNDARY() ((void)0)
#endif

#endif
