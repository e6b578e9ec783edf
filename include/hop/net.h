/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/net.h: stream sockets by address string: "tcp:127.0.0.1:8080", "tcp:[::1]:0", "tcp:localhost:80",
 * "unix:/run/service.sock". Port 0 of a listener is chosen by the system: hop_local_address tells it.
 *
 * Context and common errors: as in hop/io.h. A name (not a number) is resolved on the blocking lane.
 */
#ifndef HOP_NET_H
#define HOP_NET_H

#include <hop/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A listening socket, close-on-exec and non-blocking, with SO_REUSEADDR: its descriptor.
 * Context: anywhere for a numeric address; otherwise as hop/io.h.
 * Owns: the descriptor is the caller's; hop_close it.
 * Errors: -EINVAL (null, or not an address: the form is wrong, the port is not 0 to 65535), -EADDRNOTAVAIL and -ENOENT
 * (the name is not known), -EADDRINUSE, -EACCES, -EMFILE...
 */
HOP_API int hop_listen(const char *address);

/*
 * The next connection of a listening socket: its descriptor, close-on-exec and non-blocking, TCP_NODELAY set.
 * Errors: -EMFILE or -ENFILE (the connection stays in the queue: close something, or wait, and call again), -EBADF,
 * -EINVAL (not listening), -ENOTSOCK.
 */
HOP_API int hop_accept(int fd);

/*
 * Connects: the descriptor, as hop_accept gives it. A name with several addresses is tried in order.
 * Errors: as hop_listen, -ECONNREFUSED, -ENETUNREACH, -ETIMEDOUT...
 */
HOP_API int hop_dial(const char *address);

/*
 * The address of a socket's own end, in the form that hop_dial takes: the length of the string.
 * Context: anywhere; never suspends.
 * Errors: -EINVAL, -ENOSPC (bytes too few), -EBADF, -ENOTSOCK, -EAFNOSUPPORT.
 */
HOP_API int hop_local_address(int fd, char *out, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
