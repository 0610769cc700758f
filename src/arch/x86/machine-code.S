# The machine code that quicksave brings into a task, in source form. machine-code.ts holds the assembled bytes; a test
# assembles this file and compares. Every routine is position independent, uses no stack, and finds its state through rbx:
#
#   rbx + 0x00  r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi   what the task goes on with (8 bytes each)
#   rbx + 0x78  rip cs rflags rsp ss                                        the frame that iretq takes
#   rbx + 0xa0  signal mask (8 bytes)
#   rbx + 0xa8  doorbell (s32), the task's end;  rbx + 0xac  the tool's end (s32) until it is closed here
#   rbx + 0xb0  number of calls (u32);           rbx + 0xb8  address of the calls (u64)
#   rbx + 0xc0  the byte that rings
#   rbx + 0xc8  a call_once elsewhere, from where all of this is unmapped on the way home, or 0; address and size of what
#               is unmapped at 0xd0 and 0xd8, the state block for there at 0xe0
#   rbx + 0xe8  the pid of the snapshot, or the negative errno of the call that failed (s64)
#
# A call is 64 bytes: number, six arguments, result. Bit 32 of the number is set for a call of i386, by int 0x80: its arguments
# are in rbx rcx rdx rsi rdi rbp, and what it points to is below 4 GiB.
#
# All of it is 64-bit code. In a 32-bit process it is entered with cs 0x33, and iretq leads back to 32-bit code.

        .intel_syntax noprefix
        .text

# One system call of i386, then home. Entered as call_once is, but with the state block in r15.
        .globl call_i386
call_i386:
        int     0x80
        mov     rbx, r15
        jmp     go_home

# One system call, then call_once with munmap(2): how the agent comes and goes. The block of a task that has only this part
# of the code (homeCode) ends with the address at 0xa8 and the size at 0xb0 of what is unmapped.
        .globl call_unmap_home
call_unmap_home:
        syscall
        mov     rdi, [rbx + 0xa8]
        mov     rsi, [rbx + 0xb0]
        mov     eax, 11

# One system call, then home. Entered at a syscall instruction with the arguments in place: if the tool dies at any instant,
# the task makes the call and then goes on where it was.
        .globl call_once
call_once:
        syscall

# Home: the signal mask and all registers as they were. Only reads its block, which may stand in read-only memory.
        .globl go_home
go_home:
        mov     edi, 2                  # SIG_SETMASK
        lea     rsi, [rbx + 0xa0]
        xor     edx, edx
        mov     r10d, 8
        mov     eax, 14                 # rt_sigprocmask
        syscall
        mov     rsp, rbx
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbp
        pop     rbx
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rax
        pop     rcx
        pop     rdx
        pop     rsi
        pop     rdi
        iretq
        .globl end_of_home
end_of_home:

# One system call, then close both ends of the doorbell and go home: how the socketpair itself is made.
        .globl call_close_home
call_close_home:
        syscall
close_home:
        mov     edi, [rbx + 0xac]
        mov     dword ptr [rbx + 0xac], -1
        mov     eax, 3                  # close; -1 gives EBADF, which harms nobody
        syscall
        mov     edi, [rbx + 0xa8]
        mov     dword ptr [rbx + 0xa8], -1
        mov     eax, 3
        syscall
        mov     rcx, [rbx + 0xc8]
        test    rcx, rcx
        jz      go_home
        mov     rdi, [rbx + 0xd0]
        mov     rsi, [rbx + 0xd8]
        mov     rbx, [rbx + 0xe0]
        mov     eax, 11                 # munmap
        jmp     rcx

# The agent: closes its copy of the tool's end, so that the tool's death is an end of file; then answers each ring with a
# batch of calls.
        .globl agent
agent:
        mov     edi, [rbx + 0xac]
        mov     dword ptr [rbx + 0xac], -1
        mov     eax, 3
        syscall
await:
        mov     edi, [rbx + 0xa8]
        lea     rsi, [rbx + 0xc0]
        mov     edx, 1
        xor     r10d, r10d
        xor     r8d, r8d
        xor     r9d, r9d
        mov     eax, 45                 # recvfrom
        syscall
        cmp     eax, -4                 # EINTR
        je      await
        cmp     eax, 1
        jne     close_home
        lea     r14, [rip + answer]
run:
        mov     r12, [rbx + 0xb8]
        mov     r13d, [rbx + 0xb0]
next:
        test    r13d, r13d
        jz      ran
        mov     rax, [r12]
        btr     rax, 32
        jc      run_i386
        mov     rdi, [r12 + 8]
        mov     rsi, [r12 + 16]
        mov     rdx, [r12 + 24]
        mov     r10, [r12 + 32]
        mov     r8, [r12 + 40]
        mov     r9, [r12 + 48]
        syscall
made:
        mov     [r12 + 56], rax
        add     r12, 64
        dec     r13d
        jmp     next
run_i386:
        mov     r15, rbx
        mov     ebx, [r12 + 8]
        mov     ecx, [r12 + 16]
        mov     edx, [r12 + 24]
        mov     esi, [r12 + 32]
        mov     edi, [r12 + 40]
        mov     ebp, [r12 + 48]
        int     0x80
        mov     rbx, r15
        jmp     made
ran:
        jmp     r14
answer:
        mov     edi, [rbx + 0xa8]
        lea     rsi, [rbx + 0xc0]
        mov     edx, 1
        mov     r10d, 0x4000            # MSG_NOSIGNAL
        xor     r8d, r8d
        xor     r9d, r9d
        mov     eax, 44                 # sendto
        syscall
        jmp     await

# The snapshot: a child of a child that shares the memory and ends at once, so that the snapshot is nobody's child here and
# no call of the program ever sees it. Without a tracer that takes hold of it at its birth, it ends as well. Answers as a batch
# does.
        .globl snapshot
snapshot:
        mov     edi, 0x4700             # CLONE_VM | CLONE_VFORK | CLONE_FS | CLONE_FILES, no exit signal
        xor     esi, esi
        xor     edx, edx
        xor     r10d, r10d
        xor     r8d, r8d
        mov     eax, 56                 # clone
        syscall
        test    eax, eax
        jz      between
        js      no_snapshot
        mov     r13d, eax
reap:
        mov     edi, r13d
        xor     esi, esi
        mov     edx, 0x40000000         # __WALL
        xor     r10d, r10d
        mov     eax, 61                 # wait4
        syscall
        cmp     eax, -4                 # EINTR
        je      reap
        jmp     answer
no_snapshot:
        movsxd  rax, eax
        mov     [rbx + 0xe8], rax
        jmp     answer
# It leaves the program's session and descriptors while the program still stands still: nobody is to hold on to a file that the
# program closes.
between:
        mov     eax, 112                # setsid
        syscall
        xor     edi, edi
        mov     esi, -1
        mov     edx, 2                  # CLOSE_RANGE_UNSHARE: the program's table stays as it is
        mov     eax, 436                # close_range
        syscall
        mov     edi, 0x600              # CLONE_FS | CLONE_FILES: nothing is copied but the memory
        xor     esi, esi
        xor     edx, edx
        xor     r10d, r10d
        xor     r8d, r8d
        mov     eax, 56
        syscall
        test    eax, eax
        jz      leave
        movsxd  rax, eax
        mov     [rbx + 0xe8], rax
        xor     edi, edi
        mov     eax, 60                 # exit
        syscall

# Where a snapshot rests that is held.
        .globl hold
hold:
        mov     eax, 34                 # pause
        syscall
        jmp     hold

# Where a half-made process goes when its doorbell ends.
        .globl leave
leave:
        mov     edi, 1
        mov     eax, 231                # exit_group
        syscall
        jmp     leave
        .globl end_of_agent
end_of_agent:
