dnl SPDX-License-Identifier: BSD-3-Clause

# HOP_CHECK_COMPILE(FLAG, VARIABLE)
# Appends FLAG to VARIABLE if the C compiler takes it without a word.
AC_DEFUN([HOP_CHECK_COMPILE], [
    AS_VAR_PUSHDEF([cache], [hop_cv_cflag_$1])
    AC_CACHE_CHECK([whether $CC takes $1], [cache], [
        hop_saved_CFLAGS=$CFLAGS
        CFLAGS="$CFLAGS -Werror $1"
        AC_COMPILE_IFELSE([AC_LANG_SOURCE([[int hop_probe; int main(void) { return hop_probe; }]])],
            [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
        CFLAGS=$hop_saved_CFLAGS
    ])
    AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$2], [" $1"])])
    AS_VAR_POPDEF([cache])
])

# HOP_CHECK_LINK(FLAG, VARIABLE)
# Appends FLAG to VARIABLE if the linker takes it.
AC_DEFUN([HOP_CHECK_LINK], [
    AS_VAR_PUSHDEF([cache], [hop_cv_ldflag_$1])
    AC_CACHE_CHECK([whether the linker takes $1], [cache], [
        hop_saved_LDFLAGS=$LDFLAGS
        LDFLAGS="$LDFLAGS -Werror $1"
        AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
        LDFLAGS=$hop_saved_LDFLAGS
    ])
    AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$2], [" $1"])])
    AS_VAR_POPDEF([cache])
])

# HOP_SANITIZER(NAME, DESCRIPTION, FLAGS)
# --enable-NAME adds FLAGS to the compiler's and the linker's; a toolchain that lacks the run-time is an error.
AC_DEFUN([HOP_SANITIZER], [
    AC_ARG_ENABLE([$1], [AS_HELP_STRING([--enable-$1], [$2])], [], [enable_$1=no])
    AS_VAR_IF([enable_$1], [no], [], [
        AS_VAR_APPEND([SANITIZE_FLAGS], [" $3"])
        hop_saved_CFLAGS=$CFLAGS
        CFLAGS="$CFLAGS $3"
        AC_MSG_CHECKING([whether $CC links with $3])
        AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes])], [
            AC_MSG_RESULT([no])
            AC_MSG_ERROR([--enable-$1: the compiler or its run-time library lacks $3])
        ])
        CFLAGS=$hop_saved_CFLAGS
    ])
])
