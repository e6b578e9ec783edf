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
    hint #34                    /* bti c: may be called through a register, by a veneer say */
    sub sp, sp, #160
    .cfi_def_cfa_offset 160
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
    .cfi_rel_offset x19, 0
    .cfi_rel_offset x20, 8
    .cfi_rel_offset x21, 16
    .cfi_rel_offset x22, 24
    .cfi_rel_offset x23, 32
    .cfi_rel_offset x24, 40
    .cfi_rel_offset x25, 48
    .cfi_rel_offset x26, 56
    .cfi_rel_offset x27, 64
    .cfi_rel_offset x28, 72
    .cfi_rel_offset x29, 80
    .cfi_rel_offset x30, 88
    .cfi_rel_offset d8, 96
    .cfi_rel_offset d9, 104
    .cfi_rel_offset d10, 112
    .cfi_rel_offset d11, 120
    .cfi_rel_offset d12, 128
    .cfi_rel_offset d13, 136
    .cfi_rel_offset d14, 144
    .cfi_rel_offset d15, 152
    mov x9, sp
    str x9, [x0]
    mov sp, x1                  /* the other stack looks the same from here */
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
    .cfi_def_cfa_offset 0
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    .cfi_restore d8
    .cfi_restore d9
    .cfi_restore d10
    .cfi_restore d11
    .cfi_restore d12
    .cfi_restore d13
    .cfi_restore d14
    .cfi_restore d15
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

#if defined(__ARM_FEATURE_BTI_DEFAULT)
    /* Made for branch target identification, like the compiler's objects; one that is not said to be unmarks all. */
    .pushsection .note.gnu.property, "a"
    .p2align 3
    .word 4, 16, 5              /* sizes of name and content, NT_GNU_PROPERTY_TYPE_0 */
    .asciz "GNU"
    .word 0xc0000000, 4, 1, 0   /* GNU_PROPERTY_AARCH64_FEATURE_1_AND, its size, BTI, padding */
    .popsection
#endif
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
