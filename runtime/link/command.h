/* command: what the host asks of a link, handed to its session.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_LINK_COMMAND_H
#define MR_LINK_COMMAND_H

#include "bridge/command.h"
#include "link/state.h"

/* `bytes` is what follows the command in its record. */
void mr_link_command(struct mr_link *link, const struct mr_command *command, const char *bytes);

#endif
