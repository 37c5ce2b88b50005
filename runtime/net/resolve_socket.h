/* resolve_socket: claims c-ares' sockets: see base/descriptor.h.
 * SPDX-License-Identifier: MIT */
#ifndef MR_NET_RESOLVE_SOCKET_H
#define MR_NET_RESOLVE_SOCKET_H

#include <ares.h>

/* For each new channel, before its first query. */
void mr_resolve_socket_own(ares_channel channel);

#endif
