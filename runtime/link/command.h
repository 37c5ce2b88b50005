/* command: passes the host's commands for a link to its session.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_LINK_COMMAND_H
#define MR_LINK_COMMAND_H

#include "bridge/command.h"
#include "link/state.h"

/* `bytes` are those that follow the command in its record. */
void mr_link_command(struct mr_link *link, const struct mr_command *command, const char *bytes);

#endif
