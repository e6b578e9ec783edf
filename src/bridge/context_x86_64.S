/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * x86-64, System V ABI. A suspended stack, from its stack pointer up:
 *     MXCSR and x87 control word, r15, r14, r13, r12, rbx, rbp, return address
 *
 * There is no property note on purpose: a shadow stack would have to be switched along, so what this is linked into
 * must not be said to keep one.
 */
#if defined(__x86_64__) && !defined(HOP_CONTEXT_UCONTEXT)
    .text
    .globl hop__machine_switch
    .hidden hop__machine_switch
    .type hop__machine_switch, @function
    .p2align 4
hop__machine_switch:            /* (void **save, void *load) */
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, (%rdi)
    movq %rsi, %rsp             /* the other stack looks the same from here */
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    ret
    .cfi_endproc
    .size hop__machine_switch, .-hop__machine_switch

    .globl hop__machine_start
    .hidden hop__machine_start
    .type hop__machine_start, @function
    .p2align 4
hop__machine_start:             /* first frame of a stack: rbx is the argument */
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    movq %rbx, %rdi
    xorl %ebp, %ebp
    call hop__context_start
    ud2
    .cfi_endproc
    .size hop__machine_start, .-hop__machine_start
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
