/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hop asks of others: every function that its objects leave undefined is in one of the lists below, and
 * tests/faults.c compares them with what `nm` says.
 *
 * FAULT_CALLS: the calls that can fail. Each is wrapped by the linker (-Wl,--wrap, made from this file), and each is
 * made to fail, at every place that calls it. A row: the name, and the ways to fail: { errno, what must follow }.
 *     TOLD     the program gets this error; TOLD_AS: the second one
 *     RIGHT    nothing is told, and everything goes on and is right: repeated, or done without
 *     EITHER   it depends on the place which of the two
 *     DIES_AS  the program ends by abort, with a line on standard error; or is told the second one
 *
 * FAULT_NEVER: the calls that cannot fail as hop uses them, or whose failure nobody could act on, and why.
 *
 * A row of a call that is wrapped has CALL(, BACK( or PRETENDED( and the name at its begin: the Makefile reads that.
 */
#ifndef HOP_TESTS_FAULT_CALLS_H
#define HOP_TESTS_FAULT_CALLS_H

#define TOLD(e) { e, FAULT_TOLD, e }
#define TOLD_AS(e, told) { e, FAULT_TOLD, told }
#define EITHER(e) { e, FAULT_EITHER, e }
#define EITHER_AS(e, told) { e, FAULT_EITHER, told }
#define DIES_AS(e, told) { e, FAULT_DIES, told }
#define RIGHT(e) { e, FAULT_RIGHT, 0 }

enum { SHORT = -1 }; /* in place of an errno: one byte is transferred */

/* clang-format off */
#define FAULT_CALLS(CALL) \
    /* memory */ \
    CALL(malloc, TOLD(ENOMEM)) \
    CALL(calloc, EITHER(ENOMEM)) /* a record of a descriptor's class, a spare thread's seat: done without */ \
    CALL(realloc, TOLD(ENOMEM)) \
    CALL(aligned_alloc, EITHER(ENOMEM)) /* a loop over many workers takes fewer */ \
    CALL(posix_memalign, TOLD(ENOMEM)) \
    CALL(mmap, EITHER(ENOMEM), EITHER_AS(EAGAIN, ENOMEM)) /* an alternate signal stack: done without */ \
    CALL(munmap, RIGHT(ENOMEM)) \
    CALL(mprotect, EITHER_AS(ENOMEM, EAGAIN)) /* a thread's own guard, and taking it away: done without */ \
    CALL(madvise, RIGHT(EINVAL), RIGHT(ENOMEM), RIGHT(EAGAIN)) \
    CALL(__sched_cpualloc, RIGHT(ENOMEM)) \
    /* threads */ \
    CALL(pthread_create, EITHER(EAGAIN), EITHER(EPERM)) /* the wake-up's measure, a spare thread */ \
    CALL(pthread_atfork, TOLD(ENOMEM)) \
    CALL(pthread_getattr_np, RIGHT(ENOMEM)) \
    CALL(pthread_key_create, RIGHT(EAGAIN)) \
    CALL(pthread_setspecific, RIGHT(ENOMEM)) \
    CALL(pthread_setname_np, RIGHT(EIO)) \
    CALL(pthread_mutex_trylock, RIGHT(EBUSY)) \
    CALL(pthread_cond_timedwait, RIGHT(ETIMEDOUT)) \
    CALL(dlopen, RIGHT(ENOENT)) \
    /* by syscall(2) */ \
    CALL(syscall_futex_wait, RIGHT(EINTR)) \
    CALL(syscall_membarrier_query, RIGHT(ENOSYS), RIGHT(EPERM)) \
    CALL(syscall_membarrier_register, RIGHT(ENOSYS), RIGHT(EPERM)) \
    CALL(syscall_membarrier_expedited, RIGHT(ENOMEM)) /* and made again, or a wake-up could be lost */ \
    CALL(syscall_sched_getattr, RIGHT(EPERM), RIGHT(ENOSYS)) \
    CALL(syscall_sched_setattr, RIGHT(EPERM), RIGHT(ENOSYS), RIGHT(EINVAL)) \
    CALL(syscall_write, RIGHT(EINTR)) /* the bell */ \
    CALL(prctl, RIGHT(EINVAL), RIGHT(EPERM)) \
    CALL(getpriority, RIGHT(ESRCH)) \
    CALL(sched_getaffinity, RIGHT(EINVAL), RIGHT(EPERM), RIGHT(ENOSYS)) \
    CALL(sigaction, RIGHT(EINVAL)) \
    CALL(sigaltstack, RIGHT(ENOMEM), RIGHT(EPERM)) \
    /* descriptors */ \
    CALL(eventfd, TOLD(EMFILE), TOLD(ENFILE), TOLD(ENOMEM), TOLD(ENODEV)) \
    CALL(timerfd_create, TOLD(EMFILE), TOLD(ENFILE), TOLD(ENOMEM), TOLD(ENODEV)) \
    CALL(epoll_create1, TOLD(EMFILE), TOLD(ENFILE), TOLD(ENOMEM)) \
    CALL(epoll_wait, TOLD(EPERM), TOLD(ENOSYS)) \
    CALL(pipe2, TOLD(EMFILE), TOLD(ENFILE)) \
    CALL(open, EITHER(EMFILE), EITHER(ENFILE), RIGHT(ENOENT), RIGHT(EACCES), RIGHT(ENOMEM)) \
    CALL(close, EITHER(EINTR), EITHER(EIO)) /* closed all the same; told to who asked for the close */ \
    CALL(fcntl, TOLD(EBADF)) \
    CALL(fstat, EITHER(ENOMEM), EITHER(EIO)) /* a close goes on without */ \
    CALL(poll, RIGHT(EINTR), TOLD(ENOMEM)) \
    /* transfers */ \
    CALL(read, RIGHT(EINTR), RIGHT(EIO)) /* files of the system, and bells that may be empty */ \
    CALL(recv, RIGHT(EINTR), RIGHT(SHORT), TOLD(ENOMEM), TOLD(ECONNRESET)) \
    CALL(recvmsg, RIGHT(EINTR), RIGHT(SHORT), TOLD(ENOMEM)) \
    CALL(send, RIGHT(EINTR), RIGHT(SHORT), TOLD(ENOBUFS), TOLD(ECONNRESET), TOLD(EPIPE)) \
    CALL(sendmsg, RIGHT(EINTR), RIGHT(SHORT), TOLD(ENOBUFS)) \
    CALL(readv, RIGHT(EINTR), RIGHT(SHORT), TOLD(EIO)) \
    CALL(writev, RIGHT(EINTR), RIGHT(SHORT), TOLD(ENOSPC), TOLD(EIO)) \
    CALL(preadv2, RIGHT(EINTR), RIGHT(SHORT), RIGHT(EOPNOTSUPP), RIGHT(ENOSYS), TOLD(EIO)) \
    CALL(pwritev2, RIGHT(EINTR), RIGHT(SHORT), RIGHT(EOPNOTSUPP), RIGHT(ENOSYS), TOLD(EPIPE)) \
    /* sockets */ \
    CALL(socket, TOLD(EMFILE), TOLD(ENFILE), TOLD(ENOBUFS), TOLD(ENOMEM), TOLD(EAFNOSUPPORT)) \
    CALL(bind, TOLD(EADDRINUSE), TOLD(EACCES), TOLD(ENOMEM)) \
    CALL(listen, TOLD(EADDRINUSE)) \
    CALL(accept4, TOLD(EMFILE), TOLD(ENFILE), TOLD(ENOBUFS), TOLD(ENOMEM), RIGHT(EINTR), \
         RIGHT(ECONNABORTED), RIGHT(EPROTO), RIGHT(ENETDOWN)) \
    CALL(connect, TOLD(ECONNREFUSED), TOLD(ETIMEDOUT), TOLD(ENOBUFS), EITHER(EAGAIN), \
         RIGHT(EINTR), RIGHT(EINPROGRESS)) \
    CALL(getsockopt, TOLD(ENOBUFS), TOLD(ENOMEM)) \
    CALL(setsockopt, EITHER(ENOMEM), EITHER(ENOBUFS)) /* without TCP_NODELAY it is slower */ \
    CALL(getsockname, TOLD(ENOBUFS)) \
    CALL(getaddrinfo, TOLD_AS(EAI_MEMORY, ENOMEM), TOLD_AS(EAI_AGAIN, EAGAIN), TOLD_AS(EAI_FAIL, EIO), \
         EITHER_AS(EAI_NONAME, ENOENT), TOLD_AS(EAI_SYSTEM, EMFILE)) \
    CALL(clock_nanosleep, RIGHT(EINTR)) \
    /* files of the system: what cannot be read is not there */ \
    CALL(access, RIGHT(ENOENT), RIGHT(EACCES)) \
    CALL(readlink, RIGHT(ENOENT), RIGHT(EACCES)) \
    CALL(fopen, RIGHT(ENOENT), RIGHT(EMFILE), RIGHT(ENOMEM)) \
    CALL(getline, RIGHT(ENOMEM), RIGHT(EIO)) \
    CALL(__getdelim, RIGHT(ENOMEM), RIGHT(EIO)) \
    CALL(__isoc99_fscanf, RIGHT(EIO)) \
    CALL(__isoc23_fscanf, RIGHT(EIO)) \
    CALL(fclose, RIGHT(EIO)) \
    CALL(opendir, RIGHT(ENOENT), RIGHT(EMFILE), RIGHT(ENOMEM)) \
    CALL(readdir, RIGHT(EIO)) \
    CALL(fflush, TOLD_AS(ENOSPC, EIO)) \
    /* libevent */ \
    CALL(event_config_new, TOLD(ENOMEM)) \
    CALL(event_base_new_with_config, TOLD(ENOMEM)) \
    CALL(event_new, TOLD(ENOMEM)) \
    CALL(event_assign, TOLD(ENOMEM)) \
    CALL(event_add, EITHER(ENOMEM), EITHER(ENOSPC)) /* an attached loop's turn: by the bell instead */ \
    CALL(event_base_loop, DIES_AS(EBADF, EDEADLK)) /* its own epoll descriptor was closed by the program */ \
    /* hwloc */ \
    CALL(hwloc_topology_init, EITHER(ENOMEM)) /* it is tried again without sysfs */ \
    CALL(hwloc_topology_load, EITHER(ENOMEM)) \
    CALL(hwloc_topology_set_flags, RIGHT(EINVAL)) \
    CALL(hwloc_topology_set_components, RIGHT(EINVAL)) \
    CALL(hwloc_bitmap_alloc, EITHER(ENOMEM)) /* a pin: done without, and described */ \
    CALL(hwloc_bitmap_and, TOLD(ENOMEM)) \
    CALL(hwloc_bitmap_copy, EITHER(ENOMEM)) \
    CALL(hwloc_bitmap_only, RIGHT(ENOMEM)) \
    CALL(hwloc_bitmap_or, RIGHT(ENOMEM)) \
    CALL(hwloc_bitmap_set, RIGHT(ENOMEM)) \
    CALL(hwloc_set_cpubind, RIGHT(EPERM), RIGHT(EXDEV), RIGHT(ENOSYS), RIGHT(EINVAL)) \
    CALL(hwloc_get_cpubind, RIGHT(EPERM), RIGHT(ENOSYS)) \
    CALL(hwloc_linux_get_tid_cpubind, RIGHT(EPERM), RIGHT(ENOSYS)) \
    CALL(hwloc_linux_set_tid_cpubind, RIGHT(EPERM), RIGHT(EINVAL))


/* Wrapped too: what gives back what the calls above acquire. */
#define FAULT_BACK(BACK) \
    BACK(free) \
    BACK(__sched_cpufree) \
    BACK(freeaddrinfo) \
    BACK(closedir) \
    BACK(event_config_free) \
    BACK(event_base_free) \
    BACK(event_free) \
    BACK(hwloc_topology_destroy) \
    BACK(hwloc_bitmap_free)

/* Wrapped so that a scenario can pretend what an OpenMP runtime was told. They cannot fail. */
#define FAULT_PRETENDED(PRETENDED) \
    PRETENDED(omp_get_num_places) \
    PRETENDED(omp_get_place_num_procs) \
    PRETENDED(omp_get_place_proc_ids)

#define FAULT_NEVER(NEVER) \
    NEVER("a function of its arguments", \
          "memcpy memmove memset __memcpy_chk __memmove_chk __memset_chk memcmp bcmp memchr strchr strcmp strcspn " \
          "strlen strncmp " \
          "strnlen strrchr strspn strstr strtok_r __strtok_r strtol strtoll __isoc23_strtol __isoc23_strtoll qsort " \
          "atoi htons ntohs " \
          "strerror inet_pton inet_ntop __isoc99_sscanf __isoc23_sscanf snprintf __snprintf_chk vsnprintf " \
          "sigemptyset sigfillset sigdelset pthread_equal __ctype_b_loc") \
    NEVER("tells what the process knows of itself", \
          "getenv getpid pthread_self sysconf __errno_location clock_gettime dl_iterate_phdr dlsym dladdr " \
          "__cxa_get_globals kmp_get_stacksize_s") \
    NEVER("tells libomp something, or asks whether it could be done", "kmp_set_defaults sched_setaffinity") \
    NEVER("tells a sanitizer", "__lsan_register_root_region __lsan_unregister_root_region") \
    NEVER("with arguments that are valid for as long as hop is there there is no way to fail", \
          "pthread_mutex_init pthread_mutex_destroy pthread_mutex_lock pthread_mutex_unlock pthread_cond_init " \
          "pthread_cond_destroy pthread_cond_signal pthread_cond_broadcast pthread_cond_wait pthread_condattr_init " \
          "pthread_condattr_setclock pthread_condattr_destroy pthread_attr_init pthread_attr_setstacksize " \
          "pthread_attr_getstack pthread_attr_destroy " \
          "pthread_barrier_init pthread_barrier_wait pthread_barrier_destroy pthread_once pthread_join " \
          "pthread_sigmask pthread_setcancelstate sched_yield sched_getcpu timerfd_settime makecontext swapcontext " \
          "getcontext") \
    NEVER("the stream remembers, and whoever printed asks ferror", \
          "fprintf __fprintf_chk fputc putc fwrite fputs feof ferror stderr") \
    NEVER("the end of the process, and its last words", "abort raise __stack_chk_fail write") \
    NEVER("tells of what libevent was built or opened with", \
          "event_get_version event_get_struct_event_size event_base_get_method event_base_get_features " \
          "event_initialized event_debug_unassign") \
    NEVER("fails for a null only", "event_config_set_flag event_config_require_features") \
    NEVER("what it takes out of the kernel's set is closed next, or the event was assigned anew", "event_del") \
    NEVER("tells of a topology that was loaded", \
          "hwloc_topology_get_support hwloc_topology_is_thissystem hwloc_topology_get_allowed_cpuset " \
          "hwloc_get_type_depth hwloc_get_nbobjs_by_depth hwloc_get_obj_by_depth") \
    NEVER("a function of its arguments", \
          "hwloc_bitmap_list_snprintf hwloc_bitmap_intersects hwloc_bitmap_isequal hwloc_bitmap_isincluded " \
          "hwloc_bitmap_isset hwloc_bitmap_iszero hwloc_bitmap_weight hwloc_bitmap_zero") \
    NEVER("an OpenMP runtime ends the process if it has no threads: so as many were tried before", \
          "GOMP_parallel __kmpc_fork_call __kmpc_global_thread_num __kmpc_push_num_threads __kmpc_master " \
          "__kmpc_end_master") \
    NEVER("sets or tells a number of the OpenMP runtime's", \
          "omp_set_dynamic omp_set_max_active_levels omp_set_num_threads omp_get_thread_num omp_get_num_threads " \
          "omp_get_max_threads") \
    NEVER("of the linker, the compiler and its sanitizers", \
          "_GLOBAL_OFFSET_TABLE_ _TLS_MODULE_BASE_ __tls_get_addr " \
          "__dso_handle __stack_chk_guard __aarch64_* __asan_* __lsan_* __ubsan_* __tsan_* __sanitizer_* __sancov_* " \
          "__gcov_*")
/* clang-format on */

#endif
