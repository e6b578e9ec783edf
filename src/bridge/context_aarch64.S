/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aarch64, AAPCS64. A suspended stack, from its stack pointer up:
 *     x19 to x28, x29 (frame), x30 (return address), d8 to d15
 */
#if defined(__aarch64__) && !defined(HOP_CONTEXT_UCONTEXT)
    .text
    .globl hop__machine_switch
    .hidden hop__machine_switch
    .type hop__machine_switch, %function
    .p2align 4
hop__machine_switch:            /* (void **save, void *load) */
    .cfi_startproc
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .cfi_endproc
    .size hop__machine_switch, .-hop__machine_switch

    .globl hop__machine_start
    .hidden hop__machine_start
    .type hop__machine_start, %function
    .p2align 4
hop__machine_start:             /* first frame of a stack: x19 is the argument */
    .cfi_startproc
    .cfi_undefined x30
    mov x0, x19
    mov x29, #0
    bl hop__context_start
    brk #0
    .cfi_endproc
    .size hop__machine_start, .-hop__machine_start
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
