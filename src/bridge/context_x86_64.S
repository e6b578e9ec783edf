/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * x86-64, System V ABI. A suspended stack, from its stack pointer up:
 *     MXCSR and x87 control word, r15, r14, r13, r12, rbx, rbp, return address
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
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
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
